from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from siamtrack.apps.cli.main import app
from siamtrack.errors import ConfigError, DataError
from siamtrack.evaluation.scoring import score, score_results
from siamtrack.formats.records import Predictions, Truth
from siamtrack.metrics.rules import RULES
from siamtrack.metrics.scores import Scores

BOXES = np.tile([10.0, 20, 30, 40], (6, 1))


def test_arrays_in_memory() -> None:
    found = score_results("folder", {"a": BOXES, "b": BOXES}, {"a": BOXES, "b": BOXES + 1000, "c": BOXES}, "pysot")
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
        found = score_results("folder", {"odd": hidden}, {"odd": odd}, rules)
    assert all(np.isfinite(v) for v in found.metrics.values())


def test_tags_make_attributes() -> None:
    every, never = np.ones(6, dtype=bool), np.zeros(6, dtype=bool)
    truths = {
        "a": Truth("a", BOXES, tags={"OCC": every}),
        "b": Truth("b", BOXES, tags={"OCC": never, "SV": every}),
    }
    found = score_results("folder", truths, {"a": BOXES, "b": BOXES + 1000}, "pysot")
    assert found.attributes["OCC"]["precision@20"] == 1
    assert found.attributes["SV"]["precision@20"] == 0


def test_a_suite_scores_no_sequence_that_it_leaves_out(tmp_path: Path) -> None:
    for name in ("Ball_ce1", "Jogging1"):
        (tmp_path / "truth" / name).mkdir(parents=True)
        (tmp_path / "results").mkdir(exist_ok=True)
        np.savetxt(tmp_path / "truth" / name / f"{name}_gt.txt", BOXES, delimiter=",")
        np.savetxt(tmp_path / "results" / f"{name}.txt", BOXES, delimiter=",")
    for suite, names in (("tc128", {"Ball_ce1", "Jogging1"}), ("tc128-without-otb", {"Ball_ce1"})):
        assert score(suite, tmp_path / "truth", tmp_path / "results").sequences.keys() == names


def test_what_is_wrong_is_told_by_name() -> None:
    truth = {"cat": BOXES, "dog": BOXES}
    with pytest.raises(DataError, match="no result for dog"):
        score_results("folder", truth, {"cat": BOXES})
    with pytest.raises(DataError, match="cat: 5 rows for 6 frames"):
        score_results("folder", truth, {"cat": BOXES[:5], "dog": BOXES})
    with pytest.raises(DataError, match="cannot leave out cow"):
        score_results("folder", truth, {"cat": BOXES}, leave_out=["cow"])
    with pytest.raises(DataError, match="no image size for cat, dog"):
        score_results("vot2018", truth, {"cat": BOXES, "dog": BOXES})
    with pytest.raises(ConfigError, match=r"rules otb do not score vot2018, a reset .*use got10k-toolkit"):
        score_results("vot2018", truth, {"cat": BOXES, "dog": BOXES}, "otb")
    with pytest.raises(ConfigError, match="did you mean 'lasot'"):
        score_results("folder", truth, {}, "lasott")
    left = score_results("folder", truth, {"cat": BOXES}, leave_out=["dog"])
    assert left.as_dict()["left_out"] == ["dog"]


@pytest.mark.parametrize("rules", [name for name, rule in RULES.items() if "ope" in rule.scorers])
def test_an_attribute_of_all_sequences_has_the_curves_of_all(rules: str) -> None:
    truths = {name: Truth(name, BOXES, tags={"ALL": np.ones(6, dtype=bool)}) for name in "ab"}
    found = score_results("folder", truths, {"a": BOXES, "b": BOXES + 9}, rules)
    assert found.curves and set(found.attribute_curves) == {"ALL"}
    assert set(found.attribute_curves["ALL"]) == set(found.curves)
    for name, curve in found.curves.items():
        np.testing.assert_array_equal(found.attribute_curves["ALL"][name], curve)


def test_numbers_that_are_not_finite_are_null_in_json_and_nan_when_read() -> None:
    curve = np.array([np.inf, 0.25, np.nan, -np.inf])
    bad = {"x": float("nan"), "y": 0.5}
    scores = Scores(bad, {"a": bad}, {"T": bad}, {"c": curve}, {"T": {"c": curve}}, "s", "r", ["b"])

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    tree = json.loads(scores.to_json(curves=True), parse_constant=refuse)
    assert tree["curves"]["c"] == [None, 0.25, None, None] == tree["attribute_curves"]["T"]["c"]
    assert tree["metrics"] == {"x": None, "y": 0.5}
    again = Scores.from_dict(tree)
    assert again.to_json(curves=True) == scores.to_json(curves=True)
    np.testing.assert_array_equal(again.curves["c"], [np.nan, 0.25, np.nan, np.nan])
    assert np.isnan(again.metrics["x"]) and again.left_out == ["b"]
    assert "curves" not in scores.as_dict() and "attribute_curves" not in scores.as_dict()


def test_repetitions_pool_for_got10k() -> None:
    half = BOXES.copy()
    half[3:] += 1000
    runs = {"a": [Predictions(BOXES), Predictions(half)]}
    assert score_results("got10k", {"a": BOXES}, runs).metrics["AO"] == pytest.approx(7 / 10)


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
    assert "folder by otb rules, 1 sequences" in found.stdout
    assert "0.9524" in found.stdout


def test_command_scores_against_the_bounds_of_masks(tmp_path: Path) -> None:
    (tmp_path / "r" / "baseline" / "ants1").mkdir(parents=True)
    (tmp_path / "r" / "baseline" / "ants1" / "ants1_00000000.txt").write_text(
        "1\n" + "10,20,30,40\n" * 4 + "10,20,30,20\n"
    )
    found = []
    for name, row in (("boxes", "10,20,30,40"), ("masks", "m10,20,30,40,600,600")):
        folder = tmp_path / name / "ants1"
        (folder / "color").mkdir(parents=True)
        (folder / "groundtruth.txt").write_text(f"{row}\n" * 6)
        (folder / "anchor.value").write_text("1\n0\n0\n0\n0\n0\n")
        assert cv2.imwrite(str(folder / "color" / "00000001.jpg"), np.zeros((90, 120, 3), np.uint8))
        args = [
            "score",
            "--suite",
            "vot2020",
            "--truth",
            str(tmp_path / name),
            "--results",
            str(tmp_path / "r"),
            "--json",
        ]
        done = CliRunner().invoke(app, args)
        assert done.exit_code == 0, done.exception
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert found[1]["metrics"]["accuracy"] == pytest.approx(4.5 / 6)  # the frame of the start has no overlap


def test_command_tells_an_error_in_one_line(files: tuple[Path, Path]) -> None:
    truth, results = files
    np.savetxt(results / "cat.txt", BOXES[:3], delimiter=",")
    program = "import sys; from siamtrack.apps.cli.main import run; run()"
    args = ["score", "--suite", "folder", "--truth", str(truth), "--results", str(results)]
    found = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr.startswith("siamtrack: cat: 3 rows for 6 frames")
    assert len(found.stderr.splitlines()) == 1
