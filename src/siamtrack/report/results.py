"""The numbers of a report: trackers' scores on a suite, how they rank, and how sure their differences are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from siamtrack.errors import ConfigError, did_you_mean
from siamtrack.evaluation.store import Failure, Store
from siamtrack.metrics.scores import Scores, mean_known
from siamtrack.storage import Place

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True)
class Scored:
    """One tracker's results on one suite.

    Attributes:
        tracker: its name, made unique among the trackers of a report.
        scores: the content of `scores.json`; null is nan.
        folder: of the store, or of the raw results.
        kind: the protocol's kind (see `suites.Suite`), "" without a store.
        manifest: what the results depend on; empty without a store.
        speed: frames a second, `tracker`, `network` and `end_to_end`, as far as measured.
        machine: what they were measured on, in words; "" where unknown.
    """

    tracker: str
    scores: Scores
    folder: Place
    kind: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)
    machine: str = ""
    failures: Sequence[Failure] = ()

    @property
    def store(self) -> Store | None:
        """The store, None for raw results."""
        return Store(self.folder, self.kind) if self.manifest else None

    def metric(self, name: str) -> float:
        """A metric of the data set; nan where unknown."""
        return self.scores.metrics.get(name, math.nan)

    def fps(self, which: str = "tracker") -> float:
        """Measured frames a second: `tracker`, `network` or `end_to_end`; nan where unknown."""
        return self.speed.get(which, math.nan)


_LABELS = {
    "success_auc": "Success (AUC)",
    "precision@20": "Precision at 20 px",
    "success@0.5": "Success at 0.5",
    "norm_precision@0.20": "Norm. precision at 0.20",
    "norm_precision_auc": "Norm. precision (AUC)",
    "SR0.5": "SR 0.5",
    "SR0.75": "SR 0.75",
    "succ_curve_mean": "Success curve, mean",
    "success": "Success (AUC, %)",
    "precision": "Precision",
    "recall": "Recall",
    "norm_precision": "Norm. precision",
    "AO(mean over sequences)": "AO, mean over sequences",
    "SR0.5(mean over sequences)": "SR 0.5, mean over sequences",
    "coverage": "Coverage (%)",
    "accuracy": "Accuracy",
    "robustness": "Robustness",
    "lost_number": "Lost number",
    "failures": "Failures",
    "total_failures": "Failures in all",
    "F": "F-score",
    "threshold": "Confidence threshold",
    "AR_plot_robustness": "Robustness (AR plot)",
    "robustness_failures_len_weighted": "Failures by length",
    "tag_weighted_accuracy": "Accuracy by attribute",
    "tag_weighted_robustness": "Failures by attribute",
    "n_valid": "Frames that count",
    "length": "Frames",
    "progress": "Frames tracked",
}
# The metric that a benchmark ranks by: the first of these that the scores have.
_HEADLINES = ("EAO", "F", "success_auc", "AO", "success", "accuracy", "tag_weighted_accuracy")
# The metrics of single sequences: the first row whose first metric the scores have.
_BY_SEQUENCE = (
    ("F", "precision", "recall"),
    ("success_auc", "precision@20", "norm_precision@0.20"),
    ("AO", "SR0.5", "SR0.75"),
    ("success", "precision", "norm_precision"),
    ("accuracy", "lost_number"),
)
_LOSSES = {"lost_number", "failures", "total_failures", "robustness_failures_len_weighted", "tag_weighted_robustness"}


@dataclass(frozen=True)
class Comparison:
    """Trackers on one suite by one set of rules, in order of their names."""

    suite: str
    rules: str
    trackers: Sequence[Scored]

    @property
    def key(self) -> str:
        """The prefix of its files and ids."""
        return f"{slug(self.suite)}-{slug(self.rules)}"

    @property
    def sequences(self) -> list[str]:
        """The names of the sequences that any tracker was scored on, in the order of the stores."""
        return list(dict.fromkeys(name for t in self.trackers for name in t.scores.sequences))

    @property
    def attributes(self) -> list[str]:
        """The names of all attributes."""
        return list(dict.fromkeys(name for t in self.trackers for name in t.scores.attributes))

    @property
    def headline(self) -> str:
        """The metric that trackers are ranked by: one that any tracker has a value of."""
        every = [m for t in self.trackers for m in t.scores.metrics]
        # a set of sequences shorter than the year's interval has no EAO
        known = [m for t in self.trackers for m, value in t.scores.metrics.items() if not math.isnan(value)]
        names = known or every
        return next((m for m in _HEADLINES if m in names), names[0] if names else "")

    @property
    def metrics(self) -> list[str]:
        """The data set's metrics that any tracker has, the headline first."""
        return list(dict.fromkeys([self.headline, *(m for t in self.trackers for m in t.scores.metrics)]))

    @property
    def sequence_metrics(self) -> list[str]:
        """The metrics of single sequences, the most important first."""
        names = {m for t in self.trackers for values in t.scores.sequences.values() for m in values}
        row = next((wanted for wanted in _BY_SEQUENCE if wanted[0] in names), tuple(sorted(names)[:2]))
        found = [m for m in row if m in names]
        # without failures to count, as with multi-starts, robustness is the second half of accuracy
        return [*found, "robustness"] if found == ["accuracy"] and "robustness" in names else found

    @property
    def attribute_metrics(self) -> list[str]:
        """The metrics that any attribute has, the headline first."""
        names = dict.fromkeys(m for t in self.trackers for values in t.scores.attributes.values() for m in values)
        return sorted(names, key=lambda m: m != self.headline)

    def ranked(self, metric: str) -> list[tuple[Scored, float]]:
        """Return the trackers with their value of a metric of the data set, the best first, nan last."""
        sign = 1 if is_loss(metric, self.rules, self.metrics) else -1
        values = [(tracker, tracker.metric(metric)) for tracker in self.trackers]
        return sorted(values, key=lambda v: (math.isnan(v[1]), sign * v[1]))

    def find_sequences(self, wanted: str) -> list[str]:
        """Return the sequences to show: "all", names between commas, or a number of those that differ most.

        These are where the trackers' values of the first sequence metric lie furthest apart; of one tracker its worst.

        Raises:
            ConfigError: a name that the results do not have, or a number below 0.
        """
        if wanted == "all":
            return self.sequences
        if re.fullmatch(r"-?[0-9]{1,15}", wanted):
            if int(wanted) < 0:
                raise ConfigError(f"--clips expects 'all', names or a number from 0; got {wanted}")
            metric = self.sequence_metrics[0]

            def spread(sequence: str) -> float:
                values = [t.scores.sequences.get(sequence, {}).get(metric, math.nan) for t in self.trackers]
                known = [v for v in values if not math.isnan(v)]
                if not known:
                    return -math.inf
                return max(known) - min(known) if len(known) > 1 else -known[0]

            return sorted(self.sequences, key=lambda name: -spread(name))[: int(wanted)]
        chosen = [name.strip() for name in wanted.split(",") if name.strip()]
        for name in chosen:
            if name not in self.sequences:
                hint = did_you_mean(name, self.sequences)
                raise ConfigError(f"--clips: {self.suite} has no sequence '{name}'{hint}")
        return chosen


def compare(found: Iterable[Scored]) -> list[Comparison]:
    """Group trackers by suite and rules: scores by different rules do not compare."""
    groups: dict[tuple[str, str], list[Scored]] = {}
    for tracker in found:
        groups.setdefault((tracker.scores.suite, tracker.scores.rules), []).append(tracker)
    return [Comparison(*key, sorted(members, key=lambda t: t.tracker)) for key, members in sorted(groups.items())]


@dataclass(frozen=True)
class Interval:
    """The mean difference over a number of sequences, and the interval [low, high] about it."""

    mean: float
    low: float
    high: float
    sequences: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero; one sequence says nothing about the next."""
        return self.sequences > 1 and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Difference:
    """The interval of tracker `first` less tracker `second`."""

    first: str
    second: str
    interval: Interval


def find_differences(comparison: Comparison) -> list[Difference]:
    """Return the trackers' differences in the first metric of `sequence_metrics`, the better tracker first.

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
        means = {name: mean_known(np.array(list(by.values()))) for name, by in values.items()}
        names.sort(key=lambda name: -np.nan_to_num(means[name], nan=-np.inf))
    pairs = list(combinations(names, 2))
    if len(names) > 6:
        pairs = pairs[: len(names) - 1]
    found = [Difference(a, b, paired_bootstrap(values[a], values[b])) for a, b in pairs]
    return [difference for difference in found if difference.interval.sequences > 1]


def paired_bootstrap(
    ours: Mapping[str, float], theirs: Mapping[str, float], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Return the mean of `ours` - `theirs` over their common sequences with its 95 % percentile interval.

    Sequences are drawn with replacement, both trackers' scores of a sequence together, so that what makes a
    sequence hard for both cancels (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
    Values that are not finite are left out with their partner. Without a common sequence all three numbers
    are nan; a single one gives an interval of no width, from which nothing is clear.
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
    sizes = [min(1_000, resamples - done) for done in range(0, resamples, 1_000)]
    means = np.concatenate([random.multinomial(n, np.full(n, 1 / n), size) @ differences / n for size in sizes])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    # a resampled mean of equal differences may miss their mean by a rounding error
    return Interval(mean, min(low, mean), max(high, mean), n)


def label(metric: str) -> str:
    """Return the title of a metric; an unknown one is its own."""
    return _LABELS.get(metric, metric)


def is_loss(metric: str, rules: str, beside: Iterable[str] = ()) -> bool:
    """Whether less is better. Robustness counts failures by PySOT's and vot-toolkit's reset rules.

    The latter are known by the other metrics of the same scores, `beside`.
    """
    if metric == "robustness":
        return rules == "vot-pysot" or "lost_number" in beside
    return metric in _LOSSES


def number(value: float) -> str:
    """Write a number with three decimals below 10, one below 1000; nan is a dash."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 10 and value == int(value):
        return f"{int(value)}"
    text = f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:.0f}"
    return text.replace("-", "−")


def slug(text: str) -> str:
    """Make a text fit for file names and ids: letters, digits, dots, minus and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "x"
