"""`--preset` and `--set` of track, eval and tune: a value takes effect, and a wrong key is one line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from footage import FIRST_BOX, moving_patches
from program import call

MODEL = "siamcar_pico"
BOX = ",".join(map(str, FIRST_BOX))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of 5 frames whose target grows by a tenth from frame to frame."""
    root = tmp_path_factory.mktemp("data")
    frames, _ = moving_patches(1)
    for name in "ab":
        (root / name / "img").mkdir(parents=True)
        for n in range(5):
            grown = cv2.resize(frames[0][..., ::-1], None, fx=1.1**n, fy=1.1**n)
            assert cv2.imwrite(str(root / name / "img" / f"{n:08d}.png"), grown[:120, :160])
        rows = [",".join(f"{side * 1.1**n:.2f}" for side in FIRST_BOX) for n in range(5)]
        (root / name / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """A preset with which a box keeps its size."""
    path = tmp_path / "still.toml"
    path.write_text(f"extends = '{MODEL}'\n[track]\nrate = 0.0\n")
    return path


def sizes(path: Path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",")[:, 2:]


def test_track_with_other_settings(data: Path, still: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "own": [],
        "set": ["--set", "track.rate=0"],
        "preset": ["--preset", still],
        "both": ["--preset", still, "--set", "track.rate=0.9"],
    }
    for name, flags in given.items():
        out = tmp_path / f"{name}.txt"
        command = ["track", data / "a" / "img", "--model", MODEL, "--box", BOX, "--output", out]
        assert call(monkeypatch, *command, *flags) == 0
        changed = np.ptp(sizes(out), axis=0).max()
        assert changed > 1 if name in ("own", "both") else changed < 0.01, name
    assert (tmp_path / "set.txt").read_text() == (tmp_path / "preset.txt").read_text()


def test_eval_with_other_settings(
    data: Path, still: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", MODEL, "--suite", "folder", "--processes", 1, "--data", data, "--out", tmp_path / "out"]
    assert call(monkeypatch, *command, "--preset", still, "--set", "track.window=0") == 0
    store = tmp_path / "out" / MODEL / "folder"
    assert np.ptp(sizes(store / "results" / "a.txt"), axis=0).max() < 0.01
    track = json.loads((store / "manifest.json").read_text())["preset"]["track"]
    assert (track["window"], track["rate"]) == (0, 0)
    capsys.readouterr()
    assert call(monkeypatch, *command, "--engine", "torch") == 2  # results of other settings are not mixed with these
    assert f"holds results made with name = still, now it is {MODEL};" in capsys.readouterr().err


def test_tune_around_other_settings(
    data: Path, still: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ["--grid", "track.window=0.1,0.4"]
    scores = {}
    for name, flags in (("own", []), ("other", ["--preset", still, "--set", "track.window=0.4"])):
        out = tmp_path / f"{name}.toml"
        command = ["tune", MODEL, "--data", data, "--processes", 1, *grid, "--out", out]
        assert call(monkeypatch, *command, *flags) == 0
        scores[name] = json.loads(out.with_suffix(".json").read_text())
    assert scores["other"]["default"]["setting"] == {"track.window": 0.4}
    by_window = {
        name: {row["setting"]["track.window"]: row["success_auc"] for row in tree["settings"]}
        for name, tree in scores.items()
    }
    assert by_window["other"][0.4] < by_window["own"][0.4]  # a box that keeps its size misses a target that grows
    capsys.readouterr()
    assert call(monkeypatch, *command) == 2  # the scores around other settings are not mixed with these
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--set", "track.windw=0.3"], "did you mean 'window'"),
        (["--set", "track.window"], "--set expects key=value"),
        (["--set", "track.window=7"], "track.window"),
        (["--set", "train.lr=1"], "no effect on a trained model"),
        (["--preset", "siamcar_pic"], "did you mean 'siamcar_pico'"),
        (["--preset", "siamfc_lite0"], "of the family siamfc"),
    ],
)
@pytest.mark.parametrize("command", ["track", "eval", "tune"])
def test_wrong_settings_are_one_line_and_code_2(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, flags: list[str], says: str,
) -> None:  # fmt: skip
    out = tmp_path / "out.toml"
    given = {
        "track": ["track", data / "a" / "img", "--model", MODEL, "--box", BOX, "--output", out.with_suffix(".txt")],
        "eval": ["eval", MODEL, "--suite", "folder", "--data", data, "--out", out.with_suffix("")],
        "tune": ["tune", MODEL, "--data", data, "--out", out],
    }[command]
    assert call(monkeypatch, *given, *flags) == 2
    told = capsys.readouterr()
    assert says in told.err and told.err.startswith("siamtrack: ") and told.err.count("\n") == 1
    assert told.out == "" and list(tmp_path.iterdir()) == []
