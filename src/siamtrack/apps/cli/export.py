"""`siamtrack export`: a model as one file that is the whole tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from siamtrack.apps.cli.options import PresetName, Settings, parse_settings
from siamtrack.errors import InputError

__all__ = ["export_command"]


def export_command(
    model: Annotated[str, typer.Argument(help="A shipped model's name or a weights file.")],
    out: Annotated[Path, typer.Option(metavar="FILE.onnx", help="The file to write.")],
    preset: PresetName = None,
    settings: Settings = None,
) -> None:
    """Write a model as one ONNX file that is the whole tracker: frames in, boxes out.

    The file runs in ONNX Runtime and OpenVINO, in Python, C++ and in a browser, without siamtrack and PyTorch;
    docs/deploy.md describes its inputs and outputs, and so does the file itself.
    """
    if out.suffix != ".onnx":
        raise InputError(f"--out expects a file that ends in .onnx; got {out}")
    if not out.parent.is_dir():
        raise InputError(f"--out: the folder {out.parent} does not exist; make it first")
    from siamtrack.export import export_model
    from siamtrack.io import write_whole

    data = export_model(model, preset, parse_settings(settings or [])).SerializeToString()
    write_whole(out, data)
    typer.echo(f"{out}: {len(data) / 1e6:.1f} MB")
