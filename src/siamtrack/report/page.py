"""The page: sections, plots and tables as one HTML document that needs no other file to be read."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from html import escape
from importlib import resources

from siamtrack import __version__
from siamtrack.metrics.rules import RULES
from siamtrack.report.chart import DARK, Picture, Styles, inline_svg
from siamtrack.report.entries import Group
from siamtrack.report.measures import sequence_metrics
from siamtrack.report.pictures import slug
from siamtrack.report.points import Difference
from siamtrack.report.tables import (
    attribute_table,
    difference_table,
    failure_table,
    overview_table,
    sequence_table,
    setting_table,
)

__all__ = ["Drawn", "Section", "page_html"]


@dataclass(frozen=True)
class Drawn:
    """A plot and what was drawn: the SVG document, and the addresses of its files from the page."""

    picture: Picture
    svg: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Section:
    """All that the page shows of one suite."""

    group: Group
    plots: Many[Drawn]
    differences: Many[Difference]
    difference_plot: Drawn | None
    clips: Mapping[str, str]

    @property
    def key(self) -> str:
        """The id of its heading."""
        return f"{slug(self.group.suite)}-{slug(self.group.rules)}"


def _asset(name: str) -> str:
    return (resources.files("siamtrack.report") / name).read_text(encoding="utf-8")


def _style() -> str:
    series = " ".join(f"--s{n}: {colour};" for n, colour in enumerate(DARK))
    dark = (
        "color-scheme: dark; --ground: #0f1215; --panel: #171b20; --ink: #eceff2; --muted: #9fa9b3; "
        "--grid: #333a42; --line: #2b3138; --link: #7ab8f5; --hover: #20262c; --warn: #f3c67f; "
        f"--warn-ground: #33270f; {series}"
    )
    return _asset("page.css").replace("DARK", dark)


def _figure(drawn: Drawn) -> str:
    picture = drawn.picture
    links = " · ".join(
        f'<a href="{escape(address, quote=True)}" download>{escape(kind)}</a>' for kind, address in drawn.files.items()
    )
    svg = inline_svg(drawn.svg, picture.key, picture.title, picture.summary)
    return (
        f"<figure><h4>{escape(picture.title)}</h4>{svg}"
        f"<figcaption>{escape(picture.caption)} <span>{links}</span></figcaption></figure>"
    )


def _notes(group: Group) -> str:
    """Say where trackers were not scored on the same sequences, for then their means do not compare."""
    sets = {frozenset(e.scores.sequences) for e in group.entries}
    if len(sets) < 2:
        return ""
    most = len(group.sequences)
    short = [f"{e.tracker} ({len(e.scores.sequences)})" for e in group.entries if len(e.scores.sequences) < most]
    return (
        f'<p class="note">Not all trackers were scored on the same sequences: of {most}, '
        f"{escape(', '.join(short))}. Their means do not compare; the paired differences do.</p>"
    )


def _section(section: Section, styles: Styles) -> str:
    group, key = section.group, section.key
    rule = RULES.get(group.rules)
    source = f" ({rule.source})" if rule is not None else ""
    told = (
        f"Rules: {group.rules}{source}. {len(group.entries)} "
        f"{'tracker' if len(group.entries) == 1 else 'trackers'}, {len(group.sequences)} sequences."
    )
    parts = [
        f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(group.suite)}</h2>',
        f'<p class="muted">{escape(told)}</p>{_notes(group)}',
        overview_table(group, styles),
        f'<h3>Plots</h3><div class="figures">{"".join(map(_figure, section.plots))}</div>' if section.plots else "",
        _differences(section),
        f"<h3>Attributes</h3>{table}" if (table := attribute_table(group, styles)) else "",
        _sequences(section, styles),
        f"<h3>Settings</h3>{setting_table(group, styles)}{failure_table(group, styles)}</section>",
    ]
    return "\n".join(part for part in parts if part)


def _differences(section: Section) -> str:
    if not section.differences or section.difference_plot is None:
        return ""
    metric = sequence_metrics(section.group)[0]
    return (
        "<h3>Differences between trackers</h3>"
        "<p>Sequences are drawn with replacement, both trackers' scores of a sequence together. Where an interval "
        "leaves out zero, the difference is unlikely to come from the choice of sequences.</p>"
        f'<div class="figures">{_figure(section.difference_plot)}</div>'
        f"{difference_table(section.group, metric, section.differences)}"
    )


def _sequences(section: Section, styles: Styles) -> str:
    key = f"{section.key}-sequences"
    table = sequence_table(section.group, styles, section.clips, key)
    return (
        f'<h3>Sequences</h3><div class="filter js-only"><label for="{key}-filter">Show names with</label>'
        f'<input type="search" id="{key}-filter" data-filters="{key}" autocomplete="off"></div>'
        f"{table}"
    )


def page_html(title: str, sections: Many[Section], styles: Styles) -> str:
    """Return the whole page."""
    links = "".join(
        f'<li><a href="#{s.key}">{escape(s.group.suite)} <span class="muted">({escape(s.group.rules)})</span></a></li>'
        for s in sections
    )
    entries = [e for s in sections for e in s.group.entries]
    versions = sorted({str(e.manifest["version"]) for e in entries if "version" in e.manifest})
    devices = sorted({str(e.manifest["device"]) for e in entries if "device" in e.manifest})
    made = f"Results made with siamtrack {', '.join(versions) or '–'} on {', '.join(devices) or '–'}; "
    body = "\n".join(_section(section, styles) for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{_style()}</style>
</head>
<body>
<a class="skip" href="#main">To the results</a>
<header>
<div class="bar"><h1>{escape(title)}</h1><button type="button" id="theme" class="js-only">Dark colours</button></div>
<p class="muted">{escape(made)}page by siamtrack {escape(__version__)}. Numbers are rounded to be read; each cell
holds the stored one, shown when pointed at.</p>
<nav aria-label="Suites"><ul>{links}</ul></nav>
</header>
<main id="main">
{body}
</main>
<footer>Every number is from the results' store (manifest.json, scores.json, speed.json) or, where it says so,
a bootstrap of them. Click a column's head to sort.</footer>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""
