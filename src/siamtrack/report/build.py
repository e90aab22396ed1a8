"""Writing a report: from stores of results to a folder with the page, its plots and clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from siamtrack.errors import ConfigError, InputError
from siamtrack.io import write_whole
from siamtrack.report.bootstrap import paired_bootstrap
from siamtrack.report.chart import Picture, Styles, drawing, png_bytes, svg_text
from siamtrack.report.entries import Group, RawSource, group_entries, read_entries
from siamtrack.report.measures import is_loss, ranked, sequence_metrics
from siamtrack.report.page import Drawn, Section, page_html
from siamtrack.report.pictures import difference_picture, pictures, slug
from siamtrack.report.points import Difference

if TYPE_CHECKING:
    from siamtrack.formats.sequence import VideoSequence

__all__ = ["Report", "differences_of", "write_report"]

_ALL_PAIRS = 6  # up to so many trackers every pair is compared, beyond them the best with each other
Told = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What was written: the page, how many plots, and the clips."""

    page: Path
    plots: int
    clips: Sequence[Path]


def write_report(
    results: Iterable[Path],
    out: Path,
    *,
    title: str = "Tracking results",
    raw: RawSource | None = None,
    data: Path | None = None,
    clips: str = "10",
    tell: Told | None = None,
) -> Report:
    """Write `out`/index.html, `out`/plots/*.png and *.svg, and with `data` `out`/clips/<suite>/*.mp4.

    Args:
        results: folders of `siamtrack eval`: OUT, OUT/<tracker> or OUT/<tracker>/<suite>; or raw results.
        out: a folder, made if need be; files of an earlier report in it are replaced.
        title: the page's heading.
        raw: how to score results that are in no store.
        data: the data set of the one suite that is reported; clips are drawn from its frames.
        clips: the sequences to draw: "all", names between commas, or how many of the most telling ones.
        tell: is told a line for each part of the work.

    Raises:
        ConfigError: matplotlib is missing, clips of several suites at once, or an unknown sequence.
        DataError: no results, or ones that cannot be read.
        InputError: `out` is a file, or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out expects a folder; '{out}' is a file")
    with drawing():  # a missing matplotlib is told before anything is read
        entries = read_entries(results, raw)
        groups = group_entries(entries)
        if data is not None and len({g.suite for g in groups}) > 1:
            suites = ", ".join(sorted({g.suite for g in groups}))
            raise ConfigError(f"--data is one data set, but the results are of {suites}; report each by itself")
        styles = Styles(sorted(e.tracker for e in entries))
        sections = []
        written: dict[Path, str] = {}
        for group in groups:
            made = _clips(group, styles, data, clips, out, tell) if data is not None else {}
            written |= {out / address: name for name, address in made.items()}
            sections.append(_section(group, styles, made, out))
    page = out / "index.html"
    write_whole(page, page_html(title, sections, styles))
    plots = sum(len(s.plots) + (s.difference_plot is not None) for s in sections)
    return Report(page, plots, list(written))


def _section(group: Group, styles: Styles, clips: dict[str, str], out: Path) -> Section:
    plots = [_draw(picture, out) for picture in pictures(group, styles)]
    found = differences_of(group)
    drawn = None
    if found:
        drawn = _draw(difference_picture(group, sequence_metrics(group)[0], found), out)
    return Section(group, plots, found, drawn, clips)


def _draw(picture: Picture, out: Path) -> Drawn:
    figure = picture.draw()
    svg = svg_text(figure)
    files = {"PNG": f"plots/{picture.key}.png", "SVG": f"plots/{picture.key}.svg"}
    write_whole(out / files["PNG"], png_bytes(figure))
    write_whole(out / files["SVG"], svg)
    return Drawn(picture, svg, files)


def differences_of(group: Group) -> list[Difference]:
    """Return the differences of a suite's trackers in the metric that leads, the better one first.

    All pairs of up to six trackers, else the best with each of the others.
    """
    metrics = sequence_metrics(group)
    if not metrics:
        return []
    metric = metrics[0]
    names = [entry.tracker for entry, _ in ranked(group, metric)]
    values = {
        e.tracker: {name: m[metric] for name, m in e.scores.sequences.items() if metric in m} for e in group.entries
    }
    if not is_loss(metric, group.rules, metrics):
        # metrics of single sequences may be named otherwise than the data set's
        names.sort(key=lambda name: -_mean(list(values[name].values())))
    pairs = list(combinations(names, 2))
    if len(names) > _ALL_PAIRS:
        pairs = pairs[: len(names) - 1]
    found = [Difference(a, b, paired_bootstrap(values[a], values[b])) for a, b in pairs]
    return [d for d in found if d.interval.sequences]


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if v == v]
    return sum(known) / len(known) if known else float("-inf")


def _clips(group: Group, styles: Styles, data: Path, wanted: str, out: Path, tell: Told | None) -> dict[str, str]:
    """Draw the wanted clips and return their addresses from the page by sequence."""
    from siamtrack.evaluation.evaluate import read_suite
    from siamtrack.evaluation.suites import find_suite
    from siamtrack.report.clips import choose_sequences, read_tracks, render_clip

    chosen = choose_sequences(group, wanted)
    by_name: dict[str, VideoSequence] = {s.name: s for s in read_suite(find_suite(group.suite), data)}
    folder = Path("clips") / slug(group.suite) / slug(group.rules)
    found: dict[str, str] = {}
    for number, name in enumerate(chosen, start=1):
        tracks = read_tracks(group.entries, by_name[name], styles) if name in by_name else []
        if not tracks:
            continue
        address = folder / f"{number:03d}-{slug(name)[:60]}.mp4"
        (out / folder).mkdir(parents=True, exist_ok=True)
        if tell is not None:
            tell(f"clip {number} of {len(chosen)}: {name}")
        render_clip(by_name[name], tracks, out / address)
        found[name] = address.as_posix()
    return found
