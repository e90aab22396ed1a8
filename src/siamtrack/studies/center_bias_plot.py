"""The study of centre bias as one picture: a heat map for each shift, hits by distance, tracking by shift."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from siamtrack.errors import InputError, missing_package
from siamtrack.io import whole_file
from siamtrack.studies.center_bias import Bias

__all__ = ["plot_bias"]

_RINGS = ("up to 16", "16 to 32", "32 to 64")


def plot_bias(results: Sequence[Bias], path: Path) -> None:
    """Draw results as SiamRPN++'s figures 1 and 2 have them, into a PNG file.

    Raises:
        ConfigError: matplotlib is not installed.
        InputError: there are no results.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_package("the picture", "matplotlib", "report") from None
    if not results:
        raise InputError("there is nothing to draw: no shift has been measured yet")
    count = len(results)
    figure = Figure(figsize=(2.6 * max(count, 2), 6), layout="constrained")
    parts: Any = figure.subfigures(2, 1)
    upper, lower = parts
    for axes, bias in zip(upper.subplots(1, count, squeeze=False)[0], results, strict=True):
        half = len(bias.heat) * 4
        axes.imshow(bias.heat, cmap="magma", extent=(-half, half, half, -half), vmin=0)
        axes.set_title(f"shift {bias.shift}\nmiddle {bias.middle:.2f}", fontsize=9)
        axes.tick_params(labelsize=7)
    upper.suptitle("Mean response to uniformly placed targets (px from the middle)", fontsize=10)
    left, right = lower.subplots(1, 2)
    _draw_hits(left, results)
    _draw_success(right, results)
    with whole_file(path) as draft:
        figure.savefig(draft, format="png", dpi=130)


def _draw_hits(axes: Any, results: Sequence[Bias]) -> None:
    for bias in results:
        axes.plot(_RINGS, bias.hits, marker="o", label=f"shift {bias.shift}")
    axes.set_ylim(0, 1)
    axes.set_xlabel("target's distance from the middle (px)")
    axes.set_ylabel("found within 16 px")
    axes.legend(fontsize=7)


def _draw_success(axes: Any, results: Sequence[Bias]) -> None:
    known = [(f"{bias.shift}", bias.success) for bias in results if bias.success is not None]
    axes.bar([name for name, _ in known], [score for _, score in known], width=0.6)
    for place, (_, score) in enumerate(known):
        axes.annotate(f"{score:.3f}", (place, score), ha="center", va="bottom", fontsize=8)
    axes.set_xlabel("shift in training (px)")
    axes.set_ylabel("success (AUC) of tracking")
