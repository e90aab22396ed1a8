from __future__ import annotations

import numpy as np
import pytest

from siamtrack.errors import DataError
from siamtrack.evaluation.scoring import score_results
from siamtrack.formats.records import Predictions, Truth
from siamtrack.metrics.longterm import precision_recall, pysot_thresholds, toolkit_thresholds


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
