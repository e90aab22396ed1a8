from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from siamtrack.evaluation.scoring import score_results
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.regions import widen
from siamtrack.metrics.scores import LengthError
from siamtrack.metrics.vot import (
    ar_robustness,
    eao_score,
    pysot_accuracy_overlaps,
    pysot_eao_curve,
    pysot_eao_overlaps,
    pysot_fragments,
    toolkit_accuracy,
    toolkit_eao_curve,
    toolkit_fragments,
    toolkit_run_overlaps,
)


def trace(name: str, case: dict[str, Any]) -> tuple[Truth, Predictions]:
    """Turn a recorded trace into values: rows of one number are special codes."""
    gt = np.array(case["gt"], dtype=float)
    regions, codes = np.full((len(case["result"]), 8), np.nan), []
    for row, numbers in zip(regions, case["result"], strict=True):
        codes.append(int(numbers[0]) if len(numbers) == 1 else -1)
        if len(numbers) > 1:
            row[: len(numbers)] = [np.nan if v is None else v for v in numbers]
    return Truth(name, gt, size=tuple(case["image_size"])), Predictions(regions, np.array(codes))


def floats(values: list[Any]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=float)


@pytest.fixture(scope="module")
def traces(reset_traces: dict[str, Any]) -> dict[str, tuple[Truth, Predictions, dict[str, Any]]]:
    return {n: (*trace(n, c), c) for n, c in reset_traces.items() if not n.startswith("_")}


def test_pysot_on_each_trace(traces: dict[str, Any]) -> None:
    for name, (truth, run, case) in traces.items():
        expected = case["pysot"]
        accuracy = pysot_accuracy_overlaps(truth, run)
        np.testing.assert_allclose(accuracy, floats(expected["overlaps_burnin10"]), atol=1e-7, err_msg=name)
        overlaps = pysot_eao_overlaps(truth, run, accuracy)
        np.testing.assert_allclose(
            overlaps, floats(expected["overlaps_noburnin_bounds(w-1,h-1)"]), atol=1e-7, err_msg=name
        )
        np.testing.assert_array_equal(overlaps, pysot_eao_overlaps(truth, run))
        failures = np.flatnonzero(run.is_code(2))
        assert [len(failures), failures.tolist()] == expected["failures"]
        fragments = pysot_fragments(overlaps, failures, len(truth))
        weights = [w for w in expected["fragment_weights"] if w is not None]  # None: a row that was never used
        np.testing.assert_allclose([f.weight for f in fragments], weights, atol=1e-9)
        curve = pysot_eao_curve(fragments, len(overlaps))
        np.testing.assert_allclose(curve, floats(expected["EAO_curve"]), atol=1e-6, err_msg=name)
        assert eao_score(curve, 9, 49) == pytest.approx(expected["EAO[10..50]"], abs=1e-7), name
        known = accuracy[~np.isnan(accuracy)]
        wanted = expected["accuracy_burnin10"]
        assert wanted is None if not len(known) else known.mean() == pytest.approx(wanted, abs=1e-7), name


def test_toolkit_on_each_trace(traces: dict[str, Any]) -> None:
    refused = 0
    for name, (truth, run, case) in traces.items():
        expected = case["vot_toolkit_0.9.0"]
        if "RAISES" in expected:
            with pytest.raises(LengthError, match=name):
                toolkit_run_overlaps(truth, run)
            refused += 1
            continue
        if name == "nan_boxes":
            # recorded from nan rectangles, whose cast to int is undefined
            # (read from a file, the toolkit takes a row of nan for an unknown frame)
            continue
        overlaps = toolkit_run_overlaps(truth, run)
        np.testing.assert_allclose(overlaps, expected["overlaps"], atol=1e-9, err_msg=name)
        assert toolkit_accuracy(overlaps, run) == pytest.approx(expected["accuracy"], abs=1e-9), name
        lost = int(run.is_code(2).sum())
        assert lost == expected["failures"]
        assert ar_robustness(lost, len(truth)) == pytest.approx(expected["AR_robustness"], abs=1e-12)
        curve = toolkit_eao_curve(toolkit_fragments(overlaps, run))
        np.testing.assert_allclose(curve, floats(expected["EAO_curve"]), atol=1e-6, err_msg=name)
        wanted = floats([expected["EAO[10..50]"]])
        np.testing.assert_allclose([eao_score(curve, 10, 50)], wanted, atol=1e-6, err_msg=name)
    assert refused == 2


def test_all_traces_together(traces: dict[str, Any], reset_traces: dict[str, Any]) -> None:
    expected = reset_traces["_all_without_nan_boxes"]
    fragments, longest = [], 0
    for name, (truth, run, _) in traces.items():
        if name != "nan_boxes":
            overlaps = pysot_eao_overlaps(truth, run)
            longest = max(longest, len(overlaps))
            fragments += pysot_fragments(overlaps, np.flatnonzero(run.is_code(2)), len(truth))
    curve = pysot_eao_curve(fragments, longest)
    np.testing.assert_allclose(curve, expected["pysot"]["EAO_curve"], atol=1e-6)
    toolkit = []
    for name in expected["vot_toolkit_0.9.0"]["sequences"]:
        truth, run, _ = traces[name]
        toolkit += toolkit_fragments(toolkit_run_overlaps(truth, run), run)
    curve = toolkit_eao_curve(toolkit)
    assert eao_score(curve, 10, 50) == pytest.approx(expected["vot_toolkit_0.9.0"]["EAO[10..50]"], abs=1e-6)


def test_a_data_set_in_memory(traces: dict[str, Any]) -> None:
    kept = {n: v for n, v in traces.items() if n not in ("shorter_than_gt", "longer_than_gt")}
    truths, runs = {n: v[0] for n, v in kept.items()}, {n: v[1] for n, v in kept.items()}
    for rules in ("vot-pysot", "vot-toolkit", "got10k-toolkit"):
        found = score_results("vot2018", truths, runs, rules)
        assert set(found.sequences) == set(kept)
        assert found.metrics["lost_number"] == sum(run.is_code(2).sum() for run in runs.values())
    # fifteen equal repetitions say what one says
    once = score_results("vot2018", truths, runs, "vot-pysot").metrics
    often = score_results("vot2018", truths, {n: [r] * 15 for n, r in runs.items()}, "vot-pysot").metrics
    assert often == pytest.approx(once)


def test_tags_give_attributes() -> None:
    boxes = widen(np.tile([10.0, 20, 30, 40], (40, 1)))
    half = np.arange(40) < 20
    truth = Truth("still", boxes, (100, 100), tags={"occlusion": half})
    regions = boxes.copy()
    regions[20:, 0] += 5
    run = Predictions(regions, np.where(np.arange(40) == 0, 1, -1))
    found = score_results("vot2018", {"still": truth}, {"still": run}, "vot-pysot").attributes
    assert found["occlusion"]["accuracy"] == pytest.approx(1)
    assert found["empty"]["accuracy"] < 0.9
