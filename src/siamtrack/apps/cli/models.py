"""`siamtrack models`: every preset with its size, cost and published score; `siamtrack import`: weights of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from siamtrack.apps.cli.progress import print_columns
from siamtrack.errors import InputError, missing_torch


def models(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """List the presets: family, backbone, parameters, multiply-accumulates a crop, and published scores.

    MACs are counted for one template crop, once a target, and one search crop: a frame, or for families with a
    search pyramid one of its scales. Where a preset chooses between two correlations, UP-XCorr and DW-XCorr, the
    parameters of its proposal head are shown with either. All this is counted with torch; without it the models that
    ship are listed.
    """
    from siamtrack.presets import preset_names

    note = ""
    try:
        counted: dict[str, dict[str, Any]] = {}
        rows = [_row(name, counted) for name in preset_names()]
    except ModuleNotFoundError as error:
        note = str(missing_torch("the list of all presets, with sizes,", error))
        rows = [row for name in preset_names() if (row := _shipped_row(name))]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print(rows, counted=not note)
    if note:
        typer.echo(f"siamtrack: {note}", err=True)


def _shipped_row(name: str) -> dict[str, Any] | None:
    """What an exported model that ships says of itself; nothing is counted."""
    from siamtrack.presets import packaged_export
    from siamtrack.runtime.metadata import read_exported

    path = packaged_export(name)
    if path is None:
        return None
    preset = read_exported(path).preset
    sizes = dict.fromkeys(["parameters", "head_parameters", "macs_template", "macs_search"])
    return {
        "name": name,
        "family": preset["model"]["family"],
        "backbone": preset["model"]["backbone"],
        **sizes,
        "proposal_parameters": {},
        "weights": True,
        "published": preset["published"],
        "description": preset["description"],
    }


def _row(name: str, counted: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a preset costs; `counted` are the costs by network and crops, which many presets share."""
    from dataclasses import asdict

    from siamtrack.config import load_preset
    from siamtrack.presets import packaged_weights
    from siamtrack.zoo.networks import count_cost, proposal_parameters

    preset = load_preset(name)
    key = repr((preset.model, preset.crops))
    if key not in counted:
        counted[key] = {**asdict(count_cost(preset)), "proposal_parameters": proposal_parameters(preset.model)}
    return {
        "name": name,
        "family": preset.model.family,
        "backbone": preset.model.backbone,
        **counted[key],
        "weights": packaged_weights(name) is not None,
        "published": [asdict(score) for score in preset.published],
        "description": preset.description,
    }


def _print(rows: list[dict[str, Any]], counted: bool) -> None:
    sizes = ["params M", "head M", "UP-XCorr M", "DW-XCorr M", "template GMAC", "search GMAC"] if counted else []
    table = [["preset", "family", "backbone", *sizes, "weights", "published"]]
    for row in rows:
        first = row["published"][0] if row["published"] else None
        score = f"{first['benchmark']} {first['metric']} {first['value']:g}" if first else ""
        weights = "yes" if row["weights"] else ""
        heads = row["proposal_parameters"]
        parameters = (row["parameters"], row["head_parameters"], heads.get("up"), heads.get("depthwise"))
        numbers = ["" if count is None else f"{count / 1e6:.2f}" for count in parameters]
        macs = (row[key] for key in ("macs_template", "macs_search"))
        numbers += ["" if count is None else f"{count / 1e9:.2f}" for count in macs]
        table.append([row["name"], row["family"], row["backbone"], *(numbers if counted else []), weights, score])
    print_columns(table, right=range(3, 3 + len(sizes)))


def import_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of plain tensors (.pth, .pt, .model).")],
    source: Annotated[str, typer.Option("--from", metavar="PROJECT", help="pysot, siamcar or siamfc-pytorch.")],
    preset: Annotated[str, typer.Option(help="The published configuration that it belongs to.")],
    out: Annotated[Path, typer.Option(metavar="FILE.safetensors", help="The weights file to write.")],
) -> None:
    """Import a PySOT, SiamCAR or siamfc-pytorch checkpoint.

    Every tensor must find its place and every place its tensor: a checkpoint of another configuration is refused
    with the names that differ. Only plain tensors are read, never code.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"--out expects a file that ends in .safetensors; got {out}")
    if not out.parent.is_dir():
        raise InputError(f"--out: the folder {out.parent} does not exist; make it first")
    from siamtrack.config import load_preset, preset_to_json
    from siamtrack.io import file_sha256
    from siamtrack.models.importing import check_source, import_state_dict, read_checkpoint
    from siamtrack.models.weights import save_weights

    check_source(source)
    chosen = load_preset(preset)
    state = read_checkpoint(checkpoint)
    net = chosen.model.build()
    report = import_state_dict(state, source, net)
    note = {"preset": preset_to_json(chosen), "imported_from": source, "imported_sha256": file_sha256(checkpoint)}
    save_weights(out, net, note, half=False)
    count = sum(parameter.numel() for parameter in net.parameters())
    typer.echo(f"{len(report.names)} tensors, {count:,} parameters of {preset} from {source}")
    if report.transposed:
        typer.echo(f"reshaped: {', '.join(report.transposed)}")
    if report.absent:
        typer.echo(f"not in the checkpoint, left at 0 (counters that nothing reads): {', '.join(report.absent)}")
    typer.echo(f"weights: {out}")
