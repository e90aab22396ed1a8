"""Every example runs as its first lines say, on small footage, and does what it says."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from footage import FIRST_BOX, SECOND_BOX, decode, moving_patches, write_mp4
from siamtrack import load

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COUNT = 30


def run(name: str, *arguments: str | Path, python: str = sys.executable) -> str:
    """What an example prints; it has to end well."""
    command = [python, str(EXAMPLES / name), *map(str, arguments)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    return out.stdout


def spelled(box: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in box)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Mean intersection over union of (N, 4) x, y, w, h."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inter = np.clip(high - low, 0, None).prod(1)
    return float((inter / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - inter)).mean())


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one's own clip, `walk.mp4`, and its boxes, `walk.txt`."""
    folder = tmp_path_factory.mktemp("clips")
    frames, boxes = moving_patches(COUNT)
    write_mp4(folder / "walk.mp4", frames)
    np.savetxt(folder / "walk.txt", boxes[:, 0], fmt="%g", delimiter=",")
    return folder


def test_track_video(clips: Path, tmp_path: Path) -> None:
    printed = run("track_video.py", clips / "walk.mp4", "--box", spelled(FIRST_BOX), "--out", tmp_path / "out")
    assert f"{COUNT} frames" in printed
    with (tmp_path / "out/boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(COUNT))
    found = np.array([[float(row[key]) for key in "xywh"] for row in rows])
    assert overlap(found, np.loadtxt(clips / "walk.txt", delimiter=",")) > 0.5
    drawn, plain = decode(tmp_path / "out/tracked.mp4"), decode(clips / "walk.mp4")
    assert len(drawn) == COUNT and drawn[0].shape == plain[0].shape
    assert np.abs(drawn[-1].astype(int) - plain[-1]).max() > 100  # there is something drawn


def test_many_targets(clips: Path, tmp_path: Path) -> None:
    both = ["--box", spelled(FIRST_BOX), "--box", spelled(SECOND_BOX), "--model", "siamcar_pico"]
    printed = run("many_targets.py", clips / "walk.mp4", *both, "--out", tmp_path / "out.mp4")
    lines = re.findall(r"target (\d) ends at (\S+)", printed)
    assert [number for number, _ in lines] == ["1", "2"]
    found = np.array([[float(value) for value in box.split(",")] for _, box in lines])
    truth = moving_patches(COUNT)[1][-1]
    assert overlap(found[1:], truth[1:]) > 0.5
    assert len(decode(tmp_path / "out.mp4")) == COUNT


def test_train_on_own_clips(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    printed = run("train_on_own_clips.py", clips, "--out", out, "--steps", "3", "--batch", "4")
    assert f"{COUNT} boxes of 1 objects, 0 problems" in printed
    assert 0 <= float(re.search(r"mean overlap on its own first clip: (\S+)", printed)[1]) <= 1
    assert list((out / "shards").glob("*.tar")) and (out / "mine.npz").is_file()
    tracker = load(out / "siamcar_pico.safetensors")  # what was trained is a model like any other
    assert tracker.engine.preset.train.steps == 3
    (out / "siamcar_pico.safetensors").unlink()  # as if it had been stopped
    assert "mean overlap" in run("train_on_own_clips.py", clips, "--out", out, "--steps", "3", "--batch", "4")
    assert (out / "siamcar_pico.safetensors").exists()


def test_add_family(clips: Path, tmp_path: Path) -> None:
    shards = [sys.executable, "-m", "siamtrack", "data", "pack", str(clips), "-o", str(tmp_path / "shards")]
    subprocess.run(shards, check=True, capture_output=True)
    printed = run(
        "add_family.py", tmp_path / "shards", clips / "walk.mp4", "--box", spelled(FIRST_BOX), "--steps", "21"
    )
    losses = [float(value) for value in re.findall(r"loss (\S+)", printed)]
    assert len(losses) == 3 and losses[-1] < 0.95 * losses[0]  # it learns
    found = np.array([[float(v) for v in box.split(",")] for box in re.findall(r"frame \d+: (\S+)", printed)])
    assert found.shape == (COUNT - 1, 4)
    assert overlap(found[:3], np.loadtxt(clips / "walk.txt", delimiter=",")[1:4]) > 0.3


def test_evaluate_own_tracker(tmp_path: Path) -> None:
    frames, boxes = moving_patches(COUNT)
    for target, name in enumerate(("left", "right")):
        images = tmp_path / "data" / name / "img"
        images.mkdir(parents=True)
        for number, frame in enumerate(frames):
            cv2.imwrite(str(images / f"{number:04d}.png"), frame[..., ::-1])
        np.savetxt(images.parent / "groundtruth.txt", boxes[:, target], fmt="%g", delimiter=",")
    printed = run("evaluate_own_tracker.py", tmp_path / "data", "--out", tmp_path / "out")
    # Correlation finds the very pixels that it was given, wherever nothing covers them.
    assert float(re.search(r"mean: success_auc (\S+),", printed)[1]) > 0.8
    found = np.loadtxt(tmp_path / "out/patch/left.txt", delimiter=",")
    assert overlap(found, boxes[:, 0]) > 0.8
    assert "patch" in (tmp_path / "out/report/index.html").read_text()


def other_python(package: str) -> str:
    """A Python that has a large package: this one, or one that a variable as RERUN_PYTHON names."""
    named = os.environ.get(f"{package.upper()}_PYTHON")
    if named is None and find_spec(package) is None:
        pytest.skip(f"{package} is not installed, and {package.upper()}_PYTHON names no Python that has it")
    return named or sys.executable


def test_show_in_rerun(clips: Path, tmp_path: Path) -> None:
    python, record = other_python("rerun"), tmp_path / "run.rrd"
    arguments = [clips / "walk.mp4", "--box", spelled(FIRST_BOX), "--save", record]
    printed = run("show_in_rerun.py", *arguments, python=python)
    assert printed.startswith(f"{COUNT} frames") and record.stat().st_size > 10_000
    check = [python, "-m", "rerun", "rrd", "verify", str(record)]
    done = subprocess.run(check, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    data = record.read_bytes()
    assert data[:4] == b"RRF2"


def test_show_in_fiftyone(clips: Path, tmp_path: Path) -> None:
    saved = tmp_path / "run.json"
    arguments = [clips / "walk.mp4", "--box", spelled(FIRST_BOX), "--label", "patch", "--save", saved]
    run("show_in_fiftyone.py", *arguments, python=other_python("fiftyone"))
    frames = json.loads(saved.read_text())["frames"]
    assert sorted(map(int, frames)) == list(range(1, COUNT + 1))
    boxes = []
    for number in range(1, COUNT + 1):
        (detection,) = frames[str(number)]["target"]["detections"]
        assert detection["label"] == "patch" and detection["index"] == 1
        boxes.append(np.array(detection["bounding_box"]) * (160, 120, 160, 120))
    assert overlap(np.array(boxes), np.loadtxt(clips / "walk.txt", delimiter=",")) > 0.5
