from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from siamtrack.formats.records import Predictions, Truth
from siamtrack.metrics.ope import (
    fractions_above,
    fractions_within,
    got10k_overlaps,
    got10k_scorer,
    got10k_toolkit_curves,
    lasot_curves,
    otb_curves,
    pysot_curves,
    repair,
    trackingnet_curves,
)
from siamtrack.metrics.scores import LengthError

SCORERS = {"pysot": pysot_curves, "got10k": got10k_toolkit_curves, "otb_matlab": otb_curves}


def table(rows: list[list[Any]]) -> np.ndarray:
    return np.array([[np.nan if v is None else float(v) for v in row] for row in rows])


def test_the_recorded_cases_of_three_scorers(ope_cases: dict[str, Any]) -> None:
    compared = refused = 0
    for name, case in ope_cases.items():
        truth, run = Truth(name, table(case["gt"])), Predictions(table(case["result"]))
        for scorer, measure in SCORERS.items():
            expected = case[scorer]
            if "RAISES" in expected:
                with pytest.raises(LengthError, match=name):
                    measure(truth, run)
                refused += 1
                continue
            found = measure(truth, run)
            np.testing.assert_allclose(found.success, expected["success_curve"], atol=1e-12, err_msg=f"{name} {scorer}")
            assert found.precision[5] == pytest.approx(expected["precision@5"], abs=1e-12), f"{name} {scorer}"
            for metric, value in found.metrics().items():
                if metric in expected:
                    assert value == pytest.approx(expected[metric], abs=1e-12), f"{name} {scorer} {metric}"
                    compared += 1
    assert (compared, refused) == (67, 4)


def test_a_perfect_tracker_scores_twenty_of_twenty_one() -> None:
    boxes = np.tile([10.0, 20, 30, 40], (5, 1))
    for measure in (otb_curves, lasot_curves, pysot_curves, got10k_toolkit_curves):
        found = measure(Truth("still", boxes), Predictions(boxes)).metrics()
        assert found["success_auc"] == pytest.approx(20 / 21)
        assert found["precision@20"] == 1


def test_missing_rows_matter_only_where_the_truth_is_valid() -> None:
    gt = np.tile([10.0, 20, 30, 40], (4, 1))
    gt[3] = 0
    found = otb_curves(Truth("ends empty", gt), Predictions(gt[:3]))
    assert found.success[0] == pytest.approx(3 / 4)
    assert found.precision[20] == 1  # an invalid truth passes every distance
    with pytest.raises(LengthError):
        otb_curves(Truth("ends early", gt), Predictions(gt[:2]))


def test_repair_takes_the_row_before() -> None:
    truth = np.tile([1.0, 2, 3, 4], (6, 1))
    truth[5] = np.nan
    rows = np.array([[0, 0, -1, 1], [5, 5, 0, 1], [6, 6, 1, 1], [np.nan] * 4, [7, np.nan, 1, 1], [8, 8, 0, 0]])
    expected = np.array([[0, 0, -1, 1], [0, 0, -1, 1], [6, 6, 1, 1], [6, 6, 1, 1], [7, np.nan, 1, 1], [8, 8, 0, 0]])
    np.testing.assert_array_equal(repair(rows, truth), expected)


def test_absent_frames_leave_the_numerator_only() -> None:
    boxes = np.tile([10.0, 20, 30, 40], (4, 1))
    truth = Truth("hides", boxes, visible=np.array([True, True, False, False]))
    for measure in (lasot_curves, pysot_curves):
        assert measure(truth, Predictions(boxes)).success[0] == pytest.approx(0.5)
    assert len(got10k_overlaps(truth, Predictions(boxes))) == 1


def test_sequences_without_a_frame_that_counts_have_no_mean_and_no_warning() -> None:
    boxes = np.tile([10.0, 20, 30, 40], (4, 1))
    truth = Truth("hidden", boxes, visible=np.zeros(4, dtype=bool))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = got10k_scorer({"hidden": truth}, {"hidden": [Predictions(boxes)]}).metrics
    assert np.isnan([found["AO"], found["AO(mean over sequences)"], found["SR0.5(mean over sequences)"]]).all()


def test_trackingnet_rounds_and_pads() -> None:
    gt = np.tile([10.4, 20, 30, 40], (4, 1))
    found = trackingnet_curves(Truth("short", gt), Predictions(gt[:3] + 0.01))
    assert found.success[-1] == pytest.approx(3 / 4)
    assert found.sane.sum() == 3
    assert trackingnet_curves(Truth("none", gt), None).success[-1] == pytest.approx(1 / 4)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, st.integers(1, 30), elements=st.sampled_from([0, 0.05, 0.5, 0.51, 1, np.nan, -1])),
)
def test_fractions_count_what_a_comparison_counts(values: np.ndarray) -> None:
    thresholds = np.linspace(0, 1, 21)
    n = len(values)
    np.testing.assert_allclose(fractions_above(values, thresholds, n), [(values > t).mean() for t in thresholds])
    at_least = fractions_above(values, thresholds, n, equal=True)
    np.testing.assert_allclose(at_least, [(values >= t).mean() for t in thresholds])
    np.testing.assert_allclose(fractions_within(values, thresholds, n), [(values <= t).mean() for t in thresholds])
