"""`siamtrack models`: every preset with its size, its cost, and what its authors published for it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

__all__ = ["models"]


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the presets: family, backbone, parameters, multiply-accumulates a crop, and published scores.

    MACs are those of one template crop, once a target, and of one search crop: a frame, or for families with a
    search pyramid one of its scales. Where a preset chooses between two correlations, UP-XCorr and DW-XCorr, the
    parameters of its proposal head are shown with either.
    """
    from siamtrack.config import preset_names

    rows = [_row(name) for name in preset_names()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print(rows)


def _row(name: str) -> dict[str, Any]:
    from dataclasses import asdict

    from siamtrack.config import load_preset
    from siamtrack.zoo import count_cost, packaged_weights, proposal_parameters

    preset = load_preset(name)
    return {
        "name": name,
        "family": preset.model.family,
        "backbone": preset.model.backbone,
        **asdict(count_cost(preset)),
        "proposal_parameters": proposal_parameters(preset.model),
        "weights": packaged_weights(name) is not None,
        "published": [asdict(score) for score in preset.published],
        "description": preset.description,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    """Print plain aligned columns, which survive a pipe."""
    counted = ["params M", "head M", "UP-XCorr M", "DW-XCorr M", "template GMAC", "search GMAC"]
    table = [["preset", "family", "backbone", *counted, "weights", "published"]]
    for row in rows:
        first = row["published"][0] if row["published"] else None
        score = f"{first['benchmark']} {first['metric']} {first['value']:g}" if first else ""
        weights = "yes" if row["weights"] else ""
        table.append([row["name"], row["family"], row["backbone"], *_numbers(row), weights, score])
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        cells = [
            cell.rjust(width) if 3 <= i < 3 + len(counted) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


def _numbers(row: dict[str, Any]) -> list[str]:
    """Millions of parameters: all, the head's, the proposal head's with either correlation; GMACs a crop."""
    heads = row["proposal_parameters"]
    parameters = (row["parameters"], row["head_parameters"], heads.get("up"), heads.get("depthwise"))
    millions = ["" if count is None else f"{count / 1e6:.2f}" for count in parameters]
    return [*millions, *(f"{row[key] / 1e9:.2f}" for key in ("macs_template", "macs_search"))]
