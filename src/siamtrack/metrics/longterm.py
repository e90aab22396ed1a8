"""VOT's runs that are never corrected: long-term precision, recall and F over confidence, unsupervised accuracy.

There are two long-term scorers: PySOT's F1Benchmark and vot-toolkit. An overlap is 0 where run or truth has no region;
a confidence is higher where the tracker is surer that the target is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import pysot_overlaps, toolkit_overlaps
from siamtrack.geometry.regions import FloatArray, IntArray
from siamtrack.metrics.scores import Results, Scores, Truths, each_sequence
from siamtrack.metrics.vot import VotStack, toolkit_run_overlaps

_RANKS = 98  # thresholds between the infinite ones


@dataclass(frozen=True)
class LongTermCurves:
    """Precision and recall (T,) of each sequence at the data set's confidence thresholds (T,)."""

    thresholds: FloatArray
    precision: Mapping[str, FloatArray]
    recall: Mapping[str, FloatArray]

    def curves(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return precision and recall (T,) averaged over sequences, and the F of these averages."""
        p = np.mean(list(self.precision.values()), axis=0)
        r = np.mean(list(self.recall.values()), axis=0)
        return p, r, f_score(p, r)


def f_score(precision: FloatArray, recall: FloatArray) -> FloatArray:
    """Return the harmonic mean of precision and recall, 0 where both are 0."""
    total = precision + recall
    return 2 * precision * recall / np.where(total > 0, total, 1.0)


def toolkit_thresholds(confidences: FloatArray) -> FloatArray:
    """Return vot-toolkit's thresholds, falling: +inf, values at equal ranks of all confidences, -inf."""
    known = np.sort(confidences[~np.isnan(confidences)])[::-1]
    if len(known) > _RANKS:
        step = len(known) // _RANKS
        known = known[np.round(np.linspace(step, len(known) - step, _RANKS)).astype(np.int64)]
    return np.concatenate([[np.inf], known, [-np.inf]])


def pysot_thresholds(confidences: FloatArray) -> FloatArray:
    """Return PySOT's thresholds, falling: +inf, values at equal ranks of all confidences, -inf."""
    known = np.sort(confidences[~np.isnan(confidences)])
    if not len(known):
        return np.array([np.inf, -np.inf])
    step = np.floor(len(known) / _RANKS)
    ranks: IntArray = np.floor(np.linspace(step - 1, len(known) - step, _RANKS) + 0.5).astype(np.int64)
    # with fewer confidences than thresholds PySOT's ranks leave the array
    ranks = np.clip(ranks, 0, len(known) - 1)
    return np.concatenate([[-np.inf], known[ranks], [np.inf]])[::-1]


def precision_recall(
    overlaps: FloatArray, confidences: FloatArray, thresholds: FloatArray, visible: int, *, above_zero: bool
) -> tuple[FloatArray, FloatArray]:
    """Return precision and recall (T,) of one sequence with `visible` frames of truth.

    Precision is the mean overlap where the confidence is at least the threshold (1 if nowhere), recall the sum of
    those overlaps over `visible`. `above_zero` is PySOT's rule for -inf: only confidences above 0 count.
    """
    order = np.argsort(-confidences, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(overlaps[order])])
    falling = -confidences[order]
    counts = np.searchsorted(falling, -thresholds, side="right")
    if above_zero:
        counts[np.isneginf(thresholds)] = np.count_nonzero(confidences > 0)
    precision = np.where(counts > 0, sums[counts] / np.maximum(counts, 1), 1.0)
    return precision, sums[counts] / max(visible, 1)


def longterm_scores(truths: Mapping[str, Truth], runs: Mapping[str, Predictions], *, toolkit: bool) -> LongTermCurves:
    """Score the runs of a long-term data set by vot-toolkit's rules or by PySOT's.

    Raises `DataError` if a run has no confidences or the wrong number of rows.
    """
    overlaps, confidences = {}, {}
    for name, truth in truths.items():
        run = runs[name]
        if run.confidence is None:
            raise DataError(f"{name}: no confidences; expected {name}_confidence.value beside the result")
        if len(run) != len(truth) or len(run.confidence) != len(run):
            raise DataError(f"{name}: {len(run)} rows for {len(truth)} frames; there must be one row a frame")
        rule = toolkit_overlaps if toolkit else pysot_overlaps
        overlaps[name] = np.nan_to_num(rule(run.regions, truth.regions, truth.size), nan=0.0)
        confidences[name] = run.confidence
    every = np.concatenate(list(confidences.values()))
    # vot-toolkit gives the first frame, which has no confidence, a confidence of 0
    thresholds = toolkit_thresholds(np.nan_to_num(every, nan=0.0)) if toolkit else pysot_thresholds(every)
    precision, recall = {}, {}
    for name, truth in truths.items():
        visible = int((~np.isnan(truth.regions[:, 0])).sum())
        confidence = np.nan_to_num(confidences[name], nan=0.0)
        precision[name], recall[name] = precision_recall(
            overlaps[name], confidence, thresholds, visible, above_zero=not toolkit
        )
    return LongTermCurves(thresholds, precision, recall)


def longterm_scorer(truths: Truths, results: Results, *, toolkit: bool) -> Scores:
    """Score a long-term benchmark: precision, recall and F at the threshold where F is largest."""
    runs: Mapping[str, Predictions] = {seq: results[seq][0] for seq in truths}
    scored = longterm_scores(truths, runs, toolkit=toolkit)
    precision, recall, f = scored.curves()

    def numbers(p: FloatArray, r: FloatArray, f: FloatArray) -> dict[str, float]:
        best = np.argmax(f)
        return {"precision": float(p[best]), "recall": float(r[best]), "F": float(f[best])}

    metrics = numbers(precision, recall, f) | {"threshold": float(scored.thresholds[np.argmax(f)])}
    sequences = {}
    for seq in truths:
        p, r = scored.precision[seq], scored.recall[seq]
        sequences[seq] = numbers(p, r, f_score(p, r))
    plots = {"precision": precision, "recall": recall, "F": f, "thresholds": scored.thresholds}
    return Scores(metrics, sequences, {}, plots)


def unsupervised_scorer(truths: Truths, results: Results, stack: VotStack) -> Scores:
    """Score VOT's unsupervised experiment as vot-toolkit's `average_accuracy`: mean overlaps weighted by length.

    The first `stack.burn_in` frames of each sequence are left out.
    """

    def accuracy(name: str) -> float:
        overlaps = toolkit_run_overlaps(truths[name], results[name][0])[stack.burn_in :]
        return float(overlaps.mean()) if len(overlaps) else 0.0

    found = each_sequence(truths, accuracy)
    lengths = np.array([len(truth) for truth in truths.values()], dtype=np.float64)
    mean = float(np.average(np.array(list(found.values())), weights=lengths))
    return Scores({"accuracy": mean}, {name: {"accuracy": value} for name, value in found.items()})
