"""Writing a report: from stores of results to a folder with the page, its plots, tables and clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamtrack import __version__
from siamtrack.errors import ConfigError, InputError, missing_package
from siamtrack.io import write_whole
from siamtrack.metrics.rules import RULES
from siamtrack.report.clips import write_clips
from siamtrack.report.differences import find_differences
from siamtrack.report.plots import Plot, difference_plot, find_plots
from siamtrack.report.results import Comparison, RawSource, compare, read_scored
from siamtrack.report.style import DARK, Styles, drawing, inline_svg, png_bytes, svg_text
from siamtrack.report.tables import (
    Table,
    attribute_table,
    csv_text,
    difference_table,
    failure_table,
    latex_text,
    overview_table,
    sequence_table,
    setting_table,
)
from siamtrack.storage import Place

__all__ = ["Report", "write_report"]


@dataclass(frozen=True)
class Report:
    """What was written: the page, how many plots, and the clips."""

    page: Path
    plots: int
    clips: Sequence[Path]


@dataclass(frozen=True)
class _Figure:
    """A plot as the page shows it: what was drawn, the view box and content of its SVG, and its files."""

    plot: Plot
    view_box: str
    svg: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class _Section:
    """All that the page shows of one suite."""

    comparison: Comparison
    source: str
    uneven: Sequence[str]
    overview: Table
    figures: Sequence[_Figure]
    difference_figure: _Figure | None
    differences: Table | None
    attributes: Table
    sequences: Table
    settings: Table
    failures: Table


def write_report(
    results: Iterable[Place],
    out: Path,
    *,
    title: str = "Tracking results",
    raw: RawSource | None = None,
    data: Path | None = None,
    clips: str = "10",
    tell: Callable[[str], None] = lambda _line: None,
) -> Report:
    """Write `out`/index.html, table.csv, table.tex, plots/*.png and *.svg, and with `data` clips/<suite>/*.mp4.

    Args:
        results: folders of `siamtrack eval`: OUT, OUT/<tracker> or OUT/<tracker>/<suite>; or raw results.
        out: a folder, made if need be; files of an earlier report in it are replaced.
        title: the page's heading.
        raw: how to score results that are in no store.
        data: the data set of the one suite that is reported; clips are drawn from its frames.
        clips: the sequences to draw: "all", names between commas, or how many of the most telling ones.
        tell: is given a line for each part of the work.

    Raises:
        ConfigError: matplotlib or jinja2 is missing, clips of several suites at once, or an unknown sequence.
        DataError: no results, or ones that cannot be read.
        InputError: `out` is a file, or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out expects a folder; '{out}' is a file")
    template = _template()
    with drawing():  # missing packages are told before anything is read
        comparisons = compare(read_scored(results, raw))
        suites = sorted({c.suite for c in comparisons})
        if data is not None and len(suites) > 1:
            raise ConfigError(
                f"--data is one data set, but the results are of {', '.join(suites)}; report each by itself"
            )
        styles = Styles(sorted(t.tracker for c in comparisons for t in c.trackers))
        sections = []
        written: list[Path] = []
        for comparison in comparisons:
            made = write_clips(comparison, data, clips, styles, out, tell) if data is not None else {}
            written += [out / address for address in made.values()]
            sections.append(_section(comparison, styles, made, out))
    write_whole(out / "table.csv", csv_text(comparisons))
    write_whole(out / "table.tex", latex_text(comparisons, styles))
    manifests = [t.manifest for c in comparisons for t in c.trackers]
    page = out / "index.html"
    write_whole(
        page,
        template.render(
            title=title,
            sections=sections,
            version=__version__,
            versions=sorted({str(m["version"]) for m in manifests if "version" in m}),
            devices=sorted({str(m["device"]) for m in manifests if "device" in m}),
            dark=list(enumerate(DARK)),
        ),
    )
    plots = sum(len(s.figures) + (s.difference_figure is not None) for s in sections)
    return Report(page, plots, written)


def _template() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise missing_package("a report", "jinja2", "report") from None
    loader = PackageLoader("siamtrack.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")


def _section(comparison: Comparison, styles: Styles, clips: Mapping[str, str], out: Path) -> _Section:
    differences = find_differences(comparison)
    rule = RULES.get(comparison.rules)
    uneven = []
    if len({frozenset(t.scores.sequences) for t in comparison.trackers}) > 1:  # their means do not compare
        count = {t.tracker: len(t.scores.sequences) for t in comparison.trackers}
        uneven = [f"{name} ({n})" for name, n in count.items() if n < len(comparison.sequences)]
    return _Section(
        comparison,
        "" if rule is None else rule.source,
        uneven,
        overview_table(comparison, styles),
        [_figure(plot, out) for plot in find_plots(comparison, styles)],
        _figure(difference_plot(comparison, differences), out) if differences else None,
        difference_table(comparison, differences) if differences else None,
        attribute_table(comparison, styles),
        sequence_table(comparison, styles, clips),
        setting_table(comparison, styles),
        failure_table(comparison, styles),
    )


def _figure(plot: Plot, out: Path) -> _Figure:
    """Draw a plot and write its files."""
    figure = plot.draw()
    svg = svg_text(figure)
    files = {"PNG": f"plots/{plot.key}.png", "SVG": f"plots/{plot.key}.svg"}
    write_whole(out / files["PNG"], png_bytes(figure))
    write_whole(out / files["SVG"], svg)
    view_box, content = inline_svg(svg, plot.key)
    return _Figure(plot, view_box, content, files)
