"""The tables of the page. A cell shows a rounded number and carries the store's own in `data-value`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from html import escape

from siamtrack.report.bootstrap import LEVEL, RESAMPLES, SEED
from siamtrack.report.chart import Styles
from siamtrack.report.entries import Entry, Group
from siamtrack.report.measures import (
    headline,
    is_loss,
    known_metrics,
    label,
    leading,
    number,
    ranked,
    sequence_metrics,
)
from siamtrack.report.points import Difference

__all__ = [
    "attribute_table",
    "difference_table",
    "failure_table",
    "overview_table",
    "sequence_table",
    "setting_table",
]


def _value_cell(value: float, best: bool = False) -> str:
    if math.isnan(value):
        return '<td class="n" data-value="">–</td>'
    shown = number(value)
    inner = f"<strong>{shown}</strong>" if best else shown
    return f'<td class="n" data-value="{value!r}" title="{value!r}">{inner}</td>'


def _head(text: str, below: str = "", sort: bool = True) -> str:
    small = f"<small>{escape(below)}</small>" if below else ""
    inner = f'<button type="button">{escape(text)}<i></i>{small}</button>' if sort else escape(text) + small
    return f'<th scope="col">{inner}</th>'


def _table(
    caption: str, heads: Iterable[str], rows: Iterable[str], kind: str = "", key: str = "", box: str = "scroll"
) -> str:
    attributes = f' class="{kind}"' if kind else ""
    attributes += f' id="{escape(key)}"' if key else ""
    return (
        # a region that scrolls must be reachable by keyboard
        f'<div class="{box}" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}">'
        f"<table{attributes}><caption>{escape(caption)}</caption>"
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _best(values: Many[float], metric: str, loss: bool) -> float:
    known = [v for v in values if not math.isnan(v)]
    if len(values) < 2 or not known or not leading(metric):
        return math.nan
    return min(known) if loss else max(known)


def _name_cell(tracker: str, styles: Styles) -> str:
    return f'<th scope="row"><span class="chip s{styles.slot(tracker)}"></span>{escape(tracker)}</th>'


def overview_table(group: Group, styles: Styles) -> str:
    """Return the trackers' metrics and speed, ranked."""
    metrics = known_metrics(group)
    losses = {m: is_loss(m, group.rules, metrics) for m in metrics}
    best = {m: _best([e.scores.metrics.get(m, math.nan) for e in group.entries], m, losses[m]) for m in metrics}
    heads = [_head("Tracker"), *(_head(label(m), _name_below(m, losses[m])) for m in metrics)]
    heads += [_head("Speed", "fps"), _head("Network alone", "fps"), _head("With reading", "fps")]
    rows = []
    for entry, _ in ranked(group, headline(group)):
        values = [(entry.scores.metrics.get(m, math.nan), m) for m in metrics]
        cells = [_value_cell(v, v == best[m]) for v, m in values]
        cells += [_value_cell(entry.fps(which)) for which in ("tracker", "network", "end_to_end")]
        rows.append(f"<tr>{_name_cell(entry.tracker, styles)}{''.join(cells)}</tr>")
    return _table(f"{group.suite}: trackers ranked by {label(headline(group))}", heads, rows, "sortable")


def _name_below(metric: str, loss: bool) -> str:
    return f"{metric}, less is better" if loss else metric


def _compared(
    group: Group,
    styles: Styles,
    names: Many[str],
    metrics: Many[str],
    values: Mapping[str, Mapping[str, Mapping[str, float]]],
    links: Mapping[str, str],
) -> tuple[list[str], list[str]]:
    """Return heads and rows of a table with a row for each name and a column for each tracker and metric."""
    entries = [entry for entry, _ in ranked(group, headline(group))]
    heads = [
        f'<th scope="col"><button type="button"><span class="chip s{styles.slot(e.tracker)}"></span>'
        f"{escape(e.tracker)}<i></i><small>{escape(label(m))}</small></button></th>"
        for m in metrics
        for e in entries
    ]
    rows = []
    for name in names:
        cells = []
        for metric in metrics:
            found = [values[e.tracker].get(name, {}).get(metric, math.nan) for e in entries]
            best = _best(found, metric, is_loss(metric, group.rules, metrics))
            cells += [_value_cell(v, v == best) for v in found]
        link = ""
        if links:
            target = links.get(name)
            link = f'<td><a href="{escape(target, quote=True)}">clip</a></td>' if target else "<td>–</td>"
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{link}{"".join(cells)}</tr>')
    return heads, rows


def sequence_table(group: Group, styles: Styles, clips: Mapping[str, str], key: str) -> str:
    """Return every sequence with each tracker's metrics; `clips` maps a sequence to its video's address."""
    metrics = sequence_metrics(group)
    values = {e.tracker: e.scores.sequences for e in group.entries}
    heads, rows = _compared(group, styles, group.sequences, metrics, values, clips)
    first = [_head("Sequence")] + ([_head("Clip", sort=False)] if clips else [])
    caption = f"{group.suite}: {len(rows)} sequences, the best value of each in bold"
    return _table(caption, [*first, *heads], rows, "sortable", key, "scroll tall")


def attribute_table(group: Group, styles: Styles) -> str:
    """Return every attribute with each tracker's metrics, "" where there are none."""
    if not group.attributes:
        return ""
    known = list(dict.fromkeys(m for e in group.entries for values in e.scores.attributes.values() for m in values))
    metrics = sorted(known, key=lambda m: (m != headline(group), known.index(m)))[:3]
    values = {e.tracker: e.scores.attributes for e in group.entries}
    heads, rows = _compared(group, styles, group.attributes, metrics, values, {})
    return _table(f"{group.suite}: attributes", [_head("Attribute"), *heads], rows, "sortable")


def difference_table(group: Group, metric: str, differences: Many[Difference]) -> str:
    """Return the differences between trackers with their intervals and how they were made."""
    rows = []
    for found in differences:
        interval = found.interval
        verdict = "leaves out zero" if interval.clear else "holds zero"
        names = f"{escape(found.first)} − {escape(found.second)}"
        rows.append(
            f'<tr><th scope="row">{names}</th>{_value_cell(interval.mean)}{_value_cell(interval.low)}'
            f'{_value_cell(interval.high)}<td class="n">{interval.sequences}</td><td>{verdict}</td></tr>'
        )
    heads = [_head(t, sort=False) for t in ("Trackers", "Difference", "From", "To", "Sequences (n)", "Interval")]
    caption = (
        f"{label(metric)}, mean over sequences: {LEVEL:.0%} percentile intervals of a paired bootstrap over "
        f"sequences, {RESAMPLES} resamples, seed {SEED}"
    )
    return _table(caption, heads, rows)


def _machine(entry: Entry) -> str:
    machine = entry.speed.get("machine", {})
    parts = [str(machine.get("processor", "")), str(machine.get("system", ""))]
    parts += [f"{entry.speed[k]} {k}" for k in ("processes", "threads") if k in entry.speed]
    return ", ".join(part for part in parts if part) or "–"


def _short_hash(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return ", ".join(str(v)[:12] for v in values if v) or "–"


def setting_table(group: Group, styles: Styles) -> str:
    """Return what each tracker's results depend on: versions, hashes, device, seed and machine."""
    titles = (
        "Tracker",
        "siamtrack",
        "Device",
        "Preset",
        "Weights",
        "Seed",
        "Protocol",
        "Sequences",
        "Speed measured on",
    )
    rows = []
    for entry in group.entries:
        held = entry.manifest
        cells = [
            str(held.get("version", "–")),
            str(held.get("device", "–")),
            entry.preset_hash or "–",
            _short_hash(held.get("weights")),
            str(held.get("seed", "–")),
            str(held.get("protocol", {}).get("settings", "raw results, scored for this page")),
            str(len(entry.scores.sequences)),
            _machine(entry),
        ]
        inner = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f"<tr>{_name_cell(entry.tracker, styles)}{inner}</tr>")
    caption = f"{group.suite}: what the results were made with (hashes: first 12 digits of SHA-256)"
    return _table(caption, [_head(t, sort=False) for t in titles], rows, "settings")


def failure_table(group: Group, styles: Styles) -> str:
    """Return the sequences that were not finished or left out of the scores, "" where there are none."""
    rows = []
    for entry in group.entries:
        told = {f.sequence: f"{f.kind}: {f.message}" for f in entry.failures}
        told |= {name: "left out" for name in entry.scores.left_out if name not in told}
        for name, why in told.items():
            cells = f"<td>{escape(name)}</td><td>{escape(why)}</td>"
            rows.append(f"<tr>{_name_cell(entry.tracker, styles)}{cells}</tr>")
    if not rows:
        return ""
    heads = [_head(t, sort=False) for t in ("Tracker", "Sequence", "Why")]
    return _table(f"{group.suite}: sequences that are missing from the scores", heads, rows, "settings")
