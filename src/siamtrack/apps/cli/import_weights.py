"""`siamtrack import`: turn a checkpoint of another project into weights that siamtrack loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from siamtrack.errors import InputError

__all__ = ["import_command"]


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
