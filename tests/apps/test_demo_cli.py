from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import siamtrack
from footage import decode
from siamtrack.apps.cli.demo import mean_overlap
from siamtrack.apps.cli.main import app
from siamtrack.video import demo as clip
from template_matcher import TemplateMatcher


def test_demo_makes_the_clip_tracks_it_and_tells_the_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = list(islice(clip.demo_frames(), 12))
    monkeypatch.setattr(clip, "demo_frames", lambda: iter(frames))
    monkeypatch.setattr(siamtrack, "load", lambda name, device="cpu": TemplateMatcher())
    out = tmp_path / "deep" / "demo"
    result = CliRunner().invoke(app, ["demo", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        "boxes.txt",
        "clip.mp4",
        "tracked.mp4",
        "truth.txt",
    ]
    assert len(decode(out / "tracked.mp4")) == 12
    overlap = re.search(r"mean overlap with the true boxes: (0\.\d{3})", result.output)
    assert overlap is not None and float(overlap[1]) > 0.7
    assert f"video: {out / 'tracked.mp4'}" in result.output and "frames a second" in result.output


def test_demo_refuses_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siamtrack, "load", lambda name, device="cpu": TemplateMatcher())
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "file")])
    assert "cannot make the folder" in str(result.exception)


def test_mean_overlap_leaves_the_given_box_out(tmp_path: Path) -> None:
    truth = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    found = np.array([[5, 5, 1, 1], [0, 0, 10, 5], [20, 20, 10, 10], [1, 1, 1, 1]])
    for name, rows in (("truth.txt", truth), ("found.txt", found)):
        np.savetxt(tmp_path / name, rows, delimiter=",")
    assert mean_overlap(tmp_path / "found.txt", tmp_path / "truth.txt") == pytest.approx((0.5 + 0.0) / 2)


def test_default_model_follows_the_start_of_the_demo_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siamtrack.apps.cli.session import DEFAULT_MODEL
    from siamtrack.zoo import packaged_weights

    if packaged_weights(DEFAULT_MODEL) is None:
        pytest.skip(f"no weights of {DEFAULT_MODEL} in this package")
    frames = list(islice(clip.demo_frames(), 20))
    monkeypatch.setattr(clip, "demo_frames", lambda: iter(frames))
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert mean_overlap(tmp_path / "boxes.txt", tmp_path / "truth.txt") > 0.5
