"""What all plots share: colours that people with any colour vision tell apart, fonts, and writing pictures.

A figure is drawn once, in colours for white paper. Where it goes into the page, each colour is replaced by a
CSS variable of the page, so that the same drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from siamtrack.errors import missing_package

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DARK",
    "GRID",
    "GROUND",
    "INK",
    "LIGHT",
    "MUTED",
    "Styles",
    "drawing",
    "inline_svg",
    "legend_below",
    "new_figure",
    "new_grid",
    "png_bytes",
    "svg_text",
]

INK, MUTED, GRID, GROUND = "#1b1f24", "#59636e", "#d8dde3", "#fffffe"
# Okabe and Ito, Color Universal Design, 2008, less its yellow, which is lost on white; the last is the ink.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
DARK = ("#4a93e0", "#f2742b", "#1fb98a", "#e294c1", "#f0c040", "#a5dcff", "#eceff2")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (6, 1.4, 1.2, 1.4)), (0, (1.2, 1.3)), (0, (9, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
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
)
_VARIABLES = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--grid)", GROUND: "var(--panel)"}


class Styles:
    """How each tracker is drawn, alike in all plots of a report. The order of the names decides."""

    def __init__(self, trackers: Iterable[str]) -> None:
        self._place = {name: n for n, name in enumerate(dict.fromkeys(trackers))}

    def slot(self, tracker: str) -> int:
        """Return which of the colours is the tracker's."""
        return self._place[tracker] % len(LIGHT)

    def line(self, tracker: str) -> dict[str, Any]:
        """Return colour and dashes; no two of the first 35 trackers have both in common."""
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
    """Return the context in which figures are made and written: matplotlib with the report's settings.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise missing_package("a report", "matplotlib", "report") from None
    context: AbstractContextManager[None] = mpl.rc_context(dict(_SETTINGS))  # type: ignore[arg-type]
    return context


def new_figure(rows: int = 0, height: float = 3.3, polar: bool = False) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes and room for so many rows of legend below; height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, height + 0.22 * rows), layout="constrained")
    return figure, figure.subplots(subplot_kw={"projection": "polar"} if polar else None)


def new_grid(count: int, rows: int = 0) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` small axes of one scale, three beside each other, above so many rows of legend."""
    from matplotlib.figure import Figure

    lines = -(-count // 3)
    figure = Figure(figsize=(5.0, 0.5 + 1.45 * lines + 0.22 * rows), layout="constrained")
    places = figure.subplots(lines, 3, sharex=True, sharey=True, squeeze=False)
    every: list[Axes] = list(places.flat)
    for axes in every[count:]:
        axes.set_visible(False)
    for axes in every[max(count - 3, 0) : count]:  # nothing is below these
        axes.tick_params(labelbottom=True)
    return figure, every[:count]


def legend_below(figure: Figure) -> None:
    """Write the legend below the axes, where it hides no curve however many trackers there are."""
    shown: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(text, handle)
    figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=1, labelspacing=0.3)


def _saved(figure: Figure, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes in the PNG, and right in the browser
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format=form, **options)
    return buffer.getvalue()


def svg_text(figure: Figure) -> str:
    """Return a figure as an SVG document without date and program, equal for equal figures."""
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    return _saved(figure, "svg", metadata=nothing).decode()


def png_bytes(figure: Figure) -> bytes:
    """Return a figure as a PNG file, 900 pixels wide on white."""
    return _saved(figure, "png", dpi=180)


def inline_svg(document: str, prefix: str) -> tuple[str, str]:
    """Return the view box and the content of an SVG document, to be put into an element of a page.

    Namespaces and metadata go, ids get a prefix that is unique in the page, and colours become the page's.
    """
    text = re.sub(r"<metadata>.*?</metadata>", "", document[document.index("<svg") :], flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="([^"]*)"', head)
    assert box is not None  # matplotlib always writes one
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    # the paper is the page's own
    body = re.sub(rf'(<g id="{prefix}-patch_1">\s*<path [^>]*?)style="fill: #ffffff"', r'\1fill="none"', body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    for slot, colour in enumerate(LIGHT):
        body = body.replace(colour, f"var(--s{slot})")
    return box.group(1), body.rsplit("</svg>", 1)[0]
