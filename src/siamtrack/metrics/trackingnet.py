"""TrackingNet's evaluation, as its development kit (metrics.py) does it: coverage and areas in per cent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import rectangle_iou
from siamtrack.geometry.regions import BoolArray, FloatArray, as_rectangles
from siamtrack.metrics.ope import fractions_above, fractions_within
from siamtrack.metrics.scores import Results, Scores, Truths, by_attribute

_SUCCESS = np.linspace(0, 1, 21)
_PIXELS = np.linspace(0, 50, 21)
_NORMALISED = np.linspace(0, 0.5, 21)


@dataclass(frozen=True)
class TrackingNetCurves:
    """One sequence's three 21-point curves, fractions in [0, 1], and which frames have a sane box."""

    success: FloatArray
    precision: FloatArray
    norm_precision: FloatArray
    sane: BoolArray


def trackingnet_curves(truth: Truth, run: Predictions | None) -> TrackingNetCurves:
    """Return the curves of TrackingNet's devkit (metrics.py) for one sequence.

    Boxes are rounded half to even, the first becomes the truth, the centre is `x + (w + 1) / 2`, success is an overlap
    of at least the threshold. A sequence without a result scores boxes of zeros; missing rows fail, surplus rows are
    ignored.
    """
    gt = np.round(as_rectangles(truth.regions))
    n = len(gt)
    boxes = np.full_like(gt, 0.0 if run is None else np.nan)
    if run is not None:
        boxes[: len(run)] = np.round(as_rectangles(run.regions)[:n])
    boxes[0] = gt[0]
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


def _summary(curves: Sequence[TrackingNetCurves]) -> dict[str, float]:
    """Return coverage, success, precision and norm_precision of some sequences' curves, in per cent.

    Coverage is the share of all frames with a sane box; the others are areas under the curves averaged over
    sequences, by the trapezoid rule on the unit interval.
    """
    coverage = {"coverage": float(np.concatenate([c.sane for c in curves]).mean() * 100)}
    return coverage | {
        name: float(((curve[1:] + curve[:-1]) / 2 * np.diff(_SUCCESS)).sum() * 100)
        for name, curve in _means(curves).items()
    }


def _means(curves: Sequence[TrackingNetCurves]) -> dict[str, FloatArray]:
    return {
        "success": np.mean([c.success for c in curves], axis=0),
        "precision": np.mean([c.precision for c in curves], axis=0),
        "norm_precision": np.mean([c.norm_precision for c in curves], axis=0),
    }


def trackingnet_scorer(truths: Truths, results: Results) -> Scores:
    """Score by TrackingNet's devkit, in per cent; a sequence without a result scores boxes of zeros.

    The devkit looks for result files whose name ends with the sequence's and takes none if there are several: a Car1
    beside a BlurCar1 is lost. TrackingNet's own names never clash.
    """
    files = list(results)
    found = {seq: results[seq][0] for seq in results if sum(name.endswith(seq) for name in files) == 1}
    curves = {seq: trackingnet_curves(truth, found.get(seq)) for seq, truth in truths.items()}
    every = list(curves.values())
    by_tag = by_attribute(truths, lambda names: [curves[n] for n in names])
    return Scores(
        _summary(every),
        {seq: _summary([c]) for seq, c in curves.items()},
        {tag: _summary(found) for tag, found in by_tag.items()},
        _means(every),
        {tag: _means(found) for tag, found in by_tag.items()},
    )
