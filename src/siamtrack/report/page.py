"""Writing a report: from stores of results to a folder with the page, its plots, tables and clips."""

from __future__ import annotations

import io
import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from siamtrack import __version__
from siamtrack.arguments import checked
from siamtrack.errors import ConfigError, DataError, InputError, reason, require
from siamtrack.evaluation.scoring import score
from siamtrack.evaluation.store import Store
from siamtrack.io import check_own_page, first_names, utf8, write_whole
from siamtrack.metrics.rules import RULES
from siamtrack.metrics.scores import Scores
from siamtrack.report import tables
from siamtrack.report.clips import write_clips
from siamtrack.report.drawing import DARK, GRID, GROUND, INK, LIGHT, MUTED, Styles, drawing
from siamtrack.report.plots import Plot, difference_plot, find_plots
from siamtrack.report.results import Comparison, Scored, compare, find_differences
from siamtrack.storage import Place, exists, join, list_files, read_json_from

_VARIABLES = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--grid)", GROUND: "var(--panel)"}
"""CSS variables of the page for the colours of a plot that are no tracker's."""


@dataclass(frozen=True)
class WrittenReport:
    """What was written: the page, the number of plots, and the clips."""

    page: Path
    plots: int
    clips: Sequence[Path]


@dataclass(frozen=True)
class RawSource:
    """How to score result files that are in no store: the suite, its annotation and the rules."""

    suite: str
    truth: Path
    rules: str | None = None


@checked
def write_report(
    results: Iterable[Place],
    out: Path,
    *,
    title: str = "Tracking results",
    raw: RawSource | None = None,
    data: Mapping[str, Path] | Path | None = None,
    clips: str = "10",
    tell: Callable[[str], None] = lambda _line: None,
    overwrite: bool = False,
) -> WrittenReport:
    """Write `out`/index.html, table.csv, table.tex, plots/*.png and *.svg, and with `data` clips/<suite>/*.mp4.

    Args:
        results: folders of `siamtrack eval`: OUT, OUT/<tracker> or OUT/<tracker>/<suite>; or raw results.
        out: a folder, made if need be; files of an earlier report in it are replaced.
        title: the page's heading.
        raw: how to score results that are in no store.
        data: the data sets by suite, or that of the one suite that is reported; clips are drawn from their frames.
        clips: the sequences to draw: "all", names between commas, or a number of those that differ most.
        tell: called with a line for each clip, and one for stores that have no scores.
        overwrite: replace a page and tables that siamtrack did not write, too.

    Raises:
        ConfigError: matplotlib or jinja2 is missing, one data set for several suites or one of a suite that is not
            reported, or an unknown sequence.
        DataError: no results, or ones that cannot be read.
        InputError: `out` is a file, or has files of these names that siamtrack did not write.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out expects a folder; '{out}' is a file")
    check_own_page(out, ("table.csv", "table.tex"), overwrite)
    template = _template()
    with drawing():  # missing packages are told before anything is read
        unscored: list[str] = []
        comparisons = compare(read_scored(results, raw, unscored.append))
        suites = sorted({c.suite for c in comparisons})
        if isinstance(data, Path) and len(suites) > 1:
            raise ConfigError(
                f"--data is one data set, but the results are of {', '.join(suites)}; say which: --data {suites[0]}=DIR"
            )
        places = {suites[0]: data} if isinstance(data, Path) else dict(data or {})
        if unknown := sorted(places.keys() - set(suites)):
            raise ConfigError(f"--data {unknown[0]}=DIR: the results are of {', '.join(suites)}")
        styles = Styles(sorted(t.tracker for c in comparisons for t in c.trackers))
        sections = []
        written: list[Path] = []
        for comparison in comparisons:
            place = places.get(comparison.suite)
            made = write_clips(comparison, place, clips, styles, out, tell) if place is not None else {}
            written += [out / address for address in made.values()]
            sections.append(_section(comparison, styles, made, out))
    manifests = [t.manifest for c in comparisons for t in c.trackers]
    page = out / "index.html"
    write_whole(  # before the tables: a run that is killed between them may be given again
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
    write_whole(out / "table.csv", tables.csv_text(comparisons))
    write_whole(out / "table.tex", tables.latex_text(comparisons, styles))
    for line in unscored:
        tell(line)
    plots = sum(len(s["figures"]) + (s["difference_figure"] is not None) for s in sections)
    return WrittenReport(page, plots, written)


def read_scored(
    results: Iterable[Place], raw: RawSource | None = None, tell: Callable[[str], None] = lambda _line: None
) -> list[Scored]:
    """Read stores: each path is the OUT of `siamtrack eval`, OUT/<tracker> or OUT/<tracker>/<suite>.

    With `raw` a path without a store below it holds raw results. Stores without scores, as of suites whose truth is not
    public, are left out where others have some; `tell` is called with a line that names them.

    Raises:
        DataError: no results, results without scores, or a store that cannot be read.
        ConfigError: `raw` names an unknown suite or rules.
    """
    found: dict[Place, Scored] = {}
    unscored: list[Place] = []
    for path in results:
        inside = [name.split("/")[:-1] for name in list_files(path) if PurePosixPath(name).name == "manifest.json"]
        folders = [join(path, *names) for names in inside if len(names) <= 2]
        if not folders and raw is None:
            raise DataError(
                f"{path}: expected results of `siamtrack eval`; there is no manifest.json "
                "(raw results of other programs need --suite and --truth)"
            )
        if not folders and raw is not None:
            files = Path(path)
            name = Path(os.path.realpath(files)).with_suffix("").name
            found[_resolved(path)] = Scored(name, score(raw.suite, raw.truth, files, raw.rules), files)
        for folder in folders:
            if exists(join(folder, "scores.json")):
                found[_resolved(folder)] = _read_store(folder)
            else:
                unscored.append(folder)
    shown = first_names(map(str, unscored), 3)
    if not found:
        raise DataError(
            f"nothing to report: no scores.json ({shown or 'no results were named'}); finish `siamtrack eval` on a "
            "suite whose truth is public"
        )
    if unscored:
        tell(f"left out, without scores: {shown}")
    return _with_unique_names(list(found.values()))


def _resolved(place: Place) -> Place:
    # resolve() raises for a link that leads to itself
    return Path(os.path.realpath(place)) if isinstance(place, Path) else place


def _read_store(folder: Place) -> Scored:
    manifest, tree = read_json_from(join(folder, "manifest.json")), read_json_from(join(folder, "scores.json"))
    speed = join(folder, "speed.json")
    measured = read_json_from(speed) if exists(speed) else {}
    try:
        kind = str(manifest["protocol"]["kind"])
        return Scored(
            str(manifest["tracker"]),
            Scores.from_dict(tree),
            folder,
            kind,
            manifest,
            {str(name): _speed(fps) for name, fps in measured.get("fps", {}).items() if fps is not None},
            _machine(measured),
            Store(folder, kind).failures(),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder}: not as `siamtrack eval` writes it ({reason(error)}); score it again by the same command"
        ) from None


def _speed(fps: Any) -> float:
    if not math.isfinite(found := float(fps)):
        raise ValueError("a speed that is no finite number")
    return found


def _machine(measured: Mapping[str, Any]) -> str:
    """What the content of `speed.json` says of where it was measured."""
    machine = measured.get("machine", {})
    parts = [str(machine.get("processor", "")), str(machine.get("system", ""))]
    parts += [f"{measured[name]} {name}" for name in ("processes", "threads") if name in measured]
    return ", ".join(part for part in parts if part)


def _with_unique_names(found: list[Scored]) -> list[Scored]:
    """Make the names of trackers on one suite unique: by the folder they came from, then by a number.

    Halves of characters, as in a folder's name that is not UTF-8, come escaped: nothing can draw them.
    """

    def key(tracker: Scored) -> tuple[str, str, str]:
        return tracker.scores.suite, tracker.scores.rules, tracker.tracker

    def origin(tracker: Scored) -> str:
        folder = Path(_resolved(tracker.folder))
        # a store lies in OUT/<tracker>/<suite>
        return (folder.parents[1] if tracker.manifest and len(folder.parents) > 1 else folder.parent).name

    found = [replace(t, tracker=utf8(t.tracker).decode()) for t in found]
    count = Counter(map(key, found))
    found = [replace(t, tracker=f"{t.tracker} ({utf8(origin(t)).decode()})") if count[key(t)] > 1 else t for t in found]
    count = Counter(map(key, found))
    return [replace(t, tracker=f"{t.tracker} #{n}") if count[key(t)] > 1 else t for n, t in enumerate(found, 1)]


def _template() -> Any:
    jinja2 = require("jinja2", "a report", "jinja2", "report")
    loader = jinja2.PackageLoader("siamtrack.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")


def _section(comparison: Comparison, styles: Styles, clips: Mapping[str, str], out: Path) -> dict[str, Any]:
    """Write the plots of one suite; return what the template shows of it."""
    differences = find_differences(comparison)
    rule = RULES.get(comparison.rules)
    uneven = []
    if len({frozenset(t.scores.sequences) for t in comparison.trackers}) > 1:  # their means do not compare
        count = {t.tracker: len(t.scores.sequences) for t in comparison.trackers}
        uneven = [f"{name} ({n})" for name, n in count.items() if n < len(comparison.sequences)]
    return {
        "comparison": comparison,
        "source": "" if rule is None else rule.source,
        "uneven": uneven,
        "overview": tables.overview_table(comparison, styles),
        "figures": [_figure(plot, out) for plot in find_plots(comparison, styles)],
        "difference_figure": _figure(difference_plot(comparison, differences), out) if differences else None,
        "differences": tables.difference_table(comparison, differences) if differences else None,
        "attributes": tables.attribute_table(comparison, styles),
        "sequences": tables.sequence_table(comparison, styles, clips),
        "settings": tables.setting_table(comparison, styles),
        "failures": tables.failure_table(comparison, styles),
    }


def _figure(plot: Plot, out: Path) -> dict[str, Any]:
    """Draw a plot, write its PNG, 900 pixels wide, and its SVG; return it as the template shows it."""
    figure, key = plot.draw(), plot.key
    png, svg = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes in the PNG, and right in the browser
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(png, format="png", dpi=180)
        # without date and program equal figures make equal files
        figure.savefig(svg, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    files = {"PNG": f"plots/{key}.png", "SVG": f"plots/{key}.svg"}
    write_whole(out / files["PNG"], png.getvalue())
    write_whole(out / files["SVG"], svg.getvalue())

    # inside the page: no namespaces and metadata, ids that are unique there, and the page's own colours
    document = svg.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", document[document.index("<svg") :], flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="([^"]*)"', head)
    assert box is not None  # matplotlib always writes one
    body = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{key}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", body)
    body = re.sub(rf'(<g id="{key}-patch_1">\s*<path [^>]*?)style="fill: #ffffff"', r'\1fill="none"', body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    for slot, colour in enumerate(LIGHT):
        body = body.replace(colour, f"var(--s{slot})")
    return {"plot": plot, "view_box": box.group(1), "svg": body.rsplit("</svg>", 1)[0], "files": files}
