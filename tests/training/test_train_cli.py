"""The train command as people use it: settings, stopping, going on, failing with a name."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import siamtrack
from program import call
from siamtrack.errors import DataError, WeightsError
from siamtrack.models.weights import read_metadata
from siamtrack.training.checkpoint import latest_state
from siamtrack.training.failure import replay
from siamtrack.training.validate import find_clips
from training_toys import SCRATCH, write_preset, write_sequence, write_shard


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_shard(folder / "data")
    write_preset(folder)
    write_sequence(folder / "val")
    return folder


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        (["--set", "train.bacth=2"], "did you mean 'batch'?"),
        (["--set", "tran.batch=2"], "did you mean 'train'?"),
        (["--set", "train.batch=many"], "train.batch"),
        (["--device", "tpu"], "the device 'tpu' is not available here; use 'cpu'"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    home: Path,
    tmp_path: Path,
    settings: list[str],
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert call(monkeypatch, "train", home / "tiny.toml", "--data", home / "data", "--out", out, *settings) == 2
    message = capsys.readouterr().err
    assert hint in message and message.count("\n") == 1 and not out.exists()


def test_what_is_known_before_the_crops_is_told_before_them(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(preset: str | Path, out: Path, *more: str) -> str:
        """What a run says of data that cannot be read."""
        assert call(monkeypatch, "train", preset, "--data", home / "val", "--out", out, *more) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        return message

    used, file = tmp_path / "used", tmp_path / "file"
    used.mkdir()
    (used / "step-00000003.pt").touch()
    file.touch()
    tiny = home / "tiny.toml"
    assert "used already holds a run (step-00000003.pt); go on with --resume" in told(tiny, used)
    assert "file' is a file" in told(tiny, file) and "file' is a file" in told(tiny, file / "deep")
    assert "begins with ImageNet weights of resnet50, and none are at hand" in told("siamrpn_r50", tmp_path / "out")
    assert "no checkpoint none.pth" in told("siamcar_r50", tmp_path / "out", "--set", "train.backbone_weights=none.pth")
    words = told(tiny, tmp_path / "out")
    assert f"none in {home / 'val'}: `siamtrack data pack {home / 'val'} -o SHARDS` makes them from" in words
    assert not (tmp_path / "out").exists()


def test_train_in_pieces_validate_and_track_with_the_result(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [home / "tiny.toml", "--data", home / "data", "--out", out, "--set", "train.batch=2"]
    arguments += ["--set", "train.validate_every=2", "--val", home / "val"]
    assert call(monkeypatch, "train", *arguments, "--steps", 2) == 0
    assert call(monkeypatch, "train", *arguments, "--steps", 3) == 2
    assert "--resume" in capsys.readouterr().err
    assert call(monkeypatch, "train", *arguments, "--steps", 3, "--resume") == 0
    assert "tiny.safetensors" in capsys.readouterr().out
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "total" in row] == [1, 2, 3]
    scores = {row["step"]: row["success"] for row in rows if "success" in row}
    assert scores.keys() == {2, 3} and all(0 <= s <= 1 for s in scores.values())
    (weights,) = out.glob("*.safetensors")
    kept = read_metadata(weights)
    assert float(kept["success"]) == pytest.approx(max(scores.values()), abs=1e-4)
    assert scores[int(kept["steps"])] == max(scores.values())
    tracker = siamtrack.load(weights)
    frame = np.full((120, 160, 3), 90, np.uint8)
    tracker.init(frame, (40, 30, 20, 20))
    result = tracker.update(frame)
    assert not isinstance(result, list) and math.isfinite(result.score)


def test_more_steps_than_the_preset_has(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [home / "tiny.toml", "--data", home / "data", "--out", tmp_path, "--set", "train.batch=1"]
    assert call(monkeypatch, "train", *arguments, "--set", "train.steps=1", "--steps", 2) == 0
    assert latest_state(tmp_path)["step"] == 2  # type: ignore[index]


RESIDENT, STREAM = "data.resident_memory=8192", "data.resident_memory=0"


@pytest.mark.parametrize("memory", [RESIDENT, STREAM])
def test_own_data_lack_the_sources_of_a_preset(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], memory: str
) -> None:
    weighed = SCRATCH.replace("[train]", "[data.source_weights]\nelsewhere = 0.3\n\n[data.gaps]\nfilm = 3\n\n[train]")
    arguments = [write_preset(tmp_path, weighed), "--data", home / "data", "--out", tmp_path / "out", "--set", memory]
    arguments += ["--steps", 1, "--set", "train.batch=1"]
    assert call(monkeypatch, "train", *arguments, "--set", "data.source_weights.made=0.5") == 0
    assert ("12 crops, kept decoded" if memory == RESIDENT else "a stream of 1 shards") in capsys.readouterr().out
    if memory == RESIDENT:  # without shards.json nothing tells a stream which sources there are
        for misspelt in ("data.source_weights.mode=0.5", "data.gaps={made=3, mode=4}"):
            assert call(monkeypatch, "train", *arguments, "--resume", "--set", misspelt) == 2
            assert "unknown source 'mode'; did you mean 'made'?" in capsys.readouterr().err


@pytest.mark.parametrize("memory", [RESIDENT, STREAM])
def test_damaged_crops_are_skipped_by_name_up_to_a_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], memory: str
) -> None:
    data = write_shard(tmp_path / "data", damaged=("001_001", "002_000"))
    arguments = [write_preset(tmp_path), "--data", data, "--set", memory, "--set", "train.batch=12", "--steps", 3]
    assert call(monkeypatch, "train", *arguments, "--out", tmp_path / "a", "--set", "data.max_skipped=0.2") == 0
    message = capsys.readouterr().err
    for key in ("made-00/001_001", "made-00/002_000"):
        assert message.count(key) == 1
    assert "crops that cannot be decoded" in message
    assert call(monkeypatch, "train", *arguments, "--out", tmp_path / "b", "--set", "data.max_skipped=0.1") == 2
    message = capsys.readouterr().err
    assert "cannot be decoded, more than data.max_skipped = 0.1" in message and "made-00/001_001" in message


def test_a_failed_step_of_a_stream_names_its_pairs(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [home / "tiny.toml", "--data", f"file://{home}/data/made-{{00..00}}.tar", "--out", tmp_path]
    wild = ["--set", STREAM, "--set", "train.lr=1e30", "--set", "train.optimiser=sgd", "--set", "train.batch=2"]
    assert call(monkeypatch, "train", *arguments, *wild) == 2
    assert "a stream of 1 shards" in capsys.readouterr().out
    (file,) = (tmp_path / "failures").iterdir()
    found = replay(file)
    assert all(key.count("made-00/") == 2 for key, _ in found.alone) and len(found.alone) == 2


def test_ctrl_c_saves_and_says_how_to_go_on(home: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "out" / "log.jsonl"
    program = "from siamtrack.apps.cli.main import run; run()"
    arguments = [home / "tiny.toml", "--data", home / "data", "--out", out, "--set", "train.steps=100000"]
    command = [sys.executable, "-c", program, "train", *map(str, arguments)]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores the signal, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 300
    while not (log.exists() and log.read_text().count("\n") >= 2):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGINT)
    printed, errors = child.communicate(timeout=300)
    assert child.returncode == 130, errors
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    state = latest_state(out)
    assert state is not None and state["step"] == rows[-1]["step"] >= 2
    assert "siamtrack train" in printed and "--resume" in printed and str(out) in printed


def test_a_loss_that_is_not_finite_has_a_name_and_can_be_played_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [home / "tiny.toml", "--data", home / "data", "--out", tmp_path]
    wild = ["--set", "train.lr=1e30", "--set", "train.optimiser=sgd", "--set", "train.batch=2"]
    assert call(monkeypatch, "train", *arguments, *wild) == 2
    message = capsys.readouterr().err
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    failed = len(rows)
    assert f"not finite at step {failed} " in message and "total" in message and "made-00/" in message
    (file,) = (tmp_path / "failures").iterdir()
    assert str(file) in message and file.suffix == ".safetensors"
    assert file.read_bytes()[8:9] == b"{"  # the header of safetensors, not a pickle
    found = replay(file)
    assert found.step == failed and found.module is not None
    assert not math.isfinite(found.recorded["total"]) and len(found.alone) == 2
    for name, value in found.recorded.items():
        assert found.terms[name] == pytest.approx(value, nan_ok=True)
    assert all(key in message for key, _ in found.alone)
    assert call(monkeypatch, "train", "--replay", file) == 0
    printed = capsys.readouterr().out
    assert found.module in printed and found.alone[0][0] in printed


def test_a_failure_file_has_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="no weights file"):
        replay(tmp_path / "none.safetensors")
    assert call(monkeypatch, "train", "--replay", tmp_path / "none.safetensors") == 2
    assert call(monkeypatch, "train") == 2


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="TensorBoard is installed")
def test_tensorboard_is_an_extra(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [home / "tiny.toml", "--data", home / "data", "--out", tmp_path, "--log", "tensorboard"]
    assert call(monkeypatch, "train", *arguments) == 2
    assert "siamtrack[train]" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_tensorboard_gets_the_log(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = [home / "tiny.toml", "--data", home / "data", "--out", tmp_path, "--log", "tensorboard"]
    assert call(monkeypatch, "train", *arguments, "--steps", 2, "--set", "train.batch=1") == 0
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for name in ("total", "lr", "norm"):
        kept = [(e.step, e.value) for e in events.Scalars(name)]
        assert kept == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows]


def test_clips_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are none"):
        find_clips(tmp_path, 10)
    write_sequence(tmp_path, frames=5)
    (clip,) = find_clips(tmp_path, 3)
    assert len(clip) == len(clip.truth) == 3 and clip.frames[2].shape[2] == 3
    with pytest.raises(IndexError):
        clip.frames[3]
    truth = tmp_path / "made__walk" / "groundtruth.txt"
    rows = truth.read_text().splitlines()
    truth.write_text("\n".join(["nan,nan,nan,nan", *rows[1:]]))
    with pytest.raises(DataError, match="made__walk: expected a box for each frame, the first not nan"):
        find_clips(tmp_path, 3)
    (tmp_path / "made__walk" / "img" / "00000005.jpg").unlink()
    with pytest.raises(DataError, match="4 frames"):
        find_clips(tmp_path, 3)


def test_bfloat16_trains(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [home / "tiny.toml", "--data", home / "data", "--out", tmp_path, "--steps", 2]
    assert call(monkeypatch, "train", *arguments, "--set", "train.precision=bfloat16", "--set", "train.batch=2") == 0
    state = latest_state(tmp_path)
    assert state is not None and all(v.dtype != torch.bfloat16 for v in state["model"].values())
