"""Scores of the protocols that make one-pass runs of their own kind: TRE, SRE and VOT unsupervised."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from siamtrack.errors import DataError
from siamtrack.evaluation.benchmarks import Benchmark
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import toolkit_overlaps
from siamtrack.geometry.regions import FloatArray
from siamtrack.metrics.score import score_runs
from siamtrack.metrics.scores import Scores

__all__ = ["score_passes", "score_unsupervised"]

# vot-toolkit's stacks leave the first ten frames out until 2019, the first one from 2020 on
_BURN_IN = {"reset": 10, "multistart": 1}


def score_passes(
    benchmark: Benchmark, truths: Mapping[str, Truth], runs: Mapping[str, Mapping[str, Predictions]], rules: str
) -> Scores:
    """Score TRE or SRE as OTB's genPerfMat.m: the frames of a sequence's passes are pooled.

    A pass from frame f has len(truth) - f rows; its first row counts as the truth.
    """
    long_truths: dict[str, Truth] = {}
    long_runs: dict[str, Predictions] = {}
    for name, truth in truths.items():
        firsts = [len(truth) - len(run) for run in runs[name].values()]
        pieces = [truth.regions[first:] for first in firsts]
        answers = [run.regions.copy() for run in runs[name].values()]
        for piece, answer in zip(pieces, answers, strict=True):
            answer[0] = piece[0]
        tags = {tag: np.concatenate([mask[first:] for first in firsts]) for tag, mask in truth.tags.items()}
        visible = None if truth.visible is None else np.concatenate([truth.visible[f:] for f in firsts])
        long_truths[name] = Truth(name, np.concatenate(pieces), truth.size, visible, tags)
        long_runs[name] = Predictions(np.concatenate(answers))
    return score_runs(benchmark, long_truths, long_runs, rules)


def unsupervised_overlaps(truth: Truth, run: Predictions, burn_in: int) -> FloatArray:
    """Return the overlaps of vot-toolkit's average_accuracy: all but those of the first `burn_in` frames.

    Raises:
        DataError: not one row a frame.
    """
    if len(run) != len(truth):
        raise DataError(f"{truth.name}: {len(run)} rows for {len(truth)} frames; there must be one a frame")
    return toolkit_overlaps(run.regions, truth.regions, truth.size)[burn_in:]


def score_unsupervised(benchmark: Benchmark, truths: Mapping[str, Truth], runs: Mapping[str, Predictions]) -> Scores:
    """Score VOT's unsupervised experiment as vot-toolkit's `average_accuracy`.

    The mean overlap, by sequence length.
    """
    burn_in = _BURN_IN.get(benchmark.protocol, 10)
    found: dict[str, float] = {}
    for name, truth in truths.items():
        overlaps = unsupervised_overlaps(truth, runs[name], burn_in)
        found[name] = float(overlaps.mean()) if len(overlaps) else 0.0
    lengths = np.array([len(truths[name]) for name in found], dtype=np.float64)
    mean = float(np.average(np.array(list(found.values())), weights=lengths))
    sequences = {name: {"accuracy": value} for name, value in found.items()}
    return Scores(benchmark.name, "vot-toolkit", {"accuracy": mean}, sequences)
