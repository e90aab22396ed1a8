"""The VOT reset protocol: accuracy, failures and the expected average overlap (EAO), by two scorers.

A run is reset five frames after each failure; its rows carry VOT's special codes (see `records.Run`). The
functions work on one run's overlaps and codes; `rules` puts them together for a data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import pysot_overlaps, toolkit_overlaps
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray
from siamtrack.metrics.ope import LengthError

__all__ = [
    "BURN_IN",
    "Fragment",
    "ar_robustness",
    "burnt_in",
    "eao_score",
    "pysot_accuracy_overlaps",
    "pysot_eao_curve",
    "pysot_eao_overlaps",
    "pysot_fragments",
    "toolkit_accuracy",
    "toolkit_eao_curve",
    "toolkit_fragments",
    "toolkit_run_overlaps",
]

BURN_IN = 10
_SKIP = 5
_UNKNOWN, _START, _FAILURE = 0, 1, 2


def burnt_in(run: Predictions, burn_in: int = BURN_IN) -> BoolArray:
    """Return the (N,) mask of the frames that accuracy leaves out: each start and `burn_in` - 1 after it."""
    starts = np.flatnonzero(run.is_code(_START))
    out = np.zeros(len(run) + burn_in, dtype=np.bool_)
    out[starts[:, None] + np.arange(burn_in)] = True
    return out[: len(run)]


def _pysot(truth: Truth, run: Predictions, size: tuple[int, int] | None) -> FloatArray:
    n = min(len(truth), len(run))
    overlaps = pysot_overlaps(run.regions[:n], truth.regions[:n], size)
    overlaps[~run.is_code(-1)[:n]] = np.nan
    return overlaps


def pysot_accuracy_overlaps(truth: Truth, run: Predictions) -> FloatArray:
    """Return the overlaps that PySOT's accuracy averages: nan at special codes and ten frames from a start.

    Bounded by (width, height); cut to the shorter of truth and run.
    """
    overlaps = _pysot(truth, run, truth.size)
    overlaps[burnt_in(run)[: len(overlaps)]] = np.nan
    return overlaps


def pysot_eao_overlaps(truth: Truth, run: Predictions, accuracy: FloatArray | None = None) -> FloatArray:
    """Return the overlaps that PySOT's EAO uses: nan at special codes, bounded by (width - 1, height - 1).

    `accuracy`, the overlaps of `pysot_accuracy_overlaps` if known, spares the frames that both bounds leave
    alone.
    """
    if truth.size is None or accuracy is None:
        return _pysot(truth, run, None if truth.size is None else (truth.size[0] - 1, truth.size[1] - 1))
    edge = np.asarray(truth.size, dtype=np.float64) - 1
    n = len(accuracy)
    far = _beyond(truth.regions[:n], edge) | _beyond(run.regions[:n], edge)
    again = (far | burnt_in(run)[:n]) & run.is_code(-1)[:n]
    overlaps = accuracy.copy()
    size = (truth.size[0] - 1, truth.size[1] - 1)
    overlaps[again] = pysot_overlaps(run.regions[:n][again], truth.regions[:n][again], size)
    return overlaps


def _beyond(regions: FloatArray, edge: FloatArray) -> BoolArray:
    """Return the rows that may reach beyond the last pixel, where the two bounds differ."""
    xs, ys = regions[:, 0::2].copy(), regions[:, 1::2].copy()
    boxes = np.isnan(regions[:, 4:]).all(axis=1)
    # a box's second pair is its size
    xs[boxes, 1] = np.maximum(xs[boxes, 0], xs[boxes, 0] + xs[boxes, 1])
    ys[boxes, 1] = np.maximum(ys[boxes, 0], ys[boxes, 0] + ys[boxes, 1])
    with np.errstate(invalid="ignore"):
        near = (np.fmax.reduce(xs, axis=1) < edge[0] - 1) & (np.fmax.reduce(ys, axis=1) < edge[1] - 1)
    return np.asarray(~near)


@dataclass(frozen=True)
class Fragment:
    """A stretch of a run from a start on: its overlaps, its weight, and whether it ended in a failure."""

    overlaps: FloatArray
    weight: float
    failed: bool


def pysot_fragments(
    overlaps: FloatArray,
    failures: IntArray,
    frames: int,
    *,
    repetitions: int = 1,
    tag: BoolArray | None = None,
) -> list[Fragment]:
    """Cut one run's overlaps (N,) into the fragments of PySOT's EAO.

    A fragment starts at 0 and five frames after each of the `failures` (frame numbers); `frames` is the
    length of the truth. `tag` (frames,) weighs a fragment by its share of frames with an attribute.
    """
    n = len(overlaps)
    share = 1 / (repetitions + 1e-10)
    on = np.ones(frames) if tag is None else tag.astype(np.float64)
    if not len(failures):
        return [Fragment(overlaps, share * on[:n].sum() / max(n, 1), failed=False)]
    points = [0, *(int(f) + _SKIP for f in failures if f + _SKIP <= n)]
    filled = np.nan_to_num(overlaps, nan=0.0)
    found = []
    for p, q in pairwise(points):
        found.append(Fragment(filled[p : q + 1], share * on[p : q + 1].sum() / (q - p + 1), failed=True))
    p = points[-1]
    found.append(Fragment(filled[p:], share * on[p:n].sum() / (frames - p + 1e-16), failed=False))
    return found


def _table(fragments: Sequence[Fragment], length: int) -> tuple[FloatArray, FloatArray]:
    """Return fragments as rows (F, length), 0 after a failure, nan after the run's end, and the weights."""
    rows = np.full((len(fragments), length), np.nan)
    for row, fragment in zip(rows, fragments, strict=True):
        if fragment.failed:
            row[:] = 0.0
        row[: len(fragment.overlaps)] = fragment.overlaps
    return rows, np.array([f.weight for f in fragments])


def _averaged(rows: FloatArray, weights: FloatArray) -> FloatArray:
    """Return c[i], the weighted mean over the fragments that reach i of their mean of frames 1 .. i."""
    curve = np.zeros(rows.shape[1])
    if rows.shape[1] < 2:
        return curve
    means = np.cumsum(rows[:, 1:], axis=1) / np.arange(1, rows.shape[1])
    reached = ~np.isnan(rows[:, 1:])
    total = np.where(reached, means * weights[:, None], 0.0).sum(axis=0)
    weight = (reached * weights[:, None]).sum(axis=0)
    with np.errstate(all="ignore"):
        curve[1:] = total / weight
    curve[1:][~reached.any(axis=0)] = 0.0
    return curve


def pysot_eao_curve(fragments: Sequence[Fragment], length: int) -> FloatArray:
    """Return PySOT's expected overlap (length,) for 1 .. `length` frames; c[0] is 1 by definition."""
    curve = _averaged(*_table(fragments, length))
    curve[:1] = 1.0
    return curve.astype(np.float32).astype(np.float64)  # PySOT stores the curve in single precision


def eao_score(curve: FloatArray, low: int, high: int) -> float:
    """Return the mean of curve[low .. high] (inclusive, as far as it reaches), nan values left out."""
    part = curve[low : high + 1]
    part = part[~np.isnan(part)]
    return float(part.mean()) if len(part) else float("nan")


def toolkit_run_overlaps(truth: Truth, run: Predictions) -> FloatArray:
    """Return the (N,) overlaps of vot-toolkit; raises `LengthError` for a wrong number of rows."""
    if len(run) != len(truth):
        raise LengthError(f"{truth.name}: {len(run)} rows for {len(truth)} frames; there must be one row a frame")
    return toolkit_overlaps(run.regions, truth.regions, truth.size)


def toolkit_accuracy(overlaps: FloatArray, run: Predictions) -> float:
    """Return vot-toolkit's accuracy of one run: the mean overlap less burn-in, failures and unknown frames.

    A row of nan is an unknown frame to the toolkit. Without a frame to average the accuracy is 0.
    """
    unknown = run.is_code(_UNKNOWN) | np.isnan(run.regions[:, :4]).any(axis=1)
    kept = ~(burnt_in(run) | unknown | run.is_code(_FAILURE))
    return float(overlaps[kept].mean()) if kept.any() else 0.0


def toolkit_fragments(overlaps: FloatArray, run: Predictions) -> list[Fragment]:
    """Cut one run's overlaps into vot-toolkit's fragments, from each start to before its failure."""
    failures, starts = np.flatnonzero(run.is_code(_FAILURE)), np.flatnonzero(run.is_code(_START))
    if not len(failures):
        return [Fragment(overlaps, 1.0, failed=False)]
    found = [Fragment(overlaps[p:q], 1.0, failed=True) for p, q in zip(starts, failures, strict=False)]
    if len(starts) > len(failures):
        found.append(Fragment(overlaps[starts[-1] :], 1.0, failed=False))
    return found


def toolkit_eao_curve(fragments: Sequence[Fragment]) -> FloatArray:
    """Return vot-toolkit's expected overlap for 0 .. L frames, where L is the longest fragment."""
    length = max((len(f.overlaps) for f in fragments), default=0)
    return _averaged(*_table(fragments, length))


def ar_robustness(failures: float, frames: float, sensitivity: float = 30.0) -> float:
    """Return the AR plot's robustness, the chance to track `sensitivity` frames without a failure."""
    return float(np.exp(-sensitivity * failures / frames)) if frames else float("nan")
