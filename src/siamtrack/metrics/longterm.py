"""VOT's runs that are never corrected: long-term precision, recall and F over confidence, unsupervised accuracy.

Of the long-term metrics two scorers exist: PySOT's F1Benchmark and vot-toolkit. Overlaps are those of the run with the
truth, 0 where either has no region; confidences are the tracker's, higher where it is surer that the target is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import pysot_overlaps, toolkit_overlaps
from siamtrack.geometry.regions import FloatArray, IntArray
from siamtrack.metrics.scores import Results, Scores, Truths, check_length, each_sequence
from siamtrack.metrics.vot import VotStack

__all__ = [
    "LongTerm",
    "longterm_scorer",
    "longterm_scores",
    "precision_recall",
    "presence_auroc",
    "pysot_thresholds",
    "toolkit_thresholds",
    "unsupervised_scorer",
]

_RESOLUTION = 100


@dataclass(frozen=True)
class LongTerm:
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


def toolkit_thresholds(confidences: FloatArray, resolution: int = _RESOLUTION) -> FloatArray:
    """Return vot-toolkit's thresholds, falling: +inf, values at equal ranks of all confidences, -inf."""
    known = np.sort(confidences[~np.isnan(confidences)])[::-1]
    if len(known) > resolution - 2:
        step = len(known) // (resolution - 2)
        known = known[np.round(np.linspace(step, len(known) - step, resolution - 2)).astype(np.int64)]
    return np.concatenate([[np.inf], known, [-np.inf]])


def pysot_thresholds(confidences: FloatArray, resolution: int = _RESOLUTION) -> FloatArray:
    """Return PySOT's thresholds, falling: +inf, values at equal ranks of all confidences, -inf."""
    known = np.sort(confidences[~np.isnan(confidences)])
    if not len(known):
        return np.array([np.inf, -np.inf])
    step = np.floor(len(known) / (resolution - 2))
    ranks: IntArray = np.floor(np.linspace(step - 1, len(known) - step, resolution - 2) + 0.5).astype(np.int64)
    # with fewer confidences than thresholds PySOT's ranks leave the array
    ranks = np.clip(ranks, 0, len(known) - 1)
    return np.concatenate([[-np.inf], known[ranks], [np.inf]])[::-1]


def precision_recall(
    overlaps: FloatArray, confidences: FloatArray, thresholds: FloatArray, visible: int, *, above_zero: bool
) -> tuple[FloatArray, FloatArray]:
    """Return precision and recall (T,) of one sequence with `visible` frames of truth.

    Precision is the mean overlap where the confidence is at least the threshold (1 if nowhere), recall the
    sum of those overlaps over the visible frames. `above_zero` is PySOT's rule for -inf: only confidences
    above 0 count.
    """
    order = np.argsort(-confidences, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(overlaps[order])])
    falling = -confidences[order]
    counts = np.searchsorted(falling, -thresholds, side="right")
    if above_zero:
        counts[np.isneginf(thresholds)] = np.count_nonzero(confidences > 0)
    precision = np.where(counts > 0, sums[counts] / np.maximum(counts, 1), 1.0)
    return precision, sums[counts] / max(visible, 1)


def longterm_scores(truths: Mapping[str, Truth], runs: Mapping[str, Predictions], *, toolkit: bool) -> LongTerm:
    """Score the runs of a long-term data set by vot-toolkit's rules or by PySOT's.

    Raises `DataError` that names a sequence whose run has no confidences or the wrong number of rows.
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
    return LongTerm(thresholds, precision, recall)


def presence_auroc(scores: FloatArray, present: FloatArray | list[bool]) -> float:
    """Return the area under the ROC curve of presence scores, in [0, 1]; 0.5 is chance.

    `scores` (N,) are higher where the target is believed present, `present` (N,) is the truth; where only one
    class occurs the answer is nan. It is the
    probability that a present frame scores higher than an absent one, ties counted half (Mann and Whitney's
    U); frames with a score of nan are left out.
    """
    there, known = np.asarray(present, dtype=np.bool_), ~np.isnan(scores)
    positive, negative = np.sort(scores[there & known]), np.sort(scores[~there & known])
    if not len(positive) or not len(negative):
        return float("nan")
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).sum() / 2 / (len(positive) * len(negative)))


def longterm_scorer(truths: Truths, results: Results, *, toolkit: bool) -> Scores:
    """Score a long-term benchmark: precision, recall and F at the threshold where F is largest."""
    runs: Mapping[str, Predictions] = {seq: results[seq][0] for seq in truths}
    scored = longterm_scores(truths, runs, toolkit=toolkit)
    precision, recall, f = scored.curves()
    best = int(np.argmax(f))
    sequences = {}
    for seq in truths:
        own = f_score(scored.precision[seq], scored.recall[seq])
        at = int(np.argmax(own))
        sequences[seq] = {
            "precision": float(scored.precision[seq][at]),
            "recall": float(scored.recall[seq][at]),
            "F": float(own[at]),
        }
    metrics = {
        "precision": float(precision[best]),
        "recall": float(recall[best]),
        "F": float(f[best]),
        "threshold": float(scored.thresholds[best]),
    }
    plots = {"precision": precision, "recall": recall, "F": f, "thresholds": scored.thresholds}
    return Scores(metrics, sequences, {}, plots)


def unsupervised_scorer(truths: Truths, results: Results, stack: VotStack) -> Scores:
    """Score VOT's unsupervised experiment as vot-toolkit's `average_accuracy`: the mean overlap, by sequence length.

    The first `stack.burn_in` frames of each sequence are left out.
    """

    def accuracy(name: str) -> float:
        truth, run = truths[name], results[name][0]
        check_length(truth, run)
        overlaps = toolkit_overlaps(run.regions, truth.regions, truth.size)[stack.burn_in :]
        return float(overlaps.mean()) if len(overlaps) else 0.0

    found = each_sequence(truths, accuracy)
    lengths = np.array([len(truth) for truth in truths.values()], dtype=np.float64)
    mean = float(np.average(np.array(list(found.values())), weights=lengths))
    return Scores({"accuracy": mean}, {name: {"accuracy": value} for name, value in found.items()})
