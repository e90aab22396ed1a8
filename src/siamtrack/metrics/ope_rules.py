"""The rules of one-pass evaluation: each scores a whole data set from the measures of its sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from siamtrack.evaluation.benchmarks import Benchmark
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.regions import FloatArray
from siamtrack.metrics.ope import Curves, LengthError
from siamtrack.metrics.scores import Scores
from siamtrack.metrics.servers import (
    got10k_curve,
    got10k_overlaps,
    got10k_summary,
    trackingnet_curves,
    trackingnet_means,
    trackingnet_summary,
)

__all__ = ["Results", "Truths", "curves_rule", "each_sequence", "got10k_rule", "trackingnet_rule"]

T = TypeVar("T")
Truths = Mapping[str, Truth]
Results = Mapping[str, Sequence[Predictions]]


def each_sequence(truths: Truths, measure: Callable[[str], T]) -> dict[str, T]:
    """Return measure(name) of every sequence; raises one `LengthError` for all that fail."""
    found: dict[str, T] = {}
    wrong: list[str] = []
    for name in truths:
        try:
            found[name] = measure(name)
        except LengthError as error:
            wrong.append(str(error))
    if wrong:
        shown = "; ".join(wrong[:8]) + ("; .." if len(wrong) > 8 else "")
        raise LengthError(f"{shown} (repair the results, or leave the sequences out: --leave-out)")
    return found


def _mean(rows: Sequence[FloatArray], drop_zero: bool) -> FloatArray:
    table = np.array(rows)
    if drop_zero:
        kept = table[table.sum(axis=1) > np.finfo(np.float64).eps]
        table = kept if len(kept) else table
    return np.asarray(table.mean(axis=0))


def _average(curves: Sequence[Curves], drop_zero: bool) -> Curves:
    norm = [c.norm_precision for c in curves if c.norm_precision is not None]
    return Curves(
        _mean([c.success for c in curves], drop_zero),
        _mean([c.precision for c in curves], drop_zero),
        _mean(norm, drop_zero) if norm else None,
    )


def by_attribute(truths: Truths, score: Callable[[Sequence[str]], T]) -> dict[str, T]:
    """Return score(names) for the sequences that have each attribute on any frame."""
    having: dict[str, list[str]] = {}
    for name, truth in truths.items():
        for tag, mask in truth.tags.items():
            if mask.any():
                having.setdefault(tag, []).append(name)
    return {tag: score(names) for tag, names in sorted(having.items())}


def curves_rule(
    measure: Callable[[Truth, Predictions], Curves], *, drop_zero: bool = False
) -> Callable[[Truths, Results, Benchmark, str], Scores]:
    """Return the rule that averages one measure's curves over sequences.

    With `drop_zero` a curve of zeros is left out of its average, as LaSOT's published evaluation does.
    """

    def score(truths: Truths, results: Results, benchmark: Benchmark, name: str) -> Scores:
        """Score the first run of each sequence; raises `LengthError` that names all which the measure refuses."""
        curves = each_sequence(truths, lambda seq: measure(truths[seq], results[seq][0]))
        mean = _average(list(curves.values()), drop_zero)
        by_tag = by_attribute(truths, lambda names: _average([curves[n] for n in names], drop_zero))
        return Scores(
            benchmark.name,
            name,
            mean.metrics(),
            {seq: c.metrics() for seq, c in curves.items()},
            {tag: c.metrics() for tag, c in by_tag.items()},
            mean.by_name(),
            attribute_curves={tag: c.by_name() for tag, c in by_tag.items()},
        )

    return score


def got10k_rule(truths: Truths, results: Results, benchmark: Benchmark, name: str) -> Scores:
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
        benchmark.name,
        name,
        metrics,
        sequences,
        {tag: got10k_summary(found) for tag, found in by_tag.items()},
        {"success": got10k_curve(pooled)},
        attribute_curves={tag: {"success": got10k_curve(found)} for tag, found in by_tag.items()},
    )


def trackingnet_rule(truths: Truths, results: Results, benchmark: Benchmark, name: str) -> Scores:
    """Score by TrackingNet's devkit, in per cent; a sequence without a result scores boxes of zeros.

    The devkit looks for the results whose file name ends with the sequence's and takes none where several do,
    so that a Car1 beside a BlurCar1 is lost; TrackingNet's own names never clash.
    """
    files = list(results)
    found = {seq: results[seq][0] for seq in results if sum(name.endswith(seq) for name in files) == 1}
    curves = {seq: trackingnet_curves(truth, found.get(seq)) for seq, truth in truths.items()}
    every = list(curves.values())
    by_tag = by_attribute(truths, lambda names: [curves[n] for n in names])
    return Scores(
        benchmark.name,
        name,
        trackingnet_summary(every),
        {seq: trackingnet_summary([c]) for seq, c in curves.items()},
        {tag: trackingnet_summary(found) for tag, found in by_tag.items()},
        trackingnet_means(every),
        attribute_curves={tag: trackingnet_means(found) for tag, found in by_tag.items()},
    )
