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
from distributed_run import still
from made import TINY, write_preset, write_shard
from safetensors.torch import load_file

from siamtrack.config import load_preset
from siamtrack.data.pairs import PairSampler
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError
from siamtrack.training import loop
from siamtrack.training.batches import check_parts, draw_batch, pack, pick, unpack
from siamtrack.training.distributed import World, joint_count

HERE = Path(__file__).parent
SETTINGS = (
    TINY.replace("steps = 20", "steps = 3\nparts = 2\noptimiser = 'sgd'")
    .replace("lr = 1e-2", "lr = 1e-3")
    .replace("backbone_norm = true", "")
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    write_shard(folder / "data")
    write_preset(folder, SETTINGS)
    return folder


def _launch(home: Path, out: Path, size: int) -> None:
    """Start the processes as torchrun does."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    command = [sys.executable, HERE / "distributed_run.py", home / "tiny.toml", home / "data", out]
    started = [
        subprocess.Popen(command, env=shared | {"RANK": str(r), "LOCAL_RANK": str(r)}, stderr=subprocess.PIPE)
        for r in range(size)
    ]
    for process in started:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors.decode()


def test_two_processes_have_the_losses_of_one_with_the_joint_batch(home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "prepare", still)
        loop.train(load_preset(home / "tiny.toml"), ResidentSet.load(home / "data"), home / "out1")
    _launch(home, home / "out2", 2)
    rows = {}
    for size in (1, 2):
        lines = (home / f"out{size}" / "log.jsonl").read_text().splitlines()
        rows[size] = [{k: v for k, v in json.loads(x).items() if k != "pairs_per_second"} for x in lines]
    assert len(rows[1]) == len(rows[2]) == 3
    for one, two in zip(rows[1], rows[2], strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    first, second = (load_file(home / f"out{size}" / "tiny.safetensors") for size in (1, 2))
    start = load_preset(home / "tiny.toml").model.build().state_dict()
    assert first.keys() == second.keys() == start.keys()
    moved = 0.0
    for name, value in first.items():
        torch.testing.assert_close(second[name].float(), value.float(), rtol=2e-3, atol=1e-4)
        moved = max(moved, float((value.float() - start[name].float()).abs().max()))
    assert moved > 1e-3


def test_parts_make_the_joint_batch_whatever_the_number_of_processes(home: Path) -> None:
    preset = load_preset(home / "tiny.toml", {"train.batch": 8, "train.parts": 4})
    crops = ResidentSet.load(home / "data")
    sampler = PairSampler(crops, preset.data)
    joint, _ = draw_batch(crops, sampler, preset, 7, World())
    for size in (2, 4):
        for rank in range(size):
            own, _ = draw_batch(crops, sampler, preset, 7, World(rank, size))
            rows = slice(8 // size * rank, 8 // size * (rank + 1))
            for name, value in pack(pick(joint, rows), "batch").items():
                assert torch.equal(pack(own, "batch")[name], value), name
    again, _ = draw_batch(crops, sampler, preset, 8, World())
    assert not torch.equal(again.search, joint.search)
    back = unpack(type(joint), pack(joint, "batch"), "batch")
    assert torch.equal(back.pairs.search, joint.pairs.search) and torch.equal(back.boxes, joint.boxes)


def test_batches_that_cannot_be_shared_are_refused(home: Path) -> None:
    preset = load_preset(home / "tiny.toml", {"train.parts": 0})
    check_parts(preset, World(0, 4))
    with pytest.raises(ConfigError, match=r"train\.batch = 4"):
        check_parts(preset, World(0, 3))
    with pytest.raises(ConfigError, match=r"train\.parts = 2"):
        check_parts(load_preset(home / "tiny.toml"), World(0, 4))


def test_counts_of_a_process_on_its_own() -> None:
    assert float(joint_count(torch.tensor(5))) == 5 and float(joint_count(torch.tensor(0))) == 1
