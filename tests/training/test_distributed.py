"""Two processes that share a batch train as one that has it to itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_run import still, train_all
from safetensors.torch import load_file

from siamtrack.config import load_preset
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError
from siamtrack.models.losses import joint_count
from siamtrack.training import loop
from siamtrack.training.distributed import ProcessGroup, join_processes
from siamtrack.training.failure import pack, pick, unpack
from siamtrack.training.loop import check_parts, draw_batch
from training_toys import FAMILIES, TINY, family_preset, write_preset, write_shard

HERE = Path(__file__).parent
PARTS: dict[str, object] = {"steps": 3, "batch": 4, "batch_shards": 2, "optimiser": "sgd", "lr": 5e-3}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    write_shard(folder / "data")
    write_preset(folder, TINY.replace("steps = 20", "steps = 3\nbatch_shards = 2"))
    for family in FAMILIES:
        family_preset(folder, family, **PARTS)
    return folder


def _launch(home: Path, out: Path, size: int, presets: list[Path]) -> None:
    """Start the processes as torchrun does."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    command = [sys.executable, HERE / "distributed_run.py", home / "data", out, *presets]
    started = [
        subprocess.Popen(command, env=shared | {"RANK": str(r), "LOCAL_RANK": str(r)}, stderr=subprocess.PIPE)
        for r in range(size)
    ]
    for process in started:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors.decode()


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """The folder of runs of every family by one process (`out1`) and by two (`out2`)."""
    presets = [home / f"{family.replace('+', 'p')}.toml" for family in FAMILIES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "unfreeze_backbone", still)
        train_all(home / "data", home / "out1", presets)
    _launch(home, home / "out2", 2, presets)
    return home


@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_have_the_losses_of_one_with_the_joint_batch(family: str, trained: Path) -> None:
    name = family.replace("+", "p")
    rows = {}
    for size in (1, 2):
        lines = (trained / f"out{size}" / name / "log.jsonl").read_text().splitlines()
        rows[size] = [{k: v for k, v in json.loads(x).items() if k != "pairs_per_second"} for x in lines]
    assert len(rows[1]) == len(rows[2]) == 3
    # From step to step a network of random weights makes more of what the order of a sum rounds.
    for one, two, near in zip(rows[1], rows[2], (1e-5, 1e-3, 1e-2), strict=True):
        assert two == pytest.approx(one, rel=near)
    terms = rows[1][0].keys() - {"step", "lr", "norm"}
    assert all(max(row[term] for row in rows[1]) > 0 for term in terms) and rows[1][0]["norm"] > 0.01
    first, second = (load_file(trained / f"out{size}" / name / f"{name}.safetensors") for size in (1, 2))
    torch.manual_seed(0)
    start = load_preset(trained / f"{name}.toml").model.build().state_dict()
    assert first.keys() == second.keys() == start.keys()
    moved = 0.0
    for key, value in first.items():
        torch.testing.assert_close(second[key].float(), value.float(), rtol=2e-3, atol=1e-4)
        moved = max(moved, float((value.float() - start[key].float()).abs().max()))
    assert moved > 5e-4


def test_parts_make_the_joint_batch_whatever_the_number_of_processes(home: Path) -> None:
    preset = load_preset(home / "tiny.toml", {"train.batch": 8, "train.batch_shards": 4})
    pairs = ResidentPairs(ResidentSet.load(home / "data"), preset.crops, preset.data)
    joint, rngs = draw_batch(pairs, preset, 7, ProcessGroup())
    assert len(rngs) == 4
    for size in (2, 4):
        for rank in range(size):
            own, _ = draw_batch(pairs, preset, 7, ProcessGroup(rank, size))
            rows = slice(8 // size * rank, 8 // size * (rank + 1))
            for name, value in pack(pick(joint, rows), "batch").items():
                torch.testing.assert_close(pack(own, "batch")[name], value, rtol=0, atol=0, equal_nan=True)
    again, _ = draw_batch(pairs, preset, 8, ProcessGroup())
    assert not torch.equal(again.search, joint.search)
    back = unpack(type(joint), pack(joint, "batch"), "batch")
    assert torch.equal(back.pairs.search, joint.pairs.search) and torch.equal(back.boxes, joint.boxes)


def test_batches_that_cannot_be_shared_are_refused(home: Path) -> None:
    preset = load_preset(home / "tiny.toml", {"train.batch_shards": 0})
    check_parts(preset, ProcessGroup(0, 4))
    with pytest.raises(ConfigError, match=r"train\.batch = 4"):
        check_parts(preset, ProcessGroup(0, 3))
    with pytest.raises(ConfigError, match=r"train\.batch_shards = 2"):
        check_parts(load_preset(home / "tiny.toml"), ProcessGroup(0, 4))


def test_counts_of_a_process_on_its_own() -> None:
    assert float(joint_count(torch.tensor(5))) == 5 and float(joint_count(torch.tensor(0))) == 1


def test_a_process_of_a_group_ends_at_once_with_its_output_and_code() -> None:
    program = "from siamtrack.apps.cli.main import end_process; print('done', end=''); end_process(3)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (3, "done")


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "two"}, {"WORLD_SIZE": "2"}])
def test_variables_that_are_not_torchruns_are_told(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="torchrun"), join_processes("cpu"):
        pass
