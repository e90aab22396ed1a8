"""Presets: one TOML file for each published tracker and each shipped model; and the files of those that ship.

Needs no torch.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from siamtrack.errors import ConfigError, WeightsError, did_you_mean

DEFAULT_MODEL = "spmcar_lite0"
"""The packaged model that is loaded where none is named."""


def preset_names() -> list[str]:
    """Names of the presets that come with the package, sorted."""
    files = resources.files("siamtrack.presets").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def packaged_weights(name: str) -> Path | None:
    """The weights file that comes with the package for the preset `name`, or None."""
    return _packaged(f"{name}.safetensors")


def packaged_export(name: str) -> Path | None:
    """The exported file (.onnx) that comes with the package for the preset `name`, or None."""
    return _packaged(f"{name}.onnx")


def weights_licence(path: Path) -> str:
    """The licence of a weights file, as an SPDX identifier; "" for files that did not come with the package."""
    return "Apache-2.0" if packaged_weights(path.stem) == path else ""


def _packaged(name: str) -> Path | None:
    path = Path(str(resources.files("siamtrack").joinpath("weights", name)))
    return path if os.path.isfile(path) else None  # noqa: PTH113 - false for a name that is too long, too


def check_name(model: str | Path) -> None:
    """Check the name of a model that is no `.safetensors` file.

    Raises:
        ConfigError: an unknown name; the nearest is offered.
        WeightsError: a preset without weights, or another kind of file.
    """
    names, path = preset_names(), Path(model)
    shipped = [name for name in names if packaged_weights(name)]
    if str(model) not in names:
        if os.path.isfile(path):  # noqa: PTH113
            raise WeightsError(f"'{model}' is not a weights file of siamtrack; expected a .safetensors file")
        raise ConfigError(
            f"unknown model '{model}'{did_you_mean(str(model), shipped)} Expected a model with weights "
            f"({', '.join(shipped) or 'none is packaged'}) or a .safetensors file"
        )
    if str(model) not in shipped:
        raise WeightsError(
            f"no weights come with '{model}'; train or import it, and give the .safetensors file "
            f"(models with weights: {', '.join(shipped)})"
        )
