"""Plots of curves: success, precision, expected overlap, and precision against recall."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from siamtrack.geometry.regions import FloatArray
from siamtrack.report.chart import GRID, INK, MUTED, Styles, legend_below, new_figure, new_grid
from siamtrack.report.entries import Entry
from siamtrack.report.measures import number, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Axis", "Ranked", "draw_by_attribute", "draw_curves", "draw_longterm", "draw_precision_recall"]

Ranked = Many[tuple[Entry, float]]


@dataclass(frozen=True)
class Axis:
    """How a curve's values lie on the plot.

    Attributes:
        x: what goes to the right.
        y: what goes up.
        first: the x of the first value.
        last: the x of the last value; None where the values are 1 apart.
        shade: a part of x to be marked, with its name.
        mark: an x to be marked, with its name.
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
    """Draw one curve of each tracker, with a legend in the order of rank that begins with the metric."""
    figure, axes = new_figure(len(ranked))
    handles: list[Any] = []
    for entry, _ in ranked:
        values = entry.scores.curves[curve]
        handles += axes.plot(axis.grid(len(values)), values, **styles.line(entry.tracker))
    axes.set_xlabel(axis.x)
    axes.set_ylabel(axis.y)
    axes.set_ylim(0, 1.02)
    right = max(axis.grid(len(e.scores.curves[curve]))[-1] for e, _ in ranked)
    axes.set_xlim(min(axis.first, 0), right)
    if axis.shade is not None:
        low, high, name = axis.shade
        axes.axvspan(low, min(high, right), color=GRID, alpha=0.55, linewidth=0, zorder=0)
        if low < right:
            axes.text(low, 0.02, f" {name}", fontsize=8.5, color=MUTED)
    if axis.mark is not None:
        at, name = axis.mark
        axes.axvline(at, color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
        axes.text(at, 0.02, f" {name}", fontsize=8.5, color=MUTED)
    legend_below(figure, handles, [f"[{number(value)}]  {entry.tracker}" for entry, value in ranked])
    return figure


def draw_by_attribute(trackers: Many[Entry], curve: str, attributes: Many[str], axis: Axis, styles: Styles) -> Figure:
    """Draw one curve of each tracker for every attribute by itself, in small axes of one scale."""
    figure, grid = new_grid(len(attributes), len(trackers))
    handles: dict[str, Any] = {}
    for axes, attribute in zip(grid, attributes, strict=True):
        for entry in trackers:
            values = entry.scores.attribute_curves.get(attribute, {}).get(curve)
            if values is not None:
                style = styles.line(entry.tracker) | {"linewidth": 1.3}
                (handles[entry.tracker],) = axes.plot(axis.grid(len(values)), values, **style)
        axes.set_title(short(attribute, 24), fontsize=8.5, fontweight="normal")
        axes.tick_params(labelsize=7.5)
        if axis.mark is not None:
            axes.axvline(axis.mark[0], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    grid[0].set(xlim=(axis.first, axis.last), ylim=(0, 1.02))
    for axes in grid[-3:]:
        axes.set_xlabel(axis.x, fontsize=7)
    for axes in grid[::3]:
        axes.set_ylabel(axis.y, fontsize=7.5)
    legend_below(figure, list(handles.values()), list(handles))
    return figure


def _iso_f(axes: Any) -> None:
    """Draw lines of equal F, which the eye needs to compare points of precision and recall."""
    for f in np.arange(0.1, 1.0, 0.1):
        recall = np.linspace(f / (2 - f) + 1e-6, 1, 200)
        axes.plot(recall, f * recall / (2 * recall - f), color=GRID, linewidth=0.8, zorder=0)
        axes.text(1.01, f / (2 - f), f"{f:.1f}", fontsize=7.5, color=MUTED, va="center")


def draw_precision_recall(ranked: Ranked, styles: Styles) -> Figure:
    """Draw precision over recall with the point of the best F (SiamRPN++, figure 9)."""
    figure, axes = new_figure(len(ranked), height=3.9)
    axes.grid(False)
    _iso_f(axes)
    handles: list[Any] = []
    for entry, _ in ranked:
        curves, metrics = entry.scores.curves, entry.scores.metrics
        handles += axes.plot(curves["recall"], curves["precision"], **styles.line(entry.tracker))
        axes.plot(metrics["recall"], metrics["precision"], **styles.point(entry.tracker))
    axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.text(1.0, 1.02, "F", fontsize=8.5, color=MUTED, ha="left", va="bottom")
    legend_below(figure, handles, [f"[F {number(value)}]  {entry.tracker}" for entry, value in ranked])
    return figure


def draw_longterm(ranked: Ranked, styles: Styles) -> Figure:
    """Draw precision, recall and F of each tracker over the ranks of its confidence thresholds."""
    figure, axes = new_figure(len(ranked) + 2)
    handles: list[Any] = []
    weights = {"F": 2.4, "precision": 1.1, "recall": 1.1}
    for entry, _ in ranked:
        for name, width in weights.items():
            values = entry.scores.curves[name]
            style = styles.line(entry.tracker) | {"linewidth": width, "alpha": 1.0 if name == "F" else 0.75}
            (drawn,) = axes.plot(np.linspace(0, 1, len(values)), values, **style)
            rising = name == "recall"
            at = int((len(values) - 1) * (0.82 if rising else 0.12))
            if name == "F":
                handles.append(drawn)
            elif len(ranked) <= 3 and math.isfinite(values[at]):
                axes.annotate(
                    "R" if rising else "P",
                    (at / max(len(values) - 1, 1), values[at]),
                    color=INK,
                    fontsize=8,
                    xytext=(0, 3),
                    textcoords="offset points",
                )
    axes.set(xlabel="Share of the confidence thresholds passed", ylabel="Precision (P), recall (R), F")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    legend_below(figure, handles, [f"[F {number(value)}]  {entry.tracker}" for entry, value in ranked])
    return figure
