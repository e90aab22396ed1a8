"""The metrics of the two evaluation servers: GOT-10k (overlaps pooled over all frames) and TrackingNet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import clip_rectangles, rectangle_iou
from siamtrack.geometry.regions import BoolArray, FloatArray, as_rectangles
from siamtrack.metrics.ope import EPS, LengthError, fractions_above, fractions_within

__all__ = [
    "TrackingNetCurves",
    "got10k_curve",
    "got10k_overlaps",
    "got10k_summary",
    "trackingnet_curves",
    "trackingnet_means",
    "trackingnet_summary",
]

_SUCCESS = np.linspace(0, 1, 21)
_PIXELS = np.linspace(0, 50, 21)
_NORMALISED = np.linspace(0, 0.5, 21)


def got10k_overlaps(truth: Truth, run: Predictions) -> FloatArray:
    """Return the overlaps of one run by the GOT-10k rule: one for each frame that counts, in [0, 1].

    The first frame and the frames in which nothing of the target is visible are dropped. Where the image's
    size is known both boxes are bounded by it. Raises `LengthError` where the run has not one row a frame.
    """
    if len(run) != len(truth):
        raise LengthError(f"{truth.name}: {len(run)} rows for {len(truth)} frames; there must be one row a frame")
    boxes, gt = as_rectangles(run.regions)[1:], as_rectangles(truth.regions)[1:]
    if truth.size is not None:
        boxes, gt = clip_rectangles(boxes, truth.size), clip_rectangles(gt, truth.size)
    overlaps = rectangle_iou(boxes, gt, eps=EPS)
    return overlaps if truth.visible is None else overlaps[truth.visible[1:]]


def got10k_summary(overlaps: FloatArray) -> dict[str, float]:
    """Return AO, SR0.5, SR0.75 and the mean of the 101-point success curve of pooled overlaps, in [0, 1].

    An overlap that is not a number counts as 0 (the toolkit's mean would be nan).
    """
    known = np.nan_to_num(overlaps, nan=0.0)
    if not len(known):
        return dict.fromkeys(("AO", "SR0.5", "SR0.75", "succ_curve_mean"), float("nan"))
    curve = got10k_curve(known)
    return {
        "AO": float(known.mean()),
        "SR0.5": float((known > 0.5).mean()),
        "SR0.75": float(curve[75]),
        "succ_curve_mean": float(curve.mean()),
    }


def got10k_curve(overlaps: FloatArray) -> FloatArray:
    """Return the success curve (101,): shares of the overlaps above 0, 0.01 .. 1, all nan where there is no overlap."""
    if not len(overlaps):
        return np.full(101, np.nan)
    return fractions_above(np.nan_to_num(overlaps, nan=0.0), np.linspace(0, 1, 101), len(overlaps))


@dataclass(frozen=True)
class TrackingNetCurves:
    """One sequence's three 21-point curves, fractions in [0, 1], and which frames have a sane box."""

    success: FloatArray
    precision: FloatArray
    norm_precision: FloatArray
    sane: BoolArray


def _aligned(truth: FloatArray, run: Predictions | None) -> FloatArray:
    if run is None:
        return np.zeros_like(truth)
    boxes = np.full_like(truth, np.nan)
    n = min(len(truth), len(run))
    boxes[:n] = as_rectangles(run.regions)[:n]
    return boxes


def trackingnet_curves(truth: Truth, run: Predictions | None) -> TrackingNetCurves:
    """Return the curves of TrackingNet's devkit (metrics.py) for one sequence.

    All boxes are rounded half to even, the first becomes the truth, the centre is `x + (w + 1) / 2`, success
    is an overlap of at least the threshold. A sequence without a result scores boxes of zeros, missing rows
    fail and rows too many are not looked at.
    """
    gt = np.round(as_rectangles(truth.regions))
    boxes = np.round(_aligned(gt, run))
    boxes[0] = gt[0]
    n = len(gt)
    with np.errstate(all="ignore"):
        dx = (gt[:, 0] + (gt[:, 2] + 1) / 2) - (boxes[:, 0] + (boxes[:, 2] + 1) / 2)
        dy = (gt[:, 1] + (gt[:, 3] + 1) / 2) - (boxes[:, 1] + (boxes[:, 3] + 1) / 2)
        distance = np.sqrt(dx * dx + dy * dy)
        # in the devkit's order of operations, so that ties at a threshold fall the same way
        scaled = np.sqrt(dx / gt[:, 2] * dx / gt[:, 2] + dy / gt[:, 3] * dy / gt[:, 3])
        sane = boxes[:, 3] + boxes[:, 2] + boxes[:, 0] + boxes[:, 1] > 0
    return TrackingNetCurves(
        fractions_above(rectangle_iou(gt, boxes), _SUCCESS, n, equal=True),
        fractions_within(distance, _PIXELS, n),
        fractions_within(scaled, _NORMALISED, n),
        np.asarray(sane, dtype=np.bool_),
    )


def _area(curve: FloatArray) -> float:
    # the trapezoid rule on the unit interval, in per cent
    return float(((curve[1:] + curve[:-1]) / 2 * np.diff(_SUCCESS)).sum() * 100)


def trackingnet_summary(curves: list[TrackingNetCurves]) -> dict[str, float]:
    """Return coverage, success, precision and norm_precision in per cent of some sequences' curves.

    Coverage is the share of all frames with a sane box; the others are areas under the curves averaged over
    sequences.
    """
    areas = {name: _area(curve) for name, curve in trackingnet_means(curves).items()}
    return {"coverage": float(np.concatenate([c.sane for c in curves]).mean() * 100), **areas}


def trackingnet_means(curves: list[TrackingNetCurves]) -> dict[str, FloatArray]:
    """Return the three curves (21,) averaged over sequences, by name."""
    return {
        "success": np.mean([c.success for c in curves], axis=0),
        "precision": np.mean([c.precision for c in curves], axis=0),
        "norm_precision": np.mean([c.norm_precision for c in curves], axis=0),
    }
