"""How sure a difference between two trackers is: a paired bootstrap over sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from siamtrack.report.results import Comparison, is_loss

__all__ = ["LEVEL", "RESAMPLES", "SEED", "Difference", "Interval", "find_differences", "paired_bootstrap"]

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0
_CHUNK = 1_000
_ALL_PAIRS = 6


@dataclass(frozen=True)
class Interval:
    """The mean difference over `sequences` sequences, and the interval [low, high] about it."""

    mean: float
    low: float
    high: float
    sequences: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Difference:
    """The interval of tracker `first` less tracker `second`."""

    first: str
    second: str
    interval: Interval


def find_differences(comparison: Comparison) -> list[Difference]:
    """Return the differences of a suite's trackers in the metric of sequences that leads, the better one first.

    All pairs of up to six trackers, else the best with each of the others.
    """
    metrics = comparison.sequence_metrics
    if not metrics:
        return []
    metric = metrics[0]
    values = {
        t.tracker: {name: by[metric] for name, by in t.scores.sequences.items() if metric in by}
        for t in comparison.trackers
    }
    names = [tracker.tracker for tracker, _ in comparison.ranked(metric)]
    if not is_loss(metric, comparison.rules, metrics):
        # metrics of single sequences may be named otherwise than the data set's
        means = {name: np.nanmean(list(by.values()) or [np.nan]) for name, by in values.items()}
        names.sort(key=lambda name: -np.nan_to_num(means[name], nan=-np.inf))
    pairs = list(combinations(names, 2))
    if len(names) > _ALL_PAIRS:
        pairs = pairs[: len(names) - 1]
    found = [Difference(a, b, paired_bootstrap(values[a], values[b])) for a, b in pairs]
    return [difference for difference in found if difference.interval.sequences]


def paired_bootstrap(
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Interval:
    """Return the mean of `ours` - `theirs` over their common sequences with its percentile interval.

    Sequences are drawn with replacement, both trackers' scores of a sequence together, so that what makes a
    sequence hard for both cancels (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
    Values that are not finite are left out with their partner. Without a common sequence all three numbers
    are nan.

    Args:
        ours: a metric by sequence.
        theirs: the same metric of the other tracker.
        resamples: how often a set of sequences is drawn.
        level: the share of the resampled means that the interval holds, in (0, 1).
        seed: of the draws; equal numbers of sequences are drawn alike.
    """
    pairs = np.array([(ours[name], theirs[name]) for name in ours if name in theirs]).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    n = len(pairs)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    differences = pairs[:, 0] - pairs[:, 1]
    mean = float(differences.mean())
    random = np.random.default_rng(seed)
    # how often each sequence is drawn says all about a resample; in parts, to bound the memory
    means = np.concatenate(
        [
            random.multinomial(n, np.full(n, 1 / n), size=min(_CHUNK, resamples - done)) @ differences / n
            for done in range(0, resamples, _CHUNK)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist()
    # a resampled mean of equal differences may miss their mean by a rounding error
    return Interval(mean, min(low, mean), max(high, mean), n)
