"""The files that come with the package: weights, and the same models exported."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["packaged_export", "packaged_weights"]


def packaged_weights(name: str) -> Path | None:
    """The weights file that comes with the package for the preset `name`, or None."""
    return _packaged(f"{name}.safetensors")


def packaged_export(name: str) -> Path | None:
    """The exported file (.onnx) that comes with the package for the preset `name`, or None."""
    return _packaged(f"{name}.onnx")


def _packaged(name: str) -> Path | None:
    path = Path(str(resources.files("siamtrack").joinpath("weights", name)))
    return path if path.is_file() else None
