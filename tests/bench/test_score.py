from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from siamtrack.apps.cli.main import app
from siamtrack.bench.records import Run, Truth
from siamtrack.bench.rules import RULES
from siamtrack.bench.score import score_runs
from siamtrack.errors import ConfigError, DataError

BOXES = np.tile([10.0, 20, 30, 40], (6, 1))


def test_arrays_in_memory() -> None:
    found = score_runs("folder", {"a": BOXES, "b": BOXES}, {"a": BOXES, "b": BOXES + 1000, "c": BOXES}, "pysot")
    assert found.sequences["a"]["success_auc"] == pytest.approx(20 / 21)
    assert found.sequences["b"]["success_auc"] == 0
    assert found.metrics["success_auc"] == pytest.approx(10 / 21)
    assert found.curves["success"].shape == (21,)


@pytest.mark.parametrize("rules", [name for name, rule in RULES.items() if "ope" in rule.scorers])
def test_boxes_of_any_kind_are_scored_without_a_warning(rules: str) -> None:
    odd = np.array([[10, 20, 30, 40], [np.nan] * 4, [0, 0, 0, 0], [5, 5, -3, 4], [np.inf, 0, 1, 1], [1, 1, 1, 1]])
    truth = BOXES.copy()
    truth[2], truth[3] = 0, np.nan
    hidden = Truth("odd", truth, visible=np.array([1, 1, 0, 0, 1, 1], dtype=bool))
    with np.errstate(all="raise"):
        found = score_runs("folder", {"odd": hidden}, {"odd": odd}, rules)
    assert all(np.isfinite(v) for v in found.metrics.values())


def test_tags_make_attributes() -> None:
    every, never = np.ones(6, dtype=bool), np.zeros(6, dtype=bool)
    truths = {
        "a": Truth("a", BOXES, tags={"OCC": every}),
        "b": Truth("b", BOXES, tags={"OCC": never, "SV": every}),
    }
    found = score_runs("folder", truths, {"a": BOXES, "b": BOXES + 1000})
    assert found.attributes["OCC"]["precision@20"] == 1
    assert found.attributes["SV"]["precision@20"] == 0


def test_what_is_wrong_is_told_by_name() -> None:
    truth = {"cat": BOXES, "dog": BOXES}
    with pytest.raises(DataError, match="no result for dog"):
        score_runs("folder", truth, {"cat": BOXES})
    with pytest.raises(DataError, match="cat: 5 rows for 6 frames"):
        score_runs("folder", truth, {"cat": BOXES[:5], "dog": BOXES})
    with pytest.raises(DataError, match="cannot leave out cow"):
        score_runs("folder", truth, {"cat": BOXES}, leave_out=["cow"])
    with pytest.raises(DataError, match="no image size for cat, dog"):
        score_runs("vot2018", truth, {"cat": BOXES, "dog": BOXES})
    with pytest.raises(ConfigError, match=r"rules otb do not score vot2018, a reset .*use got10k-toolkit"):
        score_runs("vot2018", truth, {"cat": BOXES, "dog": BOXES}, "otb")
    with pytest.raises(ConfigError, match="did you mean 'lasot'"):
        score_runs("folder", truth, {}, "lasott")
    left = score_runs("folder", truth, {"cat": BOXES}, leave_out=["dog"])
    assert left.as_dict()["left_out"] == ["dog"]


def test_repetitions_pool_for_got10k() -> None:
    half = BOXES.copy()
    half[3:] += 1000
    runs = {"a": [Run(BOXES), Run(half)]}
    assert score_runs("got10k", {"a": BOXES}, runs).metrics["AO"] == pytest.approx(7 / 10)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for folder in ("gt", "T"):
        (tmp_path / folder).mkdir()
        np.savetxt(tmp_path / folder / "cat.txt", BOXES, delimiter=",")
    return tmp_path / "gt", tmp_path / "T"


def test_command_prints_json(files: tuple[Path, Path]) -> None:
    truth, results = map(str, files)
    found = CliRunner().invoke(
        app,
        ["score", "--suite", "folder", "--truth", truth, "--results", results, "--rules", "otb", "--json"],
    )
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert set(document) == {"suite", "rules", "metrics", "sequences"}
    assert document["rules"] == "otb"
    assert document["metrics"]["success_auc"] == pytest.approx(20 / 21)
    assert document["sequences"]["cat"]["precision@20"] == 1


def test_command_prints_a_table(files: tuple[Path, Path]) -> None:
    truth, results = map(str, files)
    args = ["score", "--suite", "folder", "--truth", truth, "--results", results, "--per-sequence"]
    found = CliRunner().invoke(app, args)
    assert found.exit_code == 0, found.output
    assert "folder by pysot rules, 1 sequences" in found.stdout
    assert "0.9524" in found.stdout


def test_command_tells_an_error_in_one_line(files: tuple[Path, Path]) -> None:
    truth, results = files
    np.savetxt(results / "cat.txt", BOXES[:3], delimiter=",")
    program = "import sys; from siamtrack.apps.cli.main import run; run()"
    args = ["score", "--suite", "folder", "--truth", str(truth), "--results", str(results)]
    found = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr.startswith("siamtrack: cat: 3 rows for 6 frames")
    assert len(found.stderr.splitlines()) == 1


def test_scoring_needs_no_torch() -> None:
    program = "import sys, siamtrack.bench.score; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
