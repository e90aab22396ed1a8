"""One-pass evaluation as OTB, LaSOT, PySOT, GOT-10k and TrackingNet score it: success and precision plots.

A measure takes a `Truth` and a `Predictions` and returns one sequence's `SequenceCurves`; it raises `LengthError`
exactly where the original scorer stops. `curves_scorer` averages a measure over a data set. The last two scorers are
those of the evaluation servers of GOT-10k, which pools the frames of all sequences, and of TrackingNet, which counts in
per cent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import center_distance, centers, clip_rectangles, rectangle_iou
from siamtrack.geometry.regions import BoolArray, FloatArray, as_rectangles
from siamtrack.metrics.scores import (
    LengthError,
    Results,
    Scores,
    Truths,
    by_attribute,
    check_length,
    each_sequence,
    mean_known,
)

EPS = float(np.finfo(np.float64).eps)
# The scorers' two grids differ in the last bit at four thresholds.
_SUCCESS_ARANGE = np.arange(0, 1.05, 0.05)
_SUCCESS_LINSPACE = np.linspace(0, 1, 21)
_PIXELS = np.arange(0, 51, 1)
_NORMALISED = np.arange(0, 51, 1) / 100


@dataclass(frozen=True)
class SequenceCurves:
    """One sequence's curves: success (21,), precision (51,) and normalised precision (51,) or None.

    Each value is the share of frames, in [0, 1], with an overlap above 0, 0.05 .. 1, a distance within 0 .. 50 px, or
    a distance within 0, 0.01 .. 0.5 of the truth's size.
    """

    success: FloatArray
    precision: FloatArray
    norm_precision: FloatArray | None = None

    def by_name(self) -> dict[str, FloatArray]:
        """Return the curves that are not None by the names of their fields."""
        return {name: curve for name, curve in vars(self).items() if curve is not None}

    def metrics(self) -> dict[str, float]:
        """Return the numbers that papers' tables have."""
        found = {
            "success_auc": float(self.success.mean()),
            "precision@20": float(self.precision[20]),
            "success@0.5": float(self.success[10]),
        }
        if self.norm_precision is not None:
            found["norm_precision@0.20"] = float(self.norm_precision[20])
            found["norm_precision_auc"] = float(self.norm_precision.mean())
        return found


def fractions_above(
    values: FloatArray, thresholds: npt.NDArray[np.generic], frames: int, *, equal: bool = False
) -> FloatArray:
    """Return, for each threshold, the share of `frames` with a value above it (or equal to it); nan fails."""
    known = np.sort(values[~np.isnan(values)])
    below = np.searchsorted(known, thresholds, side="left" if equal else "right")
    return np.asarray((len(known) - below) / max(frames, 1))


def fractions_within(values: FloatArray, thresholds: npt.NDArray[np.generic], frames: int) -> FloatArray:
    """Return, for each threshold, the share of `frames` with a value not above it; nan fails."""
    known = np.sort(values[~np.isnan(values)])
    return np.asarray(np.searchsorted(known, thresholds, side="right") / max(frames, 1))


def repair(boxes: FloatArray, truth: FloatArray) -> FloatArray:
    """Return the boxes with each invalid row replaced by the row before it, as OTB's calcSeqErrRobust.m does.

    A row is invalid where w <= 0, h <= 0 or all four numbers are nan, and only where the truth's row has no
    nan; the first row is never replaced.
    """
    with np.errstate(invalid="ignore"):
        bad = (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0) | np.isnan(boxes).all(axis=1)
    bad &= ~np.isnan(truth).any(axis=1)
    bad[:1] = False
    if not bad.any():
        return boxes
    return boxes[np.maximum.accumulate(np.where(bad, 0, np.arange(len(boxes))))]


def _matlab_boxes(truth: Truth, run: Predictions) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return truth, result and the mask of valid truth, of equal length, as the MATLAB scorers see them.

    MATLAB stops at a result that is longer than the truth or misses a frame of valid truth; it never looks at rows
    that are missing where the truth is invalid.
    """
    gt, boxes = as_rectangles(truth.regions), as_rectangles(run.regions)
    with np.errstate(invalid="ignore"):
        valid = np.asarray((gt > 0).all(axis=1))
    if len(boxes) > len(gt) or not len(boxes) or valid[len(boxes) :].any():
        check_length(truth, run)
    boxes = repair(boxes, gt[: len(boxes)]).copy()
    boxes[0] = gt[0]
    if len(boxes) < len(gt):
        boxes = np.concatenate([boxes, np.full((len(gt) - len(boxes), 4), np.nan)])
    return gt, boxes, valid


def _scored(measure: FloatArray, valid: BoolArray) -> FloatArray:
    # An invalid truth scores -1, which fails every overlap threshold and passes every distance.
    return np.where(valid, measure, -1.0)


def otb_curves(truth: Truth, run: Predictions) -> SequenceCurves:
    """Return the curves of the OTB MATLAB toolkit v1.1 (calcSeqErrRobust.m), with which UAV123 is scored too.

    The first row becomes the truth, an invalid row the row before it; truth counts where all four numbers are
    positive; the counts are divided by all frames.
    """
    gt, boxes, valid = _matlab_boxes(truth, run)
    overlaps = _scored(rectangle_iou(boxes, gt), valid)
    distances = _scored(center_distance(centers(boxes), centers(gt)), valid)
    return SequenceCurves(
        fractions_above(overlaps, _SUCCESS_ARANGE, len(gt)), fractions_within(distances, _PIXELS, len(gt))
    )


def lasot_curves(truth: Truth, run: Predictions) -> SequenceCurves:
    """Return the curves of the LaSOT MATLAB toolkit: OTB's without absent frames, and normalised precision.

    Frames without the target are dropped, the denominator stays all frames; each centre is divided by the truth's
    size before the difference is taken.
    """
    gt, boxes, valid = _matlab_boxes(truth, run)
    kept: BoolArray | slice = slice(None) if truth.visible is None else truth.visible
    ours, theirs = centers(boxes), centers(gt)
    with np.errstate(all="ignore"):
        scaled = center_distance(ours / gt[:, 2:4], theirs / gt[:, 2:4])
    return SequenceCurves(
        fractions_above(_scored(rectangle_iou(boxes, gt), valid)[kept], _SUCCESS_ARANGE, len(gt)),
        fractions_within(_scored(center_distance(ours, theirs), valid)[kept], _PIXELS, len(gt)),
        fractions_within(_scored(scaled, valid)[kept], _NORMALISED, len(gt)),
    )


def pysot_curves(truth: Truth, run: Predictions) -> SequenceCurves:
    """Return the curves of PySOT's toolkit (OPEBenchmark): no first row, no repair.

    Truth counts for success where w, h > 0 and for a distance where both numbers of the centre are positive;
    absent frames are dropped and the denominator stays all frames.
    """
    check_length(truth, run)
    gt, boxes = as_rectangles(truth.regions), as_rectangles(run.regions)
    frames = len(gt)
    if truth.visible is not None:
        gt, boxes = gt[truth.visible], boxes[truth.visible]
    ours, theirs, size = centers(boxes), centers(gt), gt[:, 2:4] + 1e-16
    with np.errstate(all="ignore"):
        sized = np.asarray((gt[:, 2:4] > 0).all(axis=1))
        scaled, scaled_gt = ours / size, theirs / size
        placed = np.asarray((theirs > 0).all(axis=1))
        scaled_placed = np.asarray((scaled_gt > 0).all(axis=1))
    return SequenceCurves(
        fractions_above(_scored(rectangle_iou(gt, boxes), sized), _SUCCESS_ARANGE, frames),
        fractions_within(_scored(center_distance(theirs, ours), placed), _PIXELS, frames),
        fractions_within(_scored(center_distance(scaled_gt, scaled), scaled_placed), _NORMALISED, frames),
    )


def got10k_toolkit_curves(truth: Truth, run: Predictions) -> SequenceCurves:
    """Return the curves of the GOT-10k toolkit's OTB-like experiments: no masking, both cut to the shorter.

    The first row becomes the truth. Normalised distances divide by the truth's size, at least one pixel.
    """
    n = min(len(truth), len(run))
    if n == 0:
        check_length(truth, run)
    gt, boxes = as_rectangles(truth.regions)[:n], as_rectangles(run.regions)[:n].copy()
    boxes[0] = gt[0]
    ours, theirs = centers(boxes), centers(gt)
    scale = np.maximum(1.0, gt[:, 2:4])
    with np.errstate(all="ignore"):
        scaled = np.sqrt(np.sum(np.power((ours - theirs) / scale, 2), axis=1))
    return SequenceCurves(
        fractions_above(rectangle_iou(boxes, gt, eps=EPS), _SUCCESS_LINSPACE, n),
        fractions_within(center_distance(ours, theirs), _PIXELS, n),
        fractions_within(scaled, np.linspace(0, 0.5, 51), n),
    )


def curves_scorer(
    measure: Callable[[Truth, Predictions], SequenceCurves], *, drop_zero: bool = False
) -> Callable[[Truths, Results], Scores]:
    """Return the scorer that averages one measure's curves over sequences.

    With `drop_zero` a curve of zeros is left out of its average, as LaSOT's published evaluation does. The scorer
    takes the first run of each sequence; its `LengthError` names every sequence that the measure refuses.
    """

    def average(names: Sequence[str], curves: Mapping[str, SequenceCurves]) -> SequenceCurves:
        def mean(rows: list[FloatArray]) -> FloatArray:
            table = np.array(rows)
            kept = table[table.sum(axis=1) > EPS] if drop_zero else table
            return np.asarray((kept if len(kept) else table).mean(axis=0))

        chosen = [curves[name] for name in names]
        norm = [c.norm_precision for c in chosen if c.norm_precision is not None]
        success, precision = mean([c.success for c in chosen]), mean([c.precision for c in chosen])
        return SequenceCurves(success, precision, mean(norm) if norm else None)

    def score(truths: Truths, results: Results) -> Scores:
        curves = each_sequence(truths, lambda seq: measure(truths[seq], results[seq][0]))
        overall = average(list(curves), curves)
        by_tag = by_attribute(truths, lambda names: average(names, curves))
        return Scores(
            overall.metrics(),
            {seq: c.metrics() for seq, c in curves.items()},
            {tag: c.metrics() for tag, c in by_tag.items()},
            overall.by_name(),
            {tag: c.by_name() for tag, c in by_tag.items()},
        )

    return score


def pool_passes(truths: Truths, results: Results) -> tuple[Truths, Results]:
    """Join the passes of OTB's TRE or SRE into one run a sequence, with the truth repeated, as genPerfMat.m does.

    A pass that starts at frame f has N - f rows of the sequence's N; its first row counts as the truth.

    Raises:
        LengthError: a pass has more rows than the sequence, or not as many as its start says.
    """
    passes = {name: runs for name, runs in results.items() if runs}

    def first_frames(name: str) -> list[int]:
        frames = len(truths[name])
        for run in passes[name]:
            expected = frames - (run.anchor or 0)
            if len(run) > frames or (run.anchor is not None and len(run) != expected):
                counts = f"a pass of {len(run)} rows for {expected} frames"
                raise LengthError(f"{name}: {counts}; there must be one row a frame")
        return [frames - len(run) for run in passes[name]]

    firsts = each_sequence({name: truth for name, truth in truths.items() if name in passes}, first_frames)
    long_truths, long_runs = dict(truths), dict[str, list[Predictions]]()
    for name, starts in firsts.items():
        truth = truths[name]
        boxes = as_rectangles(truth.regions)
        answers = [as_rectangles(run.regions).copy() for run in passes[name]]
        for start, rows in zip(starts, answers, strict=True):
            rows[0] = boxes[start]
        tags = {tag: np.concatenate([mask[start:] for start in starts]) for tag, mask in truth.tags.items()}
        visible = None if truth.visible is None else np.concatenate([truth.visible[start:] for start in starts])
        pooled = np.concatenate([boxes[start:] for start in starts])
        long_truths[name] = Truth(name, pooled, truth.size, visible, tags)
        long_runs[name] = [Predictions(np.concatenate(answers))]
    return long_truths, long_runs


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
    curve = _got10k_curve(known)
    return {
        "AO": float(known.mean()),
        "SR0.5": float((known > 0.5).mean()),
        "SR0.75": float(curve[75]),
        "succ_curve_mean": float(curve.mean()),
    }


def _got10k_curve(overlaps: FloatArray) -> FloatArray:
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
        metrics[f"{key}(mean over sequences)"] = float(mean_known(np.array([m[key] for m in sequences.values()])))
    by_tag = by_attribute(truths, lambda names: np.concatenate([overlaps[n] for n in names]))
    return Scores(
        metrics,
        sequences,
        {tag: got10k_summary(found) for tag, found in by_tag.items()},
        {"success": _got10k_curve(pooled)},
        {tag: {"success": _got10k_curve(found)} for tag, found in by_tag.items()},
    )


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
        fractions_above(rectangle_iou(gt, boxes), _SUCCESS_LINSPACE, n, equal=True),
        fractions_within(distance, np.linspace(0, 50, 21), n),
        fractions_within(scaled, np.linspace(0, 0.5, 21), n),
        np.asarray(sane, dtype=np.bool_),
    )


def _trackingnet_summary(curves: Sequence[TrackingNetCurves]) -> dict[str, float]:
    """Return coverage, success, precision and norm_precision of some sequences' curves, in per cent.

    Coverage is the share of all frames with a sane box; the others are areas under the curves averaged over
    sequences, by the trapezoid rule on the unit interval.
    """
    coverage = {"coverage": float(np.concatenate([c.sane for c in curves]).mean() * 100)}
    return coverage | {
        name: float(((curve[1:] + curve[:-1]) / 2 * np.diff(_SUCCESS_LINSPACE)).sum() * 100)
        for name, curve in _trackingnet_means(curves).items()
    }


def _trackingnet_means(curves: Sequence[TrackingNetCurves]) -> dict[str, FloatArray]:
    names = ("success", "precision", "norm_precision")
    return {name: np.mean([getattr(c, name) for c in curves], axis=0) for name in names}


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
        _trackingnet_summary(every),
        {seq: _trackingnet_summary([c]) for seq, c in curves.items()},
        {tag: _trackingnet_summary(found) for tag, found in by_tag.items()},
        _trackingnet_means(every),
        {tag: _trackingnet_means(found) for tag, found in by_tag.items()},
    )
