from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import siamtrack
from footage import decode
from siamtrack.apps.cli.main import app
from siamtrack.apps.cli.track import mean_overlap
from template_matcher import TemplateMatcher

CLIP, TRUTH = (Path(str(resources.files("siamtrack.video"))) / "demo" / name for name in ("clip.mp4", "clip.txt"))


def test_the_demo_tracks_its_clip_and_tells_the_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siamtrack, "load_multi", lambda *given, **named: TemplateMatcher())
    out = tmp_path / "deep" / "demo"
    result = CliRunner().invoke(app, ["demo", "--out", str(out), "--end", "12"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["boxes.txt", "clip.mp4", "clip.txt", "tracked.mp4"]
    assert (out / "clip.mp4").read_bytes() == CLIP.read_bytes()
    assert len(decode(out / "tracked.mp4")) == 12
    overlap = re.search(r"mean overlap with the true boxes: (0\.\d{3})", result.output)
    assert overlap is not None and float(overlap[1]) > 0.7
    assert f"video: {out / 'tracked.mp4'}" in result.output and "frames a second" in result.output


def test_the_demo_refuses_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siamtrack, "load_multi", lambda *given, **named: TemplateMatcher())
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "file")])
    assert "cannot write" in str(result.exception)


def test_mean_overlap_leaves_the_given_box_out(tmp_path: Path) -> None:
    truth = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    found = np.array([[5, 5, 1, 1], [0, 0, 10, 5], [20, 20, 10, 10], [1, 1, 1, 1]])
    for name, rows in (("truth.txt", truth), ("found.txt", found)):
        np.savetxt(tmp_path / name, rows, delimiter=",")
    assert mean_overlap(tmp_path / "found.txt", tmp_path / "truth.txt") == pytest.approx((0.5 + 0.0) / 2)


def test_the_default_model_follows_the_start_of_the_clip(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path), "--end", "20"])
    assert result.exit_code == 0, result.output
    assert mean_overlap(tmp_path / "boxes.txt", tmp_path / "clip.txt") > 0.5


def test_the_clips_true_boxes_are_where_the_orange_fish_is() -> None:
    assert CLIP.stat().st_size < 1_000_000
    frames, boxes = decode(CLIP), np.loadtxt(TRUTH, delimiter=",")
    assert len(frames) == len(boxes) == 200 and frames[0].shape == (360, 640, 3)
    assert (boxes[:, :2] >= 1).all() and (boxes[:, :2] + boxes[:, 2:] <= (639, 359)).all()
    for frame, (x, y, w, h) in zip(frames[:60], boxes[:60], strict=True):  # before the other fish comes
        red, green, blue = frame.astype(int).transpose(2, 0, 1)
        rows, columns = np.nonzero((red > 160) & (red - blue > 90) & (green > 85))
        inside = (columns >= x - 1) & (columns <= x + w) & (rows >= y - 1) & (rows <= y + h)
        assert inside.mean() > 0.98 and len(rows) > 0.1 * w * h
