"""The VOT multi-start protocol (2020 and later): runs from anchors, without resets, by vot-toolkit's rules.

A run starts at an anchor and goes forward to the last frame or backward to the first. It fails where its overlap stays
at or below 0.1 for ten frames; the frames before count as progress.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import toolkit_overlaps
from siamtrack.geometry.regions import BoolArray, FloatArray, is_rectangle
from siamtrack.metrics.scores import Results, Scores, Truths
from siamtrack.metrics.vot import VotStack, eao_score

_GRACE = 10
_THRESHOLD = 0.1


def progress(overlaps: FloatArray, empty: BoolArray) -> int:
    """Return the number of frames tracked before the failure, the first of ten bad ones in a row; all without one.

    A frame is bad if its overlap is at most 0.1. `empty` (N,) is True where the truth has no region; such a frame ends
    a row of bad ones.
    """
    bad = (overlaps <= _THRESHOLD) & ~empty
    index = np.arange(len(bad))
    in_row = index - np.maximum.accumulate(np.where(bad, -1, index))
    failed = np.flatnonzero(in_row >= _GRACE)
    return int(failed[0]) + 1 - _GRACE if len(failed) else len(bad)


@dataclass(frozen=True)
class AnchoredRun:
    """One run's overlaps (N,), set to zero from its failure on, and the number of frames before it."""

    overlaps: FloatArray
    progress: int

    @property
    def failed(self) -> bool:
        """Whether the run failed before its end."""
        return self.progress < len(self.overlaps)


def anchored_overlaps(truth: Truth, runs: Sequence[Predictions]) -> list[AnchoredRun]:
    """Return the scored runs of one sequence, one for each anchor of the truth.

    Raises `DataError` if an anchor has no run or a run the wrong number of rows.
    """
    if truth.anchors is None or not truth.anchors.any():
        raise DataError(f"{truth.name}: the truth has no anchors; expected anchor.value or 'anchors' beside it")
    by_anchor = {run.anchor: run for run in runs}
    found = []
    for anchor in np.flatnonzero(truth.anchors):
        run = by_anchor.get(int(anchor))
        if run is None:
            raise DataError(f"{truth.name}: no run from anchor {anchor}; expected {truth.name}_{anchor:08d}.txt")
        regions = truth.regions[anchor:] if truth.anchors[anchor] > 0 else truth.regions[: anchor + 1][::-1]
        if len(run) != len(regions):
            raise DataError(f"{truth.name}: the run from anchor {anchor} has {len(run)} rows, not {len(regions)}")
        with np.errstate(invalid="ignore"):
            flat = is_rectangle(regions) & ((regions[:, 2] <= 0) | (regions[:, 3] <= 0))
        overlaps = toolkit_overlaps(run.regions, regions, truth.size)
        until = progress(overlaps, flat | np.isnan(regions[:, :4]).any(axis=1))
        overlaps[until:] = 0.0
        found.append(AnchoredRun(overlaps, until))
    return found


def eao_partial(runs: Sequence[AnchoredRun], length: int) -> tuple[FloatArray, FloatArray]:
    """Return the sums (length,) of the runs' mean overlaps over 1 .. j frames, and the number of runs in each sum.

    A failed run shorter than j counts with its sum divided by j - 1; a shorter run without a failure does not count.
    """
    total, active = np.zeros(length), np.zeros(length)
    for run in runs:
        sums = np.cumsum(run.overlaps[1:length])
        reached = len(sums) + 1
        total[1:reached] += sums / np.arange(1, reached)
        active[1:reached] += 1
        if run.failed and reached < length:
            total[reached:] += (sums[-1] if len(sums) else 0.0) / np.maximum(np.arange(reached, length) - 1, 1)
            active[reached:] += 1
    return total, active


def multistart_scorer(truths: Truths, results: Results, stack: VotStack) -> Scores:
    """Score a multi-start benchmark by vot-toolkit: accuracy weighted by progress, robustness by length."""
    low, high = stack.eao_interval()
    sequences: dict[str, dict[str, float]] = {}
    total, active = np.zeros(high), np.zeros(high)
    for seq, truth in truths.items():
        runs = anchored_overlaps(truth, results[seq])
        tracked = sum(r.progress for r in runs)
        possible = sum(len(r.overlaps) for r in runs)
        part, counts = eao_partial(runs, high)
        total, active = total + part, active + counts
        sequences[seq] = {
            "accuracy": float(sum(r.overlaps.sum() for r in runs)) / tracked if tracked else 0.0,
            "robustness": tracked / possible,
            "progress": float(tracked),
            "length": float(len(truth)),
        }
    curve = np.where(active > 0, total / np.maximum(active, 1), 0.0)

    def weighted(key: str, weight: str) -> float:
        by = sum(m[weight] for m in sequences.values())
        return sum(m[key] * m[weight] for m in sequences.values()) / by if by else 0.0

    metrics = {
        "accuracy": weighted("accuracy", "progress"),
        "robustness": weighted("robustness", "length"),
        "EAO": eao_score(curve, low, high),
    }
    return Scores(metrics, sequences, {}, {"eao": curve})
