"""`siamtrack export`: a model as one file that is the whole tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from siamtrack.apps.cli.options import PresetName, Settings, parse_settings
from siamtrack.errors import InputError, is_installed, missing_extra, require
from siamtrack.runtime.metadata import Precision

_SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}


def export_command(
    model: Annotated[str, typer.Argument(help="A shipped model's name or a weights file.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The file to write: .onnx, or .xml for OpenVINO; for hub a new folder.")
    ],
    format: Annotated[  # noqa: A002 (the option's name)
        Literal["onnx", "openvino", "hub"],
        typer.Option(help="The file's format; hub: a folder for the Hugging Face Hub, with a model card."),
    ] = "onnx",
    precision: Annotated[Precision, typer.Option(help="Numbers that the network computes with.")] = "float32",
    calibrate: Annotated[
        str | None, typer.Option(metavar="VIDEO|FOLDER", help="Frames like those to be tracked in, for int8.")
    ] = None,
    preset: PresetName = None,
    settings: Settings = None,
) -> None:
    """Write a model as one file that is the whole tracker: frames in, boxes out.

    The file runs in ONNX Runtime and OpenVINO, in Python, C++ and in a browser, without siamtrack and PyTorch;
    docs/deploy.md describes its inputs and outputs, and so does the file itself.
    """
    if format == "hub":
        _export_repository(model, out, preset or settings or calibrate, precision)
        return
    if out.suffix != _SUFFIX[format]:
        other = next((f"; --format {name} writes {ends}" for name, ends in _SUFFIX.items() if ends == out.suffix), "")
        raise InputError(f"--out expects a file that ends in {_SUFFIX[format]} for {format}; got {out}{other}")
    if not out.parent.is_dir():
        raise InputError(f"--out: the folder {out.parent} does not exist; make it first")
    if (precision == "int8") != (calibrate is not None):
        raise InputError("--precision int8 and --calibrate VIDEO|FOLDER go together")
    from siamtrack.io import check_writable, read_bytes, write_whole
    from siamtrack.presets import packaged_export

    shipped = packaged_export(model)
    if shipped and (format, precision, preset, settings) == ("onnx", "float32", None, None):
        write_whole(out, read_bytes(shipped))  # what an export writes again, byte for byte
        typer.echo(f"{out}: {shipped.stat().st_size / 1e6:.1f} MB")
        return
    check_model(model)
    if format == "openvino" and not is_installed("openvino"):
        raise missing_extra("--format openvino", "openvino")
    from siamtrack.export import export_model, write_openvino
    from siamtrack.video.reader import open_source

    check_writable(out)
    changes = parse_settings(settings or [])
    if calibrate is None:
        made = export_model(model, preset, changes, precision)
    else:
        with open_source(calibrate) as frames:
            made = export_model(model, preset, changes, precision, frames)
    if format == "openvino":
        write_openvino(made, out, half=precision == "float16")
    else:
        write_whole(out, made.SerializeToString())
    typer.echo(f"{out}: {sum(p.stat().st_size for p in {out, out.with_suffix('.bin')} if p.is_file()) / 1e6:.1f} MB")


def _export_repository(model: str, out: Path, changes: object, precision: Precision) -> None:
    """Write a model's weights, the same exported, and a card into a new folder."""
    if changes or precision != "float32":
        raise InputError("--format hub writes a model as it is: leave out --preset, --set, --precision and --calibrate")
    check_model(model)
    from siamtrack.export import export_model
    from siamtrack.io import check_writable, read_bytes, write_whole
    from siamtrack.models.weights import read_metadata
    from siamtrack.presets import packaged_export, weights_licence
    from siamtrack.zoo.card import render_card
    from siamtrack.zoo.networks import find_model

    preset, path = find_model(model)
    own = {f"{preset.name}.safetensors", f"{preset.name}.onnx"}  # the card comes last: with these alone it was killed
    if out.exists() and not (out.is_dir() and all(p.name in own or p.name[:6] == ".part-" for p in out.iterdir())):
        raise InputError(f"--out: '{out}' is there already; --format hub makes a new folder")
    check_writable(out / "README.md")
    shipped = packaged_export(model)  # what an export writes again, byte for byte
    files = {
        f"{preset.name}.safetensors": read_bytes(path),
        f"{preset.name}.onnx": read_bytes(shipped) if shipped else export_model(model).SerializeToString(),
    }
    sizes = {name: len(data) for name, data in files.items()}
    card = render_card(preset, read_metadata(path), sizes, weights_licence(path).lower())
    for name, data in {**files, "README.md": card}.items():
        write_whole(out / name, data)
    typer.echo(f"{out}: {', '.join(files)} and README.md")
    typer.echo(f"fill in the card, then: hf upload OWNER/{preset.name} {out}; load it as hf:OWNER/{preset.name}")


def check_model(model: str) -> None:
    """Raise `ConfigError` or `WeightsError` for no model, and only then for packages that are missing."""
    from siamtrack.presets import check_name
    from siamtrack.zoo.hub import HUB

    if not model.startswith(HUB) and Path(model).suffix != ".safetensors":
        check_name(model)
    if not all(is_installed(package) for package in ("torch", "safetensors", "onnx", "onnxscript")):
        raise missing_extra("an export", "export")
    require("cv2", "an export", "opencv-python-headless", "opencv")
