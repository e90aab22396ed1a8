"""`siamtrack tune` from the command line: what it writes, and one line for what it cannot use."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from quick import QuickTracker, QuickVariants, write_sequences

from program import call
from siamtrack.apps.cli import tune as command
from siamtrack.config import load_preset

BEST = {"a": 0.4, "b": 0.4, "c": 0.4}
GRID = ["--grid", "track.window=0.3,0.4,0.5"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_sequences(tmp_path / "data", BEST)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model "quick" is the one whose best is known."""
    find = command._find
    monkeypatch.setattr(
        command, "_find", lambda model, *given: QuickVariants() if model == "quick" else find(model, *given)
    )


def test_it_writes_a_section_to_paste_and_everything_that_it_found(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs" / "quick.toml"
    arguments = ("quick", "--data", data, "--out", out, *GRID, "--folds", 3, "--processes", 1)
    assert call(monkeypatch, "tune", *arguments) == 0
    told = capsys.readouterr()
    assert "track.window = 0.4" in told.out and "held out, 3 folds" in told.out
    assert "a: done" in told.err and "3 settings, grid search" in told.out
    assert told.out.splitlines()[-2] == (
        "the gain is more than its standard error, but 3 sequences are few: measure on more before a preset is changed"
    )
    assert (
        told.out.splitlines()[-1] == f"written: {out}, {out.with_suffix('.json')}, {out.with_suffix('.scores.jsonl')}"
    )
    text = out.read_text()
    assert tomllib.loads(text) == {"track": {"window": 0.4}}
    pasted = tmp_path / "pasted.toml"
    pasted.write_text('description = "tuned"\n' + text)
    assert load_preset(pasted).track.window == 0.4
    tree = json.loads(out.with_suffix(".json").read_text())
    assert tree["chosen"]["setting"] == tree["settings"][0]["setting"] == {"track.window": 0.4}
    assert tree["default"]["setting"] == {"track.window": 0.5}
    assert tree["held_out"]["worth_it"] is True and tree["held_out"]["gain"] > 0
    assert len(out.with_suffix(".scores.jsonl").read_text().splitlines()) == 1 + 9
    assert call(monkeypatch, "tune", *arguments) == 0
    assert "done" not in capsys.readouterr().err and out.read_text() == text
    assert call(monkeypatch, "tune", *arguments, "--grid", "track.rate=0.1") == 0
    assert "3 settings and the preset's own, grid search" in capsys.readouterr().out


def test_ctrl_c_keeps_the_scores_and_the_same_command_goes_on(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "quick.toml"
    arguments = ("quick", "--data", data, "--out", out, *GRID, "--processes", 1)
    frames, update = 0, QuickTracker.update

    def interrupted(self: QuickTracker, frame: Any) -> Any:
        nonlocal frames
        frames += 1
        if frames == 10:  # in the fifth run of two updates each
            raise KeyboardInterrupt
        return update(self, frame)

    monkeypatch.setattr(QuickTracker, "update", interrupted)
    assert call(monkeypatch, "tune", *arguments) == 130
    assert "4 scores are kept" in capsys.readouterr().err and not out.exists()
    assert call(monkeypatch, "tune", *arguments) == 0
    assert frames == 10 + 2 * 5 and tomllib.loads(out.read_text()) == {"track": {"window": 0.4}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--grid", "track.windw=0.1,0.2"], "did you mean 'track.window'"),
        (["--grid", "track.window"], "--grid expects KEY=VALUE"),
        (["--grid", "track.window=0.1 0.2"], "--grid track.window: expected values"),
        (["--grid", "track.window=0.1,7"], "track.window"),
        (["--folds", "4"], "at least 4 videos"),
        (["--data", "nowhere"], "nowhere: expected a folder or a zip file"),
        (["--data", "empty"], "there are none"),
        (["--out", "quick.txt"], "--out expects a .toml file"),
        (["--out", "mine.toml"], "was not made by tune"),
        (["--out", "other.toml"], "other.json is there already and was not made by tune"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine.toml").write_text("[model]\n")
    (tmp_path / "other.json").write_text("{}")
    assert call(monkeypatch, "tune", "quick", "--data", data, "--out", "quick.toml", *change) == 2
    told = capsys.readouterr().err
    assert expected in told and told.startswith("siamtrack: ") and len(told.splitlines()) == 1
    assert (tmp_path / "mine.toml").read_text() == "[model]\n" and (tmp_path / "other.json").read_text() == "{}"
    assert not list(tmp_path.glob("*.scores.jsonl"))


def test_sequences_of_another_suite_are_read_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SA-Siam's lambda was chosen on Temple Color 128 without the sequences that OTB has too (section 4.1)."""
    root = write_sequences(tmp_path / "tc", {"Ball_ce1": 0.4, "Kite_ce2": 0.4, "Torus": 0.4, "Girlmov": 0.3})
    for folder in root.iterdir():
        (folder / "groundtruth.txt").rename(folder / f"{folder.name}_gt.txt")
    arguments = ("quick", "--data", root, *GRID, "--folds", 3, "--processes", 1)
    for suite, count in (("tc128", 4), ("tc128-without-otb", 3)):
        out = tmp_path / f"{suite}.toml"
        assert call(monkeypatch, "tune", *arguments, "--suite", suite, "--out", out) == 0
        assert f"{count} sequences of" in capsys.readouterr().out
        assert ("Girlmov" in out.with_suffix(".json").read_text()) == (count == 4)
    assert call(monkeypatch, "tune", *arguments, "--suite", "vot2018", "--out", tmp_path / "v.toml") == 2
    assert "one pass by OTB's rules; vot2018 is another" in capsys.readouterr().err
    for name in ("Ball_ce1", "Kite_ce2", "Torus"):
        shutil.rmtree(root / name)
    arguments = ("quick", "--data", root, "--suite", "tc128-without-otb", "--out", tmp_path / "n.toml")
    assert call(monkeypatch, "tune", *arguments) == 2
    assert "tc128-without-otb leaves out all of its sequences" in capsys.readouterr().err


@pytest.mark.parametrize(("model", "expected"), [("siamcar_lite", "did you mean"), ("opencv:csrt", "siamtrack model")])
def test_a_model_that_cannot_be_tuned_is_one_line_and_code_2(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
    expected: str,
) -> None:
    assert call(monkeypatch, "tune", model, "--data", data, "--out", tmp_path / "a.toml") == 2
    told = capsys.readouterr().err
    assert expected in told and len(told.splitlines()) == 1
