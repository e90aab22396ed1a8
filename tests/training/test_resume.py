"""A run that was killed and resumed is the run that never stopped, bit for bit: from a resident set and a stream."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_run import pretrained
from safetensors.torch import load_file

from siamtrack.config import Preset, load_preset
from siamtrack.data.pair_source import PairSource, ResidentPairs, open_pairs
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError
from siamtrack.models.weights import read_metadata
from siamtrack.training import loop
from siamtrack.training.checkpoint import latest_state
from siamtrack.training.loop import RunOptions, train
from siamtrack.training.validate import find_clips
from training_toys import TINY, write_preset, write_sequence, write_shards

HERE = Path(__file__).parent
STEPS = 20


@pytest.fixture(autouse=True, scope="module")
def pretrained_weights() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "load_imagenet", pretrained)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_shards(folder / "data")
    write_preset(folder, TINY)
    streamed = TINY.replace("[data]", "[data]\nresident_memory = 0\nstream_memory = 1")
    (folder / "streamed").mkdir()
    write_preset(folder / "streamed", streamed)
    return folder


@pytest.fixture(scope="module")
def preset(home: Path) -> Preset:
    return load_preset(home / "tiny.toml")


@pytest.fixture(scope="module")
def crops(home: Path, preset: Preset) -> ResidentPairs:
    return ResidentPairs(ResidentSet.load(home / "data"), preset.crops, preset.data)


@pytest.fixture(scope="module")
def whole(home: Path, preset: Preset, crops: ResidentPairs) -> Path:
    """The folder of a run that was never stopped."""
    train(preset, crops, home / "whole")
    return home / "whole"


@pytest.fixture(scope="module")
def streamed(home: Path) -> Preset:
    return load_preset(home / "streamed" / "tiny.toml")


@contextmanager
def stream(home: Path, preset: Preset) -> Iterator[PairSource]:
    pairs = open_pairs(home / "data", preset.crops, preset.data)
    assert pairs.about == "a stream of 6 shards, 4 at a time"
    yield pairs
    pairs.close()


@pytest.fixture(scope="module")
def streamed_whole(home: Path, streamed: Preset) -> Path:
    """The same, from a stream whose window moves on: 20 steps of 4 pairs, 12 crops a shard."""
    with stream(home, streamed) as pairs:
        train(streamed, pairs, home / "streamed" / "whole")
    return home / "streamed" / "whole"


def _rows(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "pairs_per_second"} for row in rows]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def assert_same_run(out: Path, whole: Path) -> None:
    assert _rows(out) == _rows(whole) and len(_rows(out)) == STEPS
    weights = [(load_file(f / "tiny.safetensors"), read_metadata(f / "tiny.safetensors")) for f in (out, whole)]
    assert _same(*weights)
    assert _same(latest_state(out), latest_state(whole))
    for name in ("step-00000018.pt", "step-00000020.pt"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    files = {"log.jsonl", "step-00000018.pt", "step-00000020.pt", "tiny.safetensors"}
    assert {p.name for p in out.iterdir()} == files


def test_weights_on_the_way_are_kept_where_wanted(
    home: Path, preset: Preset, crops: ResidentPairs, whole: Path
) -> None:
    out = home / "kept"
    train(replace(preset, train=replace(preset.train, keep_every=10)), crops, out)
    kept = sorted(path.name for path in out.glob("tiny-*.safetensors"))
    assert kept == ["tiny-00000010.safetensors", "tiny-00000020.safetensors"]
    assert _same(load_file(out / kept[1]), load_file(whole / "tiny.safetensors"))
    assert not _same(load_file(out / kept[0]), load_file(out / kept[1]))
    assert read_metadata(out / kept[0])["pairs"] == "40"


def test_a_resumed_run_keeps_the_same_weights_on_the_way(home: Path, preset: Preset, crops: ResidentPairs) -> None:
    keeping = replace(preset, train=replace(preset.train, keep_every=4))
    train(keeping, crops, home / "kept-whole")
    train(keeping, crops, home / "kept-pieces", RunOptions(until=7))
    train(keeping, crops, home / "kept-pieces", RunOptions(resume=True))
    whole, pieces = (
        {path.name: path.read_bytes() for path in (home / name).glob("tiny-*.safetensors")}
        for name in ("kept-whole", "kept-pieces")
    )
    assert whole == pieces and len(whole) == 5


def kill_at(home: Path, out: Path, moment: str, number: int, preset: str = "tiny.toml") -> None:
    script = [
        sys.executable,
        str(HERE / "killed_run.py"),
        str(home / preset),
        str(home / "data"),
        str(out),
    ]
    child = subprocess.run([*script, moment, str(number)], capture_output=True, text=True, timeout=600)
    assert child.returncode == -signal.SIGKILL, child.stderr


FEW = [("clipping", 10), ("saving", 3)]
MANY = [
    ("drawing", 1),
    ("forward", 8),
    ("updating", 5),
    ("averaging", 20),
    ("logging", 12),
    ("saving", 1),
    ("syncing", 2),
    ("renaming", 4),
    ("tidying", 2),
    ("saving", 7),
]


@pytest.mark.parametrize(("moment", "number"), [*FEW, *(pytest.param(*m, marks=pytest.mark.slow) for m in MANY)])
def test_kill_and_resume(
    moment: str, number: int, home: Path, preset: Preset, crops: ResidentPairs, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    kill_at(home, out, moment, number)
    assert not (out / "tiny.safetensors").exists()
    train(preset, crops, out, RunOptions(resume=True))
    assert_same_run(out, whole)


@pytest.mark.parametrize(
    ("moment", "number"), [("drawing", 12), *(pytest.param(*m, marks=pytest.mark.slow) for m in MANY[1:])]
)
def test_kill_and_resume_a_stream(
    moment: str, number: int, home: Path, streamed: Preset, streamed_whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    kill_at(home, out, moment, number, "streamed/tiny.toml")
    with stream(home, streamed) as pairs:
        train(streamed, pairs, out, RunOptions(resume=True))
    assert_same_run(out, streamed_whole)


def test_the_best_of_a_resumed_run_is_that_of_the_whole_one(
    home: Path, preset: Preset, crops: ResidentPairs, tmp_path: Path
) -> None:
    clips = find_clips(write_sequence(tmp_path / "val"), 3)
    train(preset, crops, tmp_path / "whole", RunOptions(until=12, clips=clips))

    def fail_at_nine(row: dict[str, float]) -> None:
        if row["step"] == 9:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(preset, crops, tmp_path / "again", RunOptions(clips=clips, report=fail_at_nine))
    assert latest_state(tmp_path / "again")["step"] == 6  # type: ignore[index]
    train(preset, crops, tmp_path / "again", RunOptions(resume=True, until=12, clips=clips))
    files = [{p.name: p.read_bytes() for p in (tmp_path / out).glob("*.pt")} for out in ("whole", "again")]
    assert files[0].keys() == {"best.pt", "step-00000009.pt", "step-00000012.pt"} and files[0] == files[1]


@pytest.mark.parametrize("last", [4, 12], ids=["at the end", "on the way"])
def test_a_validation_that_was_stopped_is_the_first_thing_that_is_done_again(
    last: int, preset: Preset, crops: ResidentPairs, tmp_path: Path
) -> None:
    clips = find_clips(write_sequence(tmp_path / "val"), 3)
    train(preset, crops, tmp_path / "whole", RunOptions(until=last, clips=clips))
    for moment in (5, 6):  # the calls after four steps are of frames
        out, answers = tmp_path / f"again-{moment}", iter([False] * (moment - 1))
        train(preset, crops, out, RunOptions(until=last, clips=clips, stop=partial(next, answers, True)))
        assert latest_state(out)["step"] == 4 and not (out / "best.pt").exists()  # type: ignore[index]
        train(preset, crops, out, RunOptions(resume=True, until=last, clips=clips))
        for name in ("tiny.safetensors", "best.pt", f"step-{last:08d}.pt"):
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
        scores = [[row for row in _rows(place) if "success" in row] for place in (out, tmp_path / "whole")]
        assert scores[0] == scores[1]


def test_pieces_keep_the_best_that_the_whole_run_keeps(
    home: Path, preset: Preset, crops: ResidentPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the weights at the end of a piece would score best: here every step makes them worse."""
    begin = loop.build_network(preset, torch.device("cpu"), data=crops).state_dict()

    def nearness(net: torch.nn.Module, *given: object) -> float:
        moved = [float((value.detach() - begin[name]).abs().sum()) for name, value in net.named_parameters()]
        return 1 / (1 + sum(moved))

    monkeypatch.setattr(loop, "validate", nearness)
    clips = find_clips(write_sequence(tmp_path / "val"), 3)
    train(preset, crops, tmp_path / "whole", RunOptions(clips=clips))
    for until in (1, 6, None):
        train(preset, crops, tmp_path / "pieces", RunOptions(resume=True, until=until, clips=clips))
    for name in ("tiny.safetensors", "best.pt", "step-00000020.pt"):
        assert (tmp_path / "pieces" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert read_metadata(tmp_path / "whole" / "tiny.safetensors")["steps"] == "4"
    scored = [row["step"] for row in _rows(tmp_path / "pieces") if "success" in row]
    assert scored == [1, 4, 6, 8, 12, 16, 20], "the ends of pieces are scored too"


def test_a_stream_is_another_run_than_the_resident_set(whole: Path, streamed_whole: Path) -> None:
    assert _rows(whole) != _rows(streamed_whole)


def test_nine_steps_then_eleven_in_a_folder_that_moved(
    preset: Preset, crops: ResidentPairs, whole: Path, tmp_path: Path
) -> None:
    train(preset, crops, tmp_path / "here", RunOptions(until=9))
    assert latest_state(tmp_path / "here")["step"] == 9  # type: ignore[index]
    shutil.move(tmp_path / "here", tmp_path / "there")
    train(preset, crops, tmp_path / "there", RunOptions(resume=True))
    assert_same_run(tmp_path / "there", whole)


def test_a_damaged_newest_checkpoint_costs_steps_and_nothing_else(
    preset: Preset, crops: ResidentPairs, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    (out / "step-00000020.pt").write_bytes(b"lost")
    with pytest.warns(UserWarning, match="step-00000020"):
        train(preset, crops, out, RunOptions(resume=True))
    assert_same_run(out, whole)


def test_a_run_is_not_mixed_with_another(preset: Preset, crops: ResidentPairs, whole: Path) -> None:
    with pytest.raises(ConfigError, match="already holds a run"):
        train(preset, crops, whole)
    other = replace(preset, train=replace(preset.train, lr=0.5, log_every=7))
    with pytest.raises(ConfigError, match=r"made with train\.lr = .*, now it is 0\.5; "):
        train(other, crops, whole, RunOptions(resume=True))


def test_a_finished_run_resumes_to_itself(preset: Preset, crops: ResidentPairs, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(preset, crops, out, RunOptions(resume=True))
    assert_same_run(out, whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_from_the_cpu_to_a_gpu_and_back(preset: Preset, crops: ResidentPairs, tmp_path: Path) -> None:
    train(preset, crops, tmp_path, RunOptions(until=6))
    there = ResidentPairs(crops.crops.to("cuda"), preset.crops, preset.data)
    train(preset, there, tmp_path, RunOptions(device="cuda", resume=True, until=12))
    there.close()
    path = train(preset, crops, tmp_path, RunOptions(resume=True))
    assert path.exists() and latest_state(tmp_path)["step"] == STEPS  # type: ignore[index]
