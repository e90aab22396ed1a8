"""What the metrics are called, which of them lead, how they are written, and which is better."""

from __future__ import annotations

import math
from collections.abc import Iterable

from siamtrack.report.entries import Entry, Group

__all__ = ["headline", "is_loss", "known_metrics", "label", "leading", "number", "ranked", "sequence_metrics", "short"]

_LABELS = {
    "success_auc": "Success (AUC)",
    "precision@20": "Precision at 20 px",
    "success@0.5": "Success at 0.5",
    "norm_precision@0.20": "Norm. precision at 0.20",
    "norm_precision_auc": "Norm. precision (AUC)",
    "AO": "AO",
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
    "EAO": "EAO",
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
# The metric that a benchmark ranks by; the first that is there.
_HEADLINES = ("EAO", "F", "success_auc", "AO", "success", "accuracy", "tag_weighted_accuracy")
# What tells of a single sequence: the first row whose first metric is there, as far as it is there.
_BY_SEQUENCE = (
    ("F", "precision", "recall"),
    ("success_auc", "precision@20", "norm_precision@0.20"),
    ("AO", "SR0.5", "SR0.75"),
    ("success", "precision", "norm_precision"),
    ("accuracy", "lost_number"),
)
_LOSSES = frozenset(
    {
        "lost_number",
        "failures",
        "total_failures",
        "robustness_failures_len_weighted",
        "tag_weighted_robustness",
    }
)
_NEITHER = frozenset({"threshold", "n_valid", "length"})


def label(metric: str) -> str:
    """Return a metric's name for people; one that is not known stays as it is."""
    return _LABELS.get(metric, metric)


def is_loss(metric: str, rules: str, kind_metrics: Iterable[str] = ()) -> bool:
    """Whether less is better. Robustness counts failures by PySOT's and vot-toolkit's reset rules."""
    if metric == "robustness":
        return rules == "vot-pysot" or "lost_number" in kind_metrics
    return metric in _LOSSES


def leading(metric: str) -> bool:
    """Whether a metric says who is better at all."""
    return metric not in _NEITHER


def known_metrics(group: Group) -> list[str]:
    """Return the data set's metrics that any tracker has, the one that leads first."""
    names = list(dict.fromkeys(m for e in group.entries for m in e.scores.metrics))
    first = headline(group)
    return [first, *(name for name in names if name != first)]


def headline(group: Group) -> str:
    """Return the metric that trackers are ranked by: one that has a value at all."""
    every = [m for e in group.entries for m in e.scores.metrics]
    # a set of sequences shorter than the year's interval has no EAO
    known = {m for e in group.entries for m, v in e.scores.metrics.items() if not math.isnan(v)}
    names = [m for m in every if m in known] or every
    return next((m for m in _HEADLINES if m in names), names[0] if names else "")


def sequence_metrics(group: Group) -> list[str]:
    """Return the metrics that tell of single sequences, the one that leads first."""
    names = {m for e in group.entries for values in e.scores.sequences.values() for m in values}
    row = next((wanted for wanted in _BY_SEQUENCE if wanted[0] in names), tuple(sorted(names)[:2]))
    found = [m for m in row if m in names]
    # without failures to count, as with multi-starts, robustness is the second half of accuracy
    return [*found, "robustness"] if found == ["accuracy"] and "robustness" in names else found


def ranked(group: Group, metric: str) -> list[tuple[Entry, float]]:
    """Return the trackers with their value of a metric of the data set, the best first, nan last."""
    loss = is_loss(metric, group.rules, known_metrics(group))
    values = [(e, e.scores.metrics.get(metric, math.nan)) for e in group.entries]
    return sorted(values, key=lambda v: (math.isnan(v[1]), v[1] if loss else -v[1]))


def short(name: str, most: int = 19) -> str:
    """Shorten a name in its middle: names that people compare often differ at their ends."""
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def number(value: float) -> str:
    """Write a number for people: three decimals below 10, one below 1000, a dash where there is none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 10 and value == int(value):
        return f"{int(value)}"
    text = f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:.0f}"
    return text.replace("-", "−")
