"""Plots of points: the EAO ranking, accuracy against robustness, speed, attributes, and differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from siamtrack.report.bootstrap import Interval
from siamtrack.report.chart import INK, MUTED, Styles, legend_below, new_figure
from siamtrack.report.curves import Ranked
from siamtrack.report.measures import number, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Difference",
    "draw_attributes",
    "draw_differences",
    "draw_plane",
    "draw_radar",
    "draw_ranking",
    "draw_speed",
]

_FILLED = 4

Values = Mapping[str, Mapping[str, float]]
"""A metric by attribute, by tracker."""


@dataclass(frozen=True)
class Difference:
    """The interval of tracker `first` less tracker `second`."""

    first: str
    second: str
    interval: Interval


def draw_ranking(ranked: Ranked, y: str, styles: Styles) -> Figure:
    """Draw a metric over the rank, the best on the right, as VOT's reports do."""
    figure, axes = new_figure(len(ranked))
    handles: list[Any] = []
    for rank, (entry, value) in enumerate(ranked, start=1):
        axes.vlines(rank, 0, value, color=styles.line(entry.tracker)["color"], linewidth=1.2, alpha=0.6)
        handles += axes.plot([rank], [value], **styles.point(entry.tracker))
    axes.set_xticks(range(1, len(ranked) + 1))
    axes.set(xlabel="Rank", ylabel=y, xlim=(len(ranked) + 0.6, 0.4))
    axes.set_ylim(0, _above([value for _, value in ranked]))
    axes.grid(axis="x", visible=False)
    legend_below(figure, handles, [f"[{number(value)}]  {entry.tracker}" for entry, value in ranked])
    return figure


def _above(values: Many[float]) -> float:
    top = max((v for v in values if math.isfinite(v)), default=0.0)
    return top * 1.12 if top > 0 else 1.0


def draw_plane(
    ranked: Ranked, x: tuple[str, str], y: tuple[str, str], styles: Styles, *, less_is_better: bool
) -> Figure:
    """Draw two metrics, each (name in the store, label), against each other; better is right and up."""
    figure, axes = new_figure(len(ranked), height=3.4)
    handles: list[Any] = []
    labels = []
    for entry, _ in ranked:
        place = entry.scores.metrics[x[0]], entry.scores.metrics[y[0]]
        handles += axes.plot([place[0]], [place[1]], **styles.point(entry.tracker))
        labels.append(f"[{number(place[1])}, {number(place[0])}]  {entry.tracker}")
    axes.set(xlabel=x[1], ylabel=y[1], ylim=(0, 1))
    right = _above([e.scores.metrics[x[0]] for e, _ in ranked])
    if less_is_better:
        axes.set_xlim(right, -0.04 * right)
    else:
        axes.set_xlim(0, 1.02)
    legend_below(figure, handles, labels)
    return figure


def draw_speed(ranked: Ranked, y: str, styles: Styles) -> Figure:
    """Draw a metric over frames a second on a logarithmic axis (SiamRPN++, figure 8)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = new_figure(len(ranked), height=3.4)
    axes.set_xscale("log")
    handles: list[Any] = []
    labels = []
    speeds = [entry.fps() for entry, _ in ranked]
    for (entry, value), fps in zip(ranked, speeds, strict=True):
        handles += axes.plot([fps], [value], **styles.point(entry.tracker))
        labels.append(f"[{number(value)} at {number(fps)} fps]  {entry.tracker}")
    low, high = min(*speeds, 20.0) / 1.5, max(*speeds, 40.0) * 1.5
    steps = (1.0, 2.0, 5.0) if high < 200 * low else (1.0,)
    axes.set_xlim(low, high)
    axes.set_ylim(0, _above([value for _, value in ranked]))
    axes.xaxis.set_major_locator(LogLocator(10, subs=steps, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(25, color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    axes.text(25, axes.get_ylim()[1] * 0.02, " 25 fps: real time", fontsize=8.5, color=MUTED)
    axes.set(xlabel="Frames a second (logarithmic)", ylabel=y)
    legend_below(figure, handles, labels)
    return figure


def draw_radar(values: Values, attributes: Many[str], styles: Styles) -> Figure:
    """Draw a metric of each attribute on spokes (SiamCAR, figure 6); the best value is at the spoke's end."""
    figure, axes = new_figure(len(values), height=4.6, polar=True)
    angles = np.linspace(0, 2 * np.pi, len(attributes), endpoint=False)
    closed = np.append(angles, angles[:1])
    handles: list[Any] = []
    for tracker, by_attribute in values.items():
        row = [by_attribute.get(a, math.nan) for a in attributes]
        (line,) = axes.plot(closed, [*row, row[0]], **styles.line(tracker))
        if len(values) <= _FILLED:  # more areas than these add up to grey
            axes.fill(closed, [*row, row[0]], color=line.get_color(), alpha=0.06, linewidth=0)
        handles.append(line)
    best = {a: max((v.get(a, math.nan) for v in values.values()), key=_low_if_nan) for a in attributes}
    _spokes(axes, angles, [f"{a}\n{number(best[a])}" for a in attributes])
    axes.set_ylim(0, _above(list(best.values())))
    legend_below(figure, handles, list(values))
    return figure


def _low_if_nan(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _spokes(axes: Any, angles: Any, labels: Many[str]) -> None:
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, labels, fontsize=8.5)
    axes.tick_params(axis="x", pad=7)
    axes.tick_params(axis="y", labelsize=7.5, labelcolor=MUTED)
    axes.set_rlabel_position(180 / max(len(angles), 1))
    axes.spines["polar"].set_visible(False)
    axes.yaxis.set_major_locator(_few_ticks())


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, prune="lower")


def _rows(count: int) -> float:
    return 1.0 + 0.3 * count


def draw_attributes(values: Values, attributes: Many[str], x: str, styles: Styles) -> Figure:
    """Draw a metric of each attribute in rows, hardest at the bottom, with a point for each tracker."""

    def mean(attribute: str) -> float:
        known = [v[attribute] for v in values.values() if math.isfinite(v.get(attribute, math.nan))]
        return float(np.mean(known)) if known else 0.0

    order = sorted(attributes, key=mean)
    figure, axes = new_figure(len(values), height=_rows(len(order)))
    handles: list[Any] = []
    for tracker, by_attribute in values.items():
        row = [by_attribute.get(a, math.nan) for a in order]
        handles += axes.plot(row, np.arange(len(order)), **styles.point(tracker) | {"markersize": 7})
    axes.set_yticks(range(len(order)), order)
    axes.set(xlabel=x, ylim=(-0.6, len(order) - 0.4))
    axes.set_xlim(0, _above([v for by in values.values() for v in by.values()]))
    legend_below(figure, handles, list(values))
    return figure


def draw_differences(differences: Many[Difference], x: str) -> Figure:
    """Draw the interval of each difference in a row, the first at the top, with a line at zero."""
    figure, axes = new_figure(height=_rows(len(differences)))
    _zero_line(axes)
    for place, found in enumerate(reversed(differences)):
        interval = found.interval
        filled = {"markerfacecolor": INK if interval.clear else "none", "markeredgecolor": INK}
        axes.hlines(place, interval.low, interval.high, color=INK, linewidth=1.8)
        axes.plot([interval.mean], [place], marker="o", linestyle="none", **filled)  # type: ignore[arg-type]
    axes.set_yticks(range(len(differences)), [f"{short(d.first)} − {short(d.second)}" for d in reversed(differences)])
    axes.set(xlabel=x, ylim=(-0.6, len(differences) - 0.4))
    axes.grid(axis="y", visible=False)
    return figure


def _zero_line(axes: Axes) -> None:
    axes.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
