from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamtrack.errors import DataError
from siamtrack.evaluation.scoring import score_results
from siamtrack.formats.records import Predictions, Truth
from siamtrack.metrics.longterm import precision_recall, presence_auroc, pysot_thresholds, toolkit_thresholds


def test_auroc_is_the_chance_that_a_present_frame_scores_higher() -> None:
    assert presence_auroc(np.array([0.9, 0.8, 0.2]), [True, True, False]) == 1
    assert presence_auroc(np.array([0.1, 0.8]), [True, False]) == 0
    assert presence_auroc(np.array([0.5, 0.5]), [True, False]) == 0.5
    assert np.isnan(presence_auroc(np.array([0.5, np.nan]), [True, False]))


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.booleans()), min_size=1, max_size=30))
def test_auroc_counts_pairs(rows: list[tuple[float, bool]]) -> None:
    there = [s for s, p in rows if p]
    gone = [s for s, p in rows if not p]
    found = presence_auroc(np.array([s for s, _ in rows]), [p for _, p in rows])
    if there and gone:
        pairs = [(a > b) + (a == b) / 2 for a in there for b in gone]
        assert found == pytest.approx(np.mean(pairs))
    else:
        assert np.isnan(found)


def test_precision_and_recall_follow_the_definition() -> None:
    rng = np.random.default_rng(1)
    overlaps, confidence = rng.random(200), np.round(rng.random(200), 2)
    thresholds = toolkit_thresholds(confidence)
    assert len(thresholds) == 100
    precision, recall = precision_recall(overlaps, confidence, thresholds, 150, above_zero=False)
    for t, p, r in zip(thresholds, precision, recall, strict=True):
        chosen = overlaps[confidence >= t]
        assert p == pytest.approx(chosen.mean() if len(chosen) else 1)
        assert r == pytest.approx(chosen.sum() / 150)


def test_few_or_no_confidences_still_give_thresholds() -> None:
    for few in (np.array([]), np.array([0.3]), np.array([0.3, np.nan])):
        for rule in (pysot_thresholds, toolkit_thresholds):
            found = rule(few)
            assert (found[0], found[-1]) == (np.inf, -np.inf)


def test_confidences_are_asked_for_by_name() -> None:
    boxes = np.tile([1.0, 2, 30, 40], (5, 1))
    truth = {"cat": Truth("cat", boxes, (100, 100))}
    with pytest.raises(DataError, match="cat: no confidences"):
        score_results("vot2018-lt", truth, {"cat": Predictions(boxes)})
    whole = Predictions(boxes, confidence=np.linspace(0.5, 1, 5))
    assert score_results("vot2018-lt", truth, {"cat": whole}).metrics["F"] == pytest.approx(1)
