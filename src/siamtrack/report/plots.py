"""The plots of a comparison: those that its scores hold the numbers for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from siamtrack.evaluation.suites import SUITES
from siamtrack.report import drawing
from siamtrack.report.drawing import Axis, Ranked, Styles
from siamtrack.report.results import LEVEL, RESAMPLES, Comparison, Difference, is_loss, label, number, slug

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A plot of a report.

    Attributes:
        key: the name of its files.
        caption: what it shows and how it was made.
        summary: the picture in words, for those who cannot see it.
        draw: makes the figure, within `drawing.drawing()`.
    """

    key: str
    title: str
    caption: str
    summary: str
    draw: Callable[[], Figure]


def find_plots(comparison: Comparison, styles: Styles) -> list[Plot]:
    """Return the plots of one suite, in the order of importance."""
    parts = (_one_pass, _expected_overlap, _long_term, _accuracy_robustness, _speed, _attributes, _by_attribute)
    return [plot for part in parts for plot in part(comparison, styles)]


def _having(comparison: Comparison, metric: str, *curves: str) -> Ranked:
    """Return the trackers in order of a metric, without those that lack it or one of the curves."""
    return [
        (tracker, value)
        for tracker, value in comparison.ranked(metric)
        if not math.isnan(value) and all(len(tracker.scores.curves.get(c, ())) for c in curves)
    ]


def _in_words(found: Ranked, what: str) -> str:
    return f"{what}, best first: " + "; ".join(f"{t.tracker} {number(v)}" for t, v in found) + "."


def _one_pass_curves(comparison: Comparison) -> Iterator[tuple[str, str, str, Axis]]:
    """Yield the curves of one-pass evaluation: name, the metric that ranks trackers, title and axes."""
    names = comparison.metrics
    if "F" in names:  # precision of long-term evaluation is something else
        return
    mark = None if comparison.rules == "trackingnet" else (20, "20 px")
    success = Axis("Overlap threshold", "Success rate")
    precision = Axis("Centre error threshold (px)", "Precision", 0, 50, mark=mark)
    norm_precision = Axis("Centre error over target size", "Normalised precision", 0, 0.5)
    for curve, title, metrics, axis in (
        ("success", "Success", ("success_auc", "AO", "success"), success),
        ("precision", "Precision", ("precision@20", "precision"), precision),
        ("norm_precision", "Normalised precision", ("norm_precision@0.20", "norm_precision"), norm_precision),
    ):
        if metric := next((m for m in metrics if m in names), None):
            yield curve, metric, title, axis


def _one_pass(comparison: Comparison, styles: Styles) -> Iterator[Plot]:
    for curve, metric, title, axis in _one_pass_curves(comparison):
        if order := _having(comparison, metric, curve):
            yield Plot(
                f"{comparison.key}-{curve}",
                f"{title} plot",
                f"Ranked by {label(metric)}, in brackets. One-pass evaluation, {comparison.rules} rules.",
                _in_words(order, label(metric)),
                partial(drawing.draw_curves, order, curve, axis, styles),
            )


def _by_attribute(comparison: Comparison, styles: Styles) -> Iterator[Plot]:
    for curve, metric, title, axis in _one_pass_curves(comparison):
        held = {
            t.tracker: [a for a, by in t.scores.attribute_curves.items() if curve in by] for t in comparison.trackers
        }
        trackers = [t for t, _ in comparison.ranked(metric) if held[t.tracker]]
        shown = [a for a in comparison.attributes if any(a in held[t.tracker] for t in trackers)]
        if shown:
            yield Plot(
                f"{comparison.key}-{curve}-by-attribute",
                f"{title} by attribute",
                f"One-pass evaluation of the sequences with each attribute, {comparison.rules} rules.",
                f"Curves for {len(shown)} attributes; the numbers are in the table of attributes.",
                partial(drawing.draw_by_attribute, trackers, curve, shown, axis, styles),
            )


def _expected_overlap(comparison: Comparison, styles: Styles) -> Iterator[Plot]:
    if not (order := _having(comparison, "EAO", "eao")):
        return
    interval = SUITES[comparison.suite].stack.interval if comparison.suite in SUITES else None
    # PySOT's curve begins with sequences of one frame, vot-toolkit's with none
    first = 1.0 if comparison.rules == "vot-pysot" else 0.0
    shade = None if interval is None else (float(interval[0]), float(interval[1]), "EAO interval")
    mean = "" if interval is None else f" EAO is its mean from {interval[0]} to {interval[1]} frames."
    axis = Axis("Sequence length (frames)", "Expected overlap", first, None, shade=shade)
    yield Plot(
        f"{comparison.key}-eao-curve",
        "Expected average overlap curve",
        f"Expected overlap of a sequence by its length, {comparison.rules} rules.{mean}",
        _in_words(order, "EAO"),
        partial(drawing.draw_curves, order, "eao", axis, styles),
    )
    yield Plot(
        f"{comparison.key}-eao-rank",
        "Expected average overlap ranking",
        "EAO over rank, the best tracker on the right.",
        _in_words(order, "EAO"),
        partial(drawing.draw_ranking, order, "EAO", styles),
    )


def _long_term(comparison: Comparison, styles: Styles) -> Iterator[Plot]:
    if not (order := _having(comparison, "F", "precision", "recall", "F")):
        return
    yield Plot(
        f"{comparison.key}-precision-recall",
        "Precision and recall",
        "Each point of a curve is a confidence threshold; the marker is where F is largest. Thin lines join equal F.",
        _in_words(order, "F"),
        partial(drawing.draw_precision_recall, order, styles),
    )
    yield Plot(
        f"{comparison.key}-longterm",
        "Precision, recall and F over the threshold",
        "From the highest confidence threshold to the lowest, by rank. Thick: F; thin and rising: recall; "
        "thin and falling: precision.",
        _in_words(order, "F"),
        partial(drawing.draw_longterm, order, styles),
    )


def _accuracy_robustness(comparison: Comparison, styles: Styles) -> Iterator[Plot]:
    names = comparison.metrics
    x = "AR_plot_robustness" if "AR_plot_robustness" in names else "robustness"
    less = x == "robustness" and is_loss(x, comparison.rules, names)
    axis = "Robustness: failures per 100 frames (less is better)" if less else "Robustness (more is better)"
    if order := [(t, v) for t, v in _having(comparison, "accuracy") if not math.isnan(t.metric(x))]:
        yield Plot(
            f"{comparison.key}-ar",
            "Accuracy and robustness",
            "In brackets accuracy and robustness. Better trackers are further up and further right.",
            _in_words(order, "Accuracy"),
            partial(drawing.draw_accuracy_robustness, order, x, axis, styles, less_is_better=less),
        )


def _speed(comparison: Comparison, styles: Styles) -> Iterator[Plot]:
    name = label(comparison.headline)
    if order := [(t, v) for t, v in _having(comparison, comparison.headline) if t.fps() > 0]:
        yield Plot(
            f"{comparison.key}-speed",
            f"{name} over speed",
            "Frames a second from frame in memory to box, as measured on the machines named below.",
            _in_words(order, name),
            partial(drawing.draw_speed, order, name, styles),
        )


def _attributes(comparison: Comparison, styles: Styles) -> Iterator[Plot]:
    attributes, lead = comparison.attributes, comparison.headline
    available = comparison.attribute_metrics
    wanted = [lead, "precision@20", "norm_precision@0.20", "SR0.5", "accuracy", "lost_number"]
    shown = [m for m in dict.fromkeys(wanted) if m in available][:3] or available[:1]
    for metric in shown:
        values = {
            t.tracker: by
            for t, _ in comparison.ranked(lead)
            if (by := {a: found[metric] for a, found in t.scores.attributes.items() if metric in found})
        }
        words = f"{label(metric)} of the {len(attributes)} attributes; the numbers are in the table of attributes."
        loss = is_loss(metric, comparison.rules)
        if metric == shown[0] and len(attributes) >= 3 and not loss:
            yield Plot(
                f"{comparison.key}-radar",
                "Attributes at a glance",
                f"{label(metric)}; the number at a spoke is the best tracker's.",
                words,
                partial(drawing.draw_radar, values, attributes, styles),
            )
        yield Plot(
            f"{comparison.key}-attributes-{slug(metric)}",
            f"Attributes: {label(metric)}",
            f"Attributes sorted by the trackers' mean; {'less' if loss else 'more'} is better.",
            words,
            partial(drawing.draw_attributes, values, attributes, label(metric), styles),
        )


def difference_plot(comparison: Comparison, differences: Sequence[Difference]) -> Plot:
    """Return the plot of the trackers' differences in the first sequence metric."""
    clear = [f"{d.first} and {d.second}" for d in differences if d.interval.clear]
    return Plot(
        f"{comparison.key}-differences",
        f"Differences in {label(comparison.sequence_metrics[0])}",
        f"{LEVEL:.0%} paired bootstrap intervals over sequences ({RESAMPLES} resamples). A filled point: the "
        "interval leaves out zero.",
        f"Intervals that leave out zero: {'; '.join(clear) or 'none'}.",
        partial(drawing.draw_differences, differences),
    )
