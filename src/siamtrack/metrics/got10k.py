"""GOT-10k's evaluation: overlaps pooled over the frames of all sequences and repetitions."""

from __future__ import annotations

import numpy as np

from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import clip_rectangles, rectangle_iou
from siamtrack.geometry.regions import FloatArray, as_rectangles
from siamtrack.metrics.ope import EPS, fractions_above
from siamtrack.metrics.scores import Results, Scores, Truths, by_attribute, check_length, each_sequence


def got10k_overlaps(truth: Truth, run: Predictions) -> FloatArray:
    """Return the overlaps of one run by the GOT-10k rule, in [0, 1], one for each frame that counts.

    The first frame and frames where nothing of the target is visible are dropped. Both boxes are bounded by the image
    if its size is known. Raises `LengthError` unless the run has one row a frame.
    """
    check_length(truth, run)
    boxes, gt = as_rectangles(run.regions)[1:], as_rectangles(truth.regions)[1:]
    if truth.size is not None:
        boxes, gt = clip_rectangles(boxes, truth.size), clip_rectangles(gt, truth.size)
    overlaps = rectangle_iou(boxes, gt, eps=EPS)
    return overlaps if truth.visible is None else overlaps[truth.visible[1:]]


def got10k_summary(overlaps: FloatArray) -> dict[str, float]:
    """Return AO, SR0.5, SR0.75 and the mean of the 101-point success curve of pooled overlaps, in [0, 1].

    An overlap of nan counts as 0 (the toolkit's mean would be nan).
    """
    known = np.nan_to_num(overlaps, nan=0.0)
    if not len(known):
        return dict.fromkeys(("AO", "SR0.5", "SR0.75", "succ_curve_mean"), float("nan"))
    curve = _curve(known)
    return {
        "AO": float(known.mean()),
        "SR0.5": float((known > 0.5).mean()),
        "SR0.75": float(curve[75]),
        "succ_curve_mean": float(curve.mean()),
    }


def _curve(overlaps: FloatArray) -> FloatArray:
    """Return the success curve (101,): shares of the overlaps above 0, 0.01 .. 1; nan without overlaps."""
    if not len(overlaps):
        return np.full(101, np.nan)
    return fractions_above(np.nan_to_num(overlaps, nan=0.0), np.linspace(0, 1, 101), len(overlaps))


def got10k_scorer(truths: Truths, results: Results) -> Scores:
    """Score by GOT-10k's protocol: all frames of all repetitions pooled, and the means over sequences."""
    overlaps = each_sequence(
        truths, lambda seq: np.concatenate([got10k_overlaps(truths[seq], run) for run in results[seq]])
    )
    sequences = {seq: got10k_summary(o) for seq, o in overlaps.items()}
    pooled = np.concatenate(list(overlaps.values()))
    metrics = got10k_summary(pooled)
    for key in ("AO", "SR0.5"):
        metrics[f"{key}(mean over sequences)"] = float(np.nanmean([m[key] for m in sequences.values()]))
    by_tag = by_attribute(truths, lambda names: np.concatenate([overlaps[n] for n in names]))
    return Scores(
        metrics,
        sequences,
        {tag: got10k_summary(found) for tag, found in by_tag.items()},
        {"success": _curve(pooled)},
        {tag: {"success": _curve(found)} for tag, found in by_tag.items()},
    )
