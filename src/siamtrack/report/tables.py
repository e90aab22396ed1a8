"""The tables of a report, to be shown on the page or written as CSV and LaTeX."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from siamtrack.report.drawing import Styles
from siamtrack.report.results import LEVEL, RESAMPLES, SEED, Comparison, Difference, is_loss, label, number

_SPEEDS = {"tracker": "Speed", "network": "Network alone", "end_to_end": "With reading"}
_NO_ORDER = {"threshold", "n_valid", "length"}  # metrics that do not say who is better


@dataclass(frozen=True)
class Cell:
    """Text, an address, or a number: its text is rounded, `value` is the store's own, nan for none."""

    text: str
    value: float | None = None
    best: bool = False
    href: str = ""


@dataclass(frozen=True)
class Head:
    """The head of a column, a small line below it, and its tracker's colour."""

    text: str
    below: str = ""
    slot: int | None = None
    sortable: bool = True


@dataclass(frozen=True)
class Row:
    """A row's name, its cells, and its tracker's colour."""

    name: str
    cells: Sequence[Cell]
    slot: int | None = None


@dataclass(frozen=True)
class Table:
    """A table; `kind` is its CSS class, `key` its id in the page, a `tall` one scrolls by itself."""

    caption: str
    heads: Sequence[Head]
    rows: Sequence[Row]
    kind: str = ""
    key: str = ""
    tall: bool = False


def _number(value: float, best: float = math.nan) -> Cell:
    return Cell(number(value), value, value == best)


def _best(values: Sequence[float], metric: str, comparison: Comparison, beside: Sequence[str]) -> float:
    """The best of several values; nan where there is nothing to compare."""
    known = [v for v in values if not math.isnan(v)]
    if len(values) < 2 or not known or metric in _NO_ORDER:
        return math.nan
    return min(known) if is_loss(metric, comparison.rules, beside) else max(known)


def _plain_heads(*texts: str) -> list[Head]:
    return [Head(text, sortable=False) for text in texts]


def overview_table(comparison: Comparison, styles: Styles) -> Table:
    """Return the trackers' metrics and speed, ranked."""
    metrics = comparison.metrics
    heads = [Head("Tracker")]
    for m in metrics:
        heads.append(Head(label(m), m + (", less is better" if is_loss(m, comparison.rules, metrics) else "")))
    heads += [Head(text, "fps") for text in _SPEEDS.values()]
    best = {m: _best([t.metric(m) for t in comparison.trackers], m, comparison, metrics) for m in metrics}
    rows = []
    for tracker, _ in comparison.ranked(comparison.headline):
        cells = [_number(tracker.metric(m), best[m]) for m in metrics]
        cells += [_number(tracker.fps(which)) for which in _SPEEDS]
        rows.append(Row(tracker.tracker, cells, styles.slot(tracker.tracker)))
    return Table(f"{comparison.suite}: trackers ranked by {label(comparison.headline)}", heads, rows, "sortable")


def _compare_rows(
    comparison: Comparison,
    styles: Styles,
    metrics: Sequence[str],
    names: Sequence[str],
    values: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> tuple[list[Head], list[Row]]:
    """Return a row for each name and a column for each metric and tracker; `values` by tracker, name and metric."""
    order = [tracker.tracker for tracker, _ in comparison.ranked(comparison.headline)]
    heads = [Head(t, label(m), styles.slot(t)) for m in metrics for t in order]
    rows = []
    for name in names:
        cells = []
        for m in metrics:
            found = [values[t].get(name, {}).get(m, math.nan) for t in order]
            best = _best(found, m, comparison, metrics)
            cells += [_number(value, best) for value in found]
        rows.append(Row(name, cells))
    return heads, rows


def sequence_table(comparison: Comparison, styles: Styles, clips: Mapping[str, str]) -> Table:
    """Return every sequence with each tracker's metrics; `clips` maps a sequence to its video's address."""
    values = {t.tracker: t.scores.sequences for t in comparison.trackers}
    heads, rows = _compare_rows(comparison, styles, comparison.sequence_metrics, comparison.sequences, values)
    if clips:
        heads = [Head("Clip", sortable=False), *heads]
        links = [Cell("clip", href=clips[row.name]) if row.name in clips else Cell("–") for row in rows]
        rows = [Row(row.name, [link, *row.cells]) for row, link in zip(rows, links, strict=True)]
    caption = f"{comparison.suite}: {len(rows)} sequences, the best value of each in bold"
    return Table(caption, [Head("Sequence"), *heads], rows, "sortable", f"{comparison.key}-sequences", tall=True)


def attribute_table(comparison: Comparison, styles: Styles) -> Table:
    """Return every attribute with each tracker's metrics."""
    values = {t.tracker: t.scores.attributes for t in comparison.trackers}
    metrics = comparison.attribute_metrics[:3]
    heads, rows = _compare_rows(comparison, styles, metrics, comparison.attributes, values)
    return Table(f"{comparison.suite}: attributes", [Head("Attribute"), *heads], rows, "sortable")


def difference_table(comparison: Comparison, differences: Sequence[Difference]) -> Table:
    """Return the differences between trackers with their intervals."""
    rows = []
    for found in differences:
        interval = found.interval
        cells = [_number(interval.mean), _number(interval.low), _number(interval.high)]
        cells += [Cell(str(interval.sequences)), Cell("leaves out zero" if interval.clear else "holds zero")]
        rows.append(Row(f"{found.first} − {found.second}", cells))
    caption = (
        f"{label(comparison.sequence_metrics[0])}, mean over sequences: {LEVEL:.0%} percentile intervals of a paired "
        f"bootstrap over sequences, {RESAMPLES} resamples, seed {SEED}"
    )
    return Table(caption, _plain_heads("Trackers", "Difference", "From", "To", "Sequences (n)", "Interval"), rows)


def setting_table(comparison: Comparison, styles: Styles) -> Table:
    """Return what each tracker's results depend on: versions, hashes, device, seed and machine.

    A preset's hash is taken of its sorted, compact JSON.
    """
    titles = "Tracker", "siamtrack", "Device", "Preset", "Weights", "Seed", "Protocol", "Sequences", "Speed measured on"
    rows = []
    for tracker in comparison.trackers:
        held = tracker.manifest
        weights = held.get("weights")
        hashes = [str(v)[:12] for v in (weights if isinstance(weights, list) else [weights]) if v]
        preset = ""
        if held.get("preset") is not None:
            text = json.dumps(held["preset"], sort_keys=True, separators=(",", ":"))
            preset = hashlib.sha256(text.encode()).hexdigest()[:12]
        cells = [
            str(held.get("version", "–")),
            str(held.get("device", "–")),
            preset or "–",
            ", ".join(hashes) or "–",
            str(held.get("seed", "–")),
            str(held.get("protocol", {}).get("settings", "raw results, scored for this page")),
            str(len(tracker.scores.sequences)),
            tracker.machine or "–",
        ]
        rows.append(Row(tracker.tracker, [Cell(text) for text in cells], styles.slot(tracker.tracker)))
    caption = f"{comparison.suite}: what the results were made with (hashes: first 12 digits of SHA-256)"
    return Table(caption, _plain_heads(*titles), rows, "settings")


def failure_table(comparison: Comparison, styles: Styles) -> Table:
    """Return the sequences that were not finished or left out of the scores."""
    rows = []
    for tracker in comparison.trackers:
        why = {f.sequence: f"{f.kind}: {f.message}" for f in tracker.failures}
        for name in [*why, *(name for name in tracker.scores.left_out if name not in why)]:
            cells = [Cell(name), Cell(why.get(name, "left out"))]
            rows.append(Row(tracker.tracker, cells, styles.slot(tracker.tracker)))
    caption = f"{comparison.suite}: sequences that are missing from the scores"
    return Table(caption, _plain_heads("Tracker", "Sequence", "Why"), rows, "settings")


def csv_text(comparisons: Sequence[Comparison]) -> str:
    """Return all trackers' metrics and speeds as CSV, a row for each suite, rules and tracker, unrounded."""
    metrics = list(dict.fromkeys(m for c in comparisons for m in c.metrics))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["suite", "rules", "tracker", *metrics, *(f"fps_{which}" for which in _SPEEDS)])
    for comparison in comparisons:
        for tracker, _ in comparison.ranked(comparison.headline):
            values = [tracker.metric(m) for m in metrics] + [tracker.fps(which) for which in _SPEEDS]
            cells = ["" if math.isnan(v) else repr(v) for v in values]
            writer.writerow([comparison.suite, comparison.rules, tracker.tracker, *cells])
    return text.getvalue()


def latex_text(comparisons: Sequence[Comparison], styles: Styles) -> str:
    """Return a LaTeX table for each suite, for the package booktabs; the best values are bold."""
    lines = ["% needs \\usepackage{booktabs}"]
    for comparison in comparisons:
        table = overview_table(comparison, styles)
        heads = [_latex(head.text) for head in table.heads[: 1 - len(_SPEEDS)]]
        lines += ["", f"% {comparison.suite} by {comparison.rules} rules".replace("\n", " ")]
        lines += ["\\begin{tabular}{l" + "r" * (len(heads) - 1) + "}", "\\toprule"]
        lines += [" & ".join(heads) + " \\\\", "\\midrule"]
        for row in table.rows:
            cells = [f"\\textbf{{{c.text}}}" if c.best else c.text for c in row.cells[: len(heads) - 1]]
            lines.append(" & ".join([_latex(row.name), *(cell.replace("−", "$-$") for cell in cells)]) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex(text: str) -> str:
    """Escape what LaTeX takes for a command."""
    special = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
