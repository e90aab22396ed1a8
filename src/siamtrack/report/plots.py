"""The plots of a comparison: those that its scores hold the numbers for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
        title: its heading.
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
    return [
        *_one_pass(comparison, styles),
        *_expected_overlap(comparison, styles),
        *_long_term(comparison, styles),
        *_accuracy_robustness(comparison, styles),
        *_speed(comparison, styles),
        *_attributes(comparison, styles),
        *_one_pass_by_attribute(comparison, styles),
    ]


def _having(comparison: Comparison, metric: str, *curves: str) -> Ranked:
    """Return the trackers in order of a metric, without those that lack it or one of the curves."""
    return [
        (tracker, value)
        for tracker, value in comparison.ranked(metric)
        if not math.isnan(value) and all(len(tracker.scores.curves.get(c, ())) for c in curves)
    ]


def _in_words(found: Ranked, what: str) -> str:
    return f"{what}, best first: " + "; ".join(f"{t.tracker} {number(v)}" for t, v in found) + "."


@dataclass(frozen=True)
class _Curve:
    """A curve of one-pass evaluation, and the metric that its plot ranks trackers by."""

    name: str
    metric: str
    title: str
    axis: Axis


def _one_pass_curves(comparison: Comparison) -> list[_Curve]:
    names = comparison.metrics
    if "F" in names:  # precision of long-term evaluation is something else
        return []
    mark = None if comparison.rules == "trackingnet" else (20, "20 px")
    rows = [
        ("success", "Success", ("success_auc", "AO", "success"), Axis("Overlap threshold", "Success rate")),
        (
            "precision",
            "Precision",
            ("precision@20", "precision"),
            Axis("Centre error threshold (px)", "Precision", 0, 50, mark=mark),
        ),
        (
            "norm_precision",
            "Normalised precision",
            ("norm_precision@0.20", "norm_precision"),
            Axis("Centre error over target size", "Normalised precision", 0, 0.5),
        ),
    ]
    return [
        _Curve(curve, next(m for m in metrics if m in names), title, axis)
        for curve, title, metrics, axis in rows
        if not set(names).isdisjoint(metrics)
    ]


def _one_pass(comparison: Comparison, styles: Styles) -> list[Plot]:
    return [
        Plot(
            f"{comparison.key}-{curve.name}",
            f"{curve.title} plot",
            f"Ranked by {label(curve.metric)}, in brackets. One-pass evaluation, {comparison.rules} rules.",
            _in_words(order, label(curve.metric)),
            partial(drawing.draw_curves, order, curve.name, curve.axis, styles),
        )
        for curve in _one_pass_curves(comparison)
        if (order := _having(comparison, curve.metric, curve.name))
    ]


def _one_pass_by_attribute(comparison: Comparison, styles: Styles) -> list[Plot]:
    found = []
    for curve in _one_pass_curves(comparison):
        held = {
            t.tracker: [a for a, by in t.scores.attribute_curves.items() if curve.name in by]
            for t in comparison.trackers
        }
        trackers = [t for t, _ in comparison.ranked(curve.metric) if held[t.tracker]]
        shown = [a for a in comparison.attributes if any(a in held[t.tracker] for t in trackers)]
        if shown:
            found.append(
                Plot(
                    f"{comparison.key}-{curve.name}-by-attribute",
                    f"{curve.title} by attribute",
                    f"One-pass evaluation of the sequences with each attribute, {comparison.rules} rules.",
                    f"Curves for {len(shown)} attributes; the numbers are in the table of attributes.",
                    partial(drawing.draw_by_attribute, trackers, curve.name, shown, curve.axis, styles),
                )
            )
    return found


def _expected_overlap(comparison: Comparison, styles: Styles) -> list[Plot]:
    order = _having(comparison, "EAO", "eao")
    if not order:
        return []
    interval = SUITES[comparison.suite].stack.interval if comparison.suite in SUITES else None
    # PySOT's curve begins with sequences of one frame, vot-toolkit's with none
    first = 1.0 if comparison.rules == "vot-pysot" else 0.0
    shade = None if interval is None else (float(interval[0]), float(interval[1]), "EAO interval")
    mean = "" if interval is None else f" EAO is its mean from {interval[0]} to {interval[1]} frames."
    axis = Axis("Sequence length (frames)", "Expected overlap", first, None, shade=shade)
    return [
        Plot(
            f"{comparison.key}-eao-curve",
            "Expected average overlap curve",
            f"Expected overlap of a sequence by its length, {comparison.rules} rules.{mean}",
            _in_words(order, "EAO"),
            partial(drawing.draw_curves, order, "eao", axis, styles),
        ),
        Plot(
            f"{comparison.key}-eao-rank",
            "Expected average overlap ranking",
            "EAO over rank, the best tracker on the right.",
            _in_words(order, "EAO"),
            partial(drawing.draw_ranking, order, "EAO", styles),
        ),
    ]


def _long_term(comparison: Comparison, styles: Styles) -> list[Plot]:
    order = _having(comparison, "F", "precision", "recall", "F")
    if not order:
        return []
    return [
        Plot(
            f"{comparison.key}-precision-recall",
            "Precision and recall",
            "Each point of a curve is a confidence threshold; the marker is where F is largest. "
            "Thin lines join equal F.",
            _in_words(order, "F"),
            partial(drawing.draw_precision_recall, order, styles),
        ),
        Plot(
            f"{comparison.key}-longterm",
            "Precision, recall and F over the threshold",
            "From the highest confidence threshold to the lowest, by rank. Thick: F; thin and rising: recall; "
            "thin and falling: precision.",
            _in_words(order, "F"),
            partial(drawing.draw_longterm, order, styles),
        ),
    ]


def _accuracy_robustness(comparison: Comparison, styles: Styles) -> list[Plot]:
    names = comparison.metrics
    x = "AR_plot_robustness" if "AR_plot_robustness" in names else "robustness"
    order = [(t, v) for t, v in _having(comparison, "accuracy") if not math.isnan(t.metric(x))]
    if not order:
        return []
    less = x == "robustness" and is_loss(x, comparison.rules, names)
    axis = "Robustness: failures per 100 frames (less is better)" if less else "Robustness (more is better)"
    return [
        Plot(
            f"{comparison.key}-ar",
            "Accuracy and robustness",
            "In brackets accuracy and robustness. Better trackers are further up and further right.",
            _in_words(order, "Accuracy"),
            partial(drawing.draw_accuracy_robustness, order, x, axis, styles, less_is_better=less),
        )
    ]


def _speed(comparison: Comparison, styles: Styles) -> list[Plot]:
    name = label(comparison.headline)
    order = [(t, v) for t, v in _having(comparison, comparison.headline) if t.fps() > 0]
    if not order:
        return []
    return [
        Plot(
            f"{comparison.key}-speed",
            f"{name} over speed",
            "Frames a second from frame in memory to box, as measured on the machines named below.",
            _in_words(order, name),
            partial(drawing.draw_speed, order, name, styles),
        )
    ]


def _attributes(comparison: Comparison, styles: Styles) -> list[Plot]:
    attributes, lead = comparison.attributes, comparison.headline
    if not attributes:
        return []
    available = comparison.attribute_metrics
    wanted = [lead, "precision@20", "norm_precision@0.20", "SR0.5", "accuracy", "lost_number"]
    shown = [m for m in dict.fromkeys(wanted) if m in available][:3] or available[:1]
    found = []
    for metric in shown:
        values = {
            t.tracker: {a: by[metric] for a, by in t.scores.attributes.items() if metric in by}
            for t, _ in comparison.ranked(lead)
        }
        values = {tracker: by for tracker, by in values.items() if by}
        words = f"{label(metric)} of the {len(attributes)} attributes; the numbers are in the table of attributes."
        loss = is_loss(metric, comparison.rules)
        if metric == shown[0] and len(attributes) >= 3 and not loss:
            caption = f"{label(metric)}; the number at a spoke is the best tracker's."
            draw = partial(drawing.draw_radar, values, attributes, styles)
            found.append(Plot(f"{comparison.key}-radar", "Attributes at a glance", caption, words, draw))
        found.append(
            Plot(
                f"{comparison.key}-attributes-{slug(metric)}",
                f"Attributes: {label(metric)}",
                f"Attributes sorted by the trackers' mean; {'less' if loss else 'more'} is better.",
                words,
                partial(drawing.draw_attributes, values, attributes, label(metric), styles),
            )
        )
    return found


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
