"""Drawing: colours that people with any colour vision tell apart, curves, and points of rank, accuracy and speed.

A figure is drawn once, in colours for white paper; `page.py` turns them into the page's own, light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from siamtrack.errors import require
from siamtrack.geometry.regions import FloatArray
from siamtrack.report.results import Difference, Scored, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, GROUND = "#1b1f24", "#59636e", "#d8dde3", "#fffffe"
# Okabe and Ito, Color Universal Design, 2008, less its yellow, which is lost on white; the last is the ink.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
DARK = ("#4a93e0", "#f2742b", "#1fb98a", "#e294c1", "#f0c040", "#a5dcff", "#eceff2")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (6, 1.4, 1.2, 1.4)), (0, (1.2, 1.3)), (0, (9, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_SETTINGS: Mapping[str, Any] = {
    "text.parse_math": False,  # a $ in a name is a $
    "svg.fonttype": "none",
    "svg.hashsalt": "siamtrack",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.handlelength": 3.2,
    "figure.facecolor": "white",
}
_DOTTED: Mapping[str, Any] = {"color": MUTED, "linewidth": 0.9, "linestyle": (0, (2, 2)), "zorder": 1}

Ranked = Sequence[tuple[Scored, float]]
"""Trackers with the metric that ranks them, the best first."""

ByAttribute = Mapping[str, Mapping[str, float]]
"""A metric by attribute, by tracker."""


class Styles:
    """How each tracker is drawn, the same in all plots of a report; the order of the names decides."""

    def __init__(self, trackers: Iterable[str]) -> None:
        self._place = {name: n for n, name in enumerate(dict.fromkeys(trackers))}

    def slot(self, tracker: str) -> int:
        """Return the index of the tracker's colour."""
        return self._place[tracker] % len(LIGHT)

    def line(self, tracker: str) -> dict[str, Any]:
        """Return colour and dashes, a different pair for each of the first 35 trackers."""
        place = self._place[tracker]
        return {"color": LIGHT[self.slot(tracker)], "linestyle": _DASHES[(place + place // 7) % len(_DASHES)]}

    def point(self, tracker: str) -> dict[str, Any]:
        """Return colour and marker of a single point."""
        return {
            "color": LIGHT[self.slot(tracker)],
            "marker": _MARKERS[self._place[tracker] % len(_MARKERS)],
            "linestyle": "none",
            "markersize": 9,
            "markeredgecolor": GROUND,
        }


def drawing() -> AbstractContextManager[None]:
    """Return the context to draw in, matplotlib with the report's settings; raises `ConfigError` without matplotlib."""
    matplotlib = require("matplotlib", "a report", "matplotlib", "report")
    context: AbstractContextManager[None] = matplotlib.rc_context(dict(_SETTINGS))
    return context


def _new_figure(rows: int = 0, height: float = 3.3, polar: bool = False) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes and room for `rows` of legend below; height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, height + 0.22 * rows), layout="constrained")
    return figure, figure.subplots(subplot_kw={"projection": "polar"} if polar else None)


def _with_legend(figure: Figure) -> Figure:
    """Write the legend below the axes, where it hides no curve however many trackers there are; return the figure."""
    shown: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(text, handle)
    figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=1, labelspacing=0.3)
    return figure


@dataclass(frozen=True)
class Axis:
    """The axes of a curve, with their labels `x` and `y`.

    Attributes:
        first: the x of the first value.
        last: the x of the last value; None where the values are 1 apart.
        shade: an interval of x to shade, and its name.
        mark: an x to mark with a line, and its name.
    """

    x: str
    y: str
    first: float = 0.0
    last: float | None = 1.0
    shade: tuple[float, float, str] | None = None
    mark: tuple[float, str] | None = None

    def grid(self, count: int) -> FloatArray:
        """Return the x of each of `count` values."""
        last = self.first + count - 1 if self.last is None else self.last
        return np.linspace(self.first, last, count)


def draw_curves(ranked: Ranked, curve: str, axis: Axis, styles: Styles) -> Figure:
    """Draw one curve of each tracker, with a legend in order of rank."""
    figure, axes = _new_figure(len(ranked))
    for tracker, value in ranked:
        values = tracker.scores.curves[curve]
        label = f"[{number(value)}]  {tracker.tracker}"
        axes.plot(axis.grid(len(values)), values, label=label, **styles.line(tracker.tracker))
    right = max(axis.grid(len(t.scores.curves[curve]))[-1] for t, _ in ranked)
    axes.set(xlabel=axis.x, ylabel=axis.y, ylim=(0, 1.02), xlim=(min(axis.first, 0), right))
    if axis.shade is not None:
        low, high, name = axis.shade
        axes.axvspan(low, min(high, right), color=GRID, alpha=0.55, linewidth=0, zorder=0)
        if low < right:
            axes.text(low, 0.02, f" {name}", fontsize=8.5, color=MUTED)
    if axis.mark is not None:
        at, name = axis.mark
        axes.axvline(at, **_DOTTED)
        axes.text(at, 0.02, f" {name}", fontsize=8.5, color=MUTED)
    return _with_legend(figure)


def draw_by_attribute(
    trackers: Sequence[Scored], curve: str, attributes: Sequence[str], axis: Axis, styles: Styles
) -> Figure:
    """Draw one curve of each tracker by attribute, in small axes of one scale, three to a row (SiamCAR, figure 6)."""
    from matplotlib.figure import Figure

    count = len(attributes)
    rows = -(-count // 3)
    figure = Figure(figsize=(5.0, 0.5 + 1.45 * rows + 0.22 * len(trackers)), layout="constrained")
    every: list[Axes] = list(figure.subplots(rows, 3, sharex=True, sharey=True, squeeze=False).flat)
    for axes in every[count:]:
        axes.set_visible(False)
    grid = every[:count]
    for axes, attribute in zip(grid, attributes, strict=True):
        for tracker in trackers:
            values = tracker.scores.attribute_curves.get(attribute, {}).get(curve)
            if values is not None:
                style = styles.line(tracker.tracker) | {"linewidth": 1.3, "label": tracker.tracker}
                axes.plot(axis.grid(len(values)), values, **style)
        axes.set_title(_short(attribute, 24), fontsize=8.5, fontweight="normal")
        axes.tick_params(labelsize=7.5)
        if axis.mark is not None:
            axes.axvline(axis.mark[0], **_DOTTED)
    grid[0].set(xlim=(axis.first, axis.last), ylim=(0, 1.02))
    for axes in grid[-3:]:  # nothing is below these
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(axis.x, fontsize=7)
    for axes in grid[::3]:
        axes.set_ylabel(axis.y, fontsize=7.5)
    return _with_legend(figure)


def draw_precision_recall(ranked: Ranked, styles: Styles) -> Figure:
    """Draw precision over recall with the point of the best F (SiamRPN++, figure 9), and lines of equal F."""
    figure, axes = _new_figure(len(ranked), height=3.9)
    axes.grid(False)
    for f in np.arange(0.1, 1.0, 0.1):
        recall = np.linspace(f / (2 - f) + 1e-6, 1, 200)
        axes.plot(recall, f * recall / (2 * recall - f), color=GRID, linewidth=0.8, zorder=0)
        axes.text(1.01, f / (2 - f), f"{f:.1f}", fontsize=7.5, color=MUTED, va="center")
    for tracker, value in ranked:
        curves, metrics = tracker.scores.curves, tracker.scores.metrics
        label = f"[F {number(value)}]  {tracker.tracker}"
        axes.plot(curves["recall"], curves["precision"], label=label, **styles.line(tracker.tracker))
        axes.plot(metrics["recall"], metrics["precision"], **styles.point(tracker.tracker))
    axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.text(1.0, 1.02, "F", fontsize=8.5, color=MUTED, ha="left", va="bottom")
    return _with_legend(figure)


def draw_longterm(ranked: Ranked, styles: Styles) -> Figure:
    """Draw precision, recall and F of each tracker over the ranks of its confidence thresholds."""
    figure, axes = _new_figure(len(ranked) + 2)
    for tracker, value in ranked:
        for name in ("F", "precision", "recall"):
            values = tracker.scores.curves[name]
            shares = np.linspace(0, 1, len(values))
            style = styles.line(tracker.tracker) | {"linewidth": 1.1, "alpha": 0.75}
            if name == "F":
                style |= {"linewidth": 2.4, "alpha": 1.0, "label": f"[F {number(value)}]  {tracker.tracker}"}
            axes.plot(shares, values, **style)
            at = int((len(values) - 1) * (0.82 if name == "recall" else 0.12))
            if name != "F" and len(ranked) <= 3 and math.isfinite(values[at]):
                place, above = (shares[at], values[at]), (0, 3)
                letter = name[0].upper()
                axes.annotate(letter, place, above, textcoords="offset points", color=INK, fontsize=8)
    axes.set(xlabel="Share of the confidence thresholds passed", ylabel="Precision (P), recall (R), F")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return _with_legend(figure)


def draw_ranking(ranked: Ranked, metric: str, styles: Styles) -> Figure:
    """Draw a metric over the rank, the best on the right, as VOT's reports do."""
    figure, axes = _new_figure(len(ranked))
    for rank, (tracker, value) in enumerate(ranked, start=1):
        axes.vlines(rank, 0, value, color=styles.line(tracker.tracker)["color"], linewidth=1.2, alpha=0.6)
        axes.plot([rank], [value], label=f"[{number(value)}]  {tracker.tracker}", **styles.point(tracker.tracker))
    axes.set_xticks(range(1, len(ranked) + 1))
    axes.set(xlabel="Rank", ylabel=metric, xlim=(len(ranked) + 0.6, 0.4), ylim=(0, _above([v for _, v in ranked])))
    axes.grid(axis="x", visible=False)
    return _with_legend(figure)


def _above(values: Sequence[float]) -> float:
    """Return the upper end of an axis."""
    top = max((v for v in values if math.isfinite(v)), default=0.0)
    return top * 1.12 if top > 0 else 1.0


def draw_accuracy_robustness(
    ranked: Ranked, robustness: str, label: str, styles: Styles, *, less_is_better: bool
) -> Figure:
    """Draw accuracy over robustness, a metric of the store with its label; better is right and up."""
    figure, axes = _new_figure(len(ranked), height=3.4)
    for tracker, accuracy in ranked:
        across = tracker.metric(robustness)
        text = f"[{number(accuracy)}, {number(across)}]  {tracker.tracker}"
        axes.plot([across], [accuracy], label=text, **styles.point(tracker.tracker))
    axes.set(xlabel=label, ylabel="Accuracy", ylim=(0, 1))
    right = _above([t.metric(robustness) for t, _ in ranked])
    if less_is_better:
        axes.set_xlim(right, -0.04 * right)
    else:
        axes.set_xlim(0, 1.02)
    return _with_legend(figure)


def draw_speed(ranked: Ranked, y: str, styles: Styles) -> Figure:
    """Draw a metric over frames a second on a logarithmic axis (SiamRPN++, figure 8)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = _new_figure(len(ranked), height=3.4)
    axes.set_xscale("log")
    for tracker, value in ranked:
        label = f"[{number(value)} at {number(tracker.fps())} fps]  {tracker.tracker}"
        axes.plot([tracker.fps()], [value], label=label, **styles.point(tracker.tracker))
    speeds = [tracker.fps() for tracker, _ in ranked]
    low, high = min(*speeds, 20.0) / 1.5, max(*speeds, 40.0) * 1.5
    steps = (1.0, 2.0, 5.0) if high < 200 * low else (1.0,)
    axes.set(xlabel="Frames a second (logarithmic)", ylabel=y, xlim=(low, high))
    axes.set_ylim(0, _above([value for _, value in ranked]))
    axes.xaxis.set_major_locator(LogLocator(10, subs=steps, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(25, **_DOTTED)
    axes.text(25, axes.get_ylim()[1] * 0.02, " 25 fps: real time", fontsize=8.5, color=MUTED)
    return _with_legend(figure)


def draw_radar(values: ByAttribute, attributes: Sequence[str], styles: Styles) -> Figure:
    """Draw a metric of each attribute on spokes; the best value is at the spoke's end."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _new_figure(len(values), height=4.6, polar=True)
    angles = np.linspace(0, 2 * np.pi, len(attributes), endpoint=False)
    closed = np.append(angles, angles[:1])
    for tracker, by_attribute in values.items():
        row = [by_attribute.get(a, math.nan) for a in attributes]
        style = styles.line(tracker)
        axes.plot(closed, [*row, row[0]], label=tracker, **style)
        if len(values) <= 4:  # the areas of more add up to grey
            axes.fill(closed, [*row, row[0]], color=style["color"], alpha=0.06, linewidth=0)
    best = [
        max((v[a] for v in values.values() if math.isfinite(v.get(a, math.nan))), default=math.nan) for a in attributes
    ]
    polar: Any = axes  # the methods below are those of polar axes
    polar.set_theta_zero_location("N")
    polar.set_theta_direction(-1)
    polar.set_rlabel_position(180 / max(len(angles), 1))
    polar.set_xticks(angles, [f"{a}\n{number(v)}" for a, v in zip(attributes, best, strict=True)], fontsize=8.5)
    polar.tick_params(axis="x", pad=7)
    polar.tick_params(axis="y", labelsize=7.5, labelcolor=MUTED)
    polar.spines["polar"].set_visible(False)
    polar.yaxis.set_major_locator(MaxNLocator(4, prune="lower"))
    polar.set_ylim(0, _above(best))
    return _with_legend(figure)


def draw_attributes(values: ByAttribute, attributes: Sequence[str], x: str, styles: Styles) -> Figure:
    """Draw a metric of each attribute in rows, hardest at the bottom, with a point for each tracker."""

    def mean(attribute: str) -> float:
        known = [v[attribute] for v in values.values() if math.isfinite(v.get(attribute, math.nan))]
        return float(np.mean(known)) if known else 0.0

    order = sorted(attributes, key=mean)
    figure, axes = _rows(order, len(values))
    for tracker, by_attribute in values.items():
        row = [by_attribute.get(a, math.nan) for a in order]
        axes.plot(row, np.arange(len(order)), label=tracker, **styles.point(tracker) | {"markersize": 7})
    axes.set_xlabel(x)
    axes.set_xlim(0, _above([v for by in values.values() for v in by.values()]))
    return _with_legend(figure)


def _short(name: str, most: int = 19) -> str:
    """Shorten a name in its middle: names that people compare often differ at their ends."""
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def draw_differences(differences: Sequence[Difference]) -> Figure:
    """Draw the interval of each difference in a row, the first at the top, with a line at zero."""
    rising = differences[::-1]
    figure, axes = _rows([f"{_short(d.first)} − {_short(d.second)}" for d in rising])
    axes.axvline(0, **_DOTTED)
    for place, found in enumerate(rising):
        interval = found.interval
        axes.hlines(place, interval.low, interval.high, color=INK, linewidth=1.8)
        inside = INK if interval.clear else "none"
        axes.plot([interval.mean], [place], "o", markerfacecolor=inside, markeredgecolor=INK)
    axes.set_xlabel("Mean difference")
    axes.grid(axis="y", visible=False)
    return figure


def _rows(names: Sequence[str], legend: int = 0) -> tuple[Figure, Axes]:
    """Return a figure with a row for each name, the first at the bottom, and room for a legend."""
    figure, axes = _new_figure(legend, height=1.0 + 0.3 * len(names))
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(-0.6, len(names) - 0.4)
    return figure, axes
