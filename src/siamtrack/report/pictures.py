"""Which plots a group of trackers gets: those that its scores hold the numbers of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence as Many
from dataclasses import dataclass
from functools import partial

from siamtrack.evaluation.suites import SUITES
from siamtrack.report.bootstrap import LEVEL, RESAMPLES
from siamtrack.report.chart import Picture, Styles
from siamtrack.report.curves import (
    Axis,
    Ranked,
    draw_by_attribute,
    draw_curves,
    draw_longterm,
    draw_precision_recall,
)
from siamtrack.report.entries import Group
from siamtrack.report.measures import headline, is_loss, known_metrics, label, number, ranked
from siamtrack.report.points import (
    Difference,
    draw_attributes,
    draw_differences,
    draw_plane,
    draw_radar,
    draw_ranking,
    draw_speed,
)

__all__ = ["difference_picture", "pictures", "slug"]

_FEWEST_SPOKES = 3


def slug(text: str) -> str:
    """Return a text as part of a file name and an id: letters, digits, dots, minus and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "x"


def pictures(group: Group, styles: Styles) -> list[Picture]:
    """Return the plots of one suite, the ones that papers show first."""
    return [
        *_one_pass(group, styles),
        *_expected_overlap(group, styles),
        *_long_term(group, styles),
        *_planes(group, styles),
        *_speed(group, styles),
        *_attributes(group, styles),
        *_one_pass_by_attribute(group, styles),
    ]


def _key(group: Group, name: str) -> str:
    return f"{slug(group.suite)}-{slug(group.rules)}-{name}"


def _having(group: Group, metric: str, *curves: str) -> Ranked:
    """Return the trackers in order of a metric, without those that lack it or one of the curves."""
    found = ranked(group, metric)
    return [(e, v) for e, v in found if not math.isnan(v) and all(len(e.scores.curves.get(c, ())) for c in curves)]


def _told(found: Ranked, what: str) -> str:
    return f"{what}, best first: " + "; ".join(f"{e.tracker} {number(v)}" for e, v in found) + "."


@dataclass(frozen=True)
class _Curve:
    """A curve of one-pass evaluation, the metric that trackers are ranked by in its plot, and how it lies there."""

    name: str
    metric: str
    title: str
    axis: Axis


def _one_pass_curves(group: Group) -> list[_Curve]:
    names = known_metrics(group)
    if "F" in names:  # precision of long-term evaluation is something else
        return []
    percent = group.rules == "trackingnet"
    rows = [
        ("success", ("success_auc", "AO", "success"), "Success", Axis("Overlap threshold", "Success rate")),
        (
            "precision",
            ("precision@20", "precision"),
            "Precision",
            Axis("Centre error threshold (px)", "Precision", 0, 50, mark=None if percent else (20, "20 px")),
        ),
        (
            "norm_precision",
            ("norm_precision@0.20", "norm_precision"),
            "Normalised precision",
            Axis("Centre error over target size", "Normalised precision", 0, 0.5),
        ),
    ]
    return [
        _Curve(curve, next(m for m in metrics if m in names), title, axis)
        for curve, metrics, title, axis in rows
        if not set(names).isdisjoint(metrics)
    ]


def _one_pass(group: Group, styles: Styles) -> list[Picture]:
    return [
        Picture(
            _key(group, curve.name),
            f"{curve.title} plot",
            f"Ranked by {label(curve.metric)}, in brackets. One-pass evaluation, {group.rules} rules.",
            _told(order, label(curve.metric)),
            partial(draw_curves, order, curve.name, curve.axis, styles),
        )
        for curve in _one_pass_curves(group)
        if (order := _having(group, curve.metric, curve.name))
    ]


def _one_pass_by_attribute(group: Group, styles: Styles) -> list[Picture]:
    found = []
    for curve in _one_pass_curves(group):
        held = {
            e.tracker: [a for a, by in e.scores.attribute_curves.items() if curve.name in by] for e in group.entries
        }
        trackers = [e for e, _ in ranked(group, curve.metric) if held[e.tracker]]
        shown = [a for a in group.attributes if any(a in held[e.tracker] for e in trackers)]
        if not shown:
            continue
        found.append(
            Picture(
                _key(group, f"{curve.name}-by-attribute"),
                f"{curve.title} by attribute",
                f"One-pass evaluation of the sequences with each attribute, {group.rules} rules.",
                f"Curves for {len(shown)} attributes; the numbers are in the table of attributes.",
                partial(draw_by_attribute, trackers, curve.name, shown, curve.axis, styles),
            )
        )
    return found


def _expected_overlap(group: Group, styles: Styles) -> list[Picture]:
    order = _having(group, "EAO", "eao")
    if not order:
        return []
    interval = SUITES[group.suite].stack.interval if group.suite in SUITES else None
    # PySOT's curve begins with sequences of one frame, vot-toolkit's with none
    first = 1.0 if group.rules == "vot-pysot" else 0.0
    shade = None if interval is None else (float(interval[0]), float(interval[1]), "EAO interval")
    told = "" if interval is None else f" EAO is its mean from {interval[0]} to {interval[1]} frames."
    axis = Axis("Sequence length (frames)", "Expected overlap", first, None, shade=shade)
    return [
        Picture(
            _key(group, "eao-curve"),
            "Expected average overlap curve",
            f"Expected overlap of a sequence by its length, {group.rules} rules.{told}",
            _told(order, "EAO"),
            partial(draw_curves, order, "eao", axis, styles),
        ),
        Picture(
            _key(group, "eao-rank"),
            "Expected average overlap ranking",
            "EAO over rank, the best tracker on the right.",
            _told(order, "EAO"),
            partial(draw_ranking, order, "EAO", styles),
        ),
    ]


def _long_term(group: Group, styles: Styles) -> list[Picture]:
    order = _having(group, "F", "precision", "recall", "F")
    if not order:
        return []
    return [
        Picture(
            _key(group, "precision-recall"),
            "Precision and recall",
            "Each point of a curve is a confidence threshold; the marker is where F is largest. "
            "Thin lines join equal F.",
            _told(order, "F"),
            partial(draw_precision_recall, order, styles),
        ),
        Picture(
            _key(group, "longterm"),
            "Precision, recall and F over the threshold",
            "From the highest confidence threshold to the lowest, by rank. Thick: F; thin and rising: recall; "
            "thin and falling: precision.",
            _told(order, "F"),
            partial(draw_longterm, order, styles),
        ),
    ]


def _planes(group: Group, styles: Styles) -> list[Picture]:
    names = known_metrics(group)
    x = "AR_plot_robustness" if "AR_plot_robustness" in names else "robustness"
    order = [(e, v) for e, v in _having(group, "accuracy") if not math.isnan(e.scores.metrics.get(x, math.nan))]
    if not order:
        return []
    less = is_loss(x, group.rules, names) and x == "robustness"
    axis = "Robustness: failures per 100 frames (less is better)" if less else "Robustness (more is better)"
    return [
        Picture(
            _key(group, "ar"),
            "Accuracy and robustness",
            "In brackets accuracy and robustness. Better trackers are further up and further right.",
            _told(order, "Accuracy"),
            partial(draw_plane, order, (x, axis), ("accuracy", "Accuracy"), styles, less_is_better=less),
        )
    ]


def _speed(group: Group, styles: Styles) -> list[Picture]:
    metric = headline(group)
    order = [(e, v) for e, v in _having(group, metric) if e.fps() > 0]
    if not order:
        return []
    return [
        Picture(
            _key(group, "speed"),
            f"{label(metric)} over speed",
            "Frames a second from frame in memory to box, as measured on the machines named below.",
            _told(order, label(metric)),
            partial(draw_speed, order, label(metric), styles),
        )
    ]


def _attributes(group: Group, styles: Styles) -> list[Picture]:
    attributes = group.attributes
    if not attributes:
        return []
    available = list(dict.fromkeys(m for e in group.entries for values in e.scores.attributes.values() for m in values))
    lead = headline(group)
    wanted = [lead, "precision@20", "norm_precision@0.20", "SR0.5", "accuracy", "lost_number"]
    shown = [m for m in dict.fromkeys(wanted) if m in available][:3] or available[:1]
    found = []
    for metric in shown:
        values = {
            e.tracker: {a: m[metric] for a, m in e.scores.attributes.items() if metric in m}
            for e, _ in ranked(group, lead)
        }
        values = {tracker: by for tracker, by in values.items() if by}
        told = f"{label(metric)} of the {len(attributes)} attributes; the numbers are in the table of attributes."
        if metric == shown[0] and len(attributes) >= _FEWEST_SPOKES and not is_loss(metric, group.rules):
            caption = f"{label(metric)}; the number at a spoke is the best tracker's."
            draw = partial(draw_radar, values, attributes, styles)
            found.append(Picture(_key(group, "radar"), "Attributes at a glance", caption, told, draw))
        key = _key(group, f"attributes-{slug(metric)}")
        better = "less" if is_loss(metric, group.rules) else "more"
        found.append(
            Picture(
                key,
                f"Attributes: {label(metric)}",
                f"Attributes sorted by the trackers' mean; {better} is better.",
                told,
                partial(draw_attributes, values, attributes, label(metric), styles),
            )
        )
    return found


def difference_picture(group: Group, metric: str, differences: Many[Difference]) -> Picture:
    """Return the plot of the trackers' differences in a metric."""
    clear = [f"{d.first} and {d.second}" for d in differences if d.interval.clear]
    told = f"Intervals that leave out zero: {'; '.join(clear) or 'none'}."
    return Picture(
        _key(group, "differences"),
        f"Differences in {label(metric)}",
        f"{LEVEL:.0%} paired bootstrap intervals over sequences ({RESAMPLES} resamples). A filled point: the "
        "interval leaves out zero.",
        told,
        partial(draw_differences, differences, "Mean difference"),
    )
