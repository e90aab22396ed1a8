"""The models that can be loaded by name, and the one way from a name or a file to a `Tracker`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torch

from siamtrack.config import Crops, load_preset, preset_from_json, preset_names
from siamtrack.errors import ConfigError, WeightsError, did_you_mean
from siamtrack.models.folding import fold_norms
from siamtrack.models.siamese import Matcher
from siamtrack.models.weights import load_weights, read_metadata
from siamtrack.tracking.tracker import Tracker, check_device

__all__ = ["DEFAULT_MODEL", "check_crops", "load", "packaged_weights"]

DEFAULT_MODEL = "siamcar_lite0"


def packaged_weights(name: str) -> Path | None:
    """The weights file that comes with the package for the preset `name`, or None."""
    path = Path(str(resources.files("siamtrack").joinpath("weights", f"{name}.safetensors")))
    return path if path.is_file() else None


def load(model: str | Path = DEFAULT_MODEL, device: torch.device | str = "cpu") -> Tracker:
    """A tracker from a packaged model's name, or from a `.safetensors` file that siamtrack wrote.

    Raises:
        ConfigError: an unknown name (the nearest is offered), or a device that is not there.
        WeightsError: no weights for that name, or a file that is corrupt or foreign.
    """
    check_device(device)
    path = Path(model)
    if path.suffix != ".safetensors":
        shipped = [name for name in preset_names() if packaged_weights(name)]
        if str(model) not in preset_names():
            if path.is_file():
                raise WeightsError(f"'{model}' is not a weights file of siamtrack; expected a .safetensors file")
            raise ConfigError(
                f"unknown model '{model}'{did_you_mean(str(model), preset_names())} Expected a model with weights "
                f"({', '.join(shipped) or 'none is packaged'}) or a .safetensors file"
            )
        found = packaged_weights(str(model))
        if found is None:
            raise WeightsError(
                f"no weights come with '{model}'; train or import it, and give the .safetensors file "
                f"(models with weights: {', '.join(shipped)})"
            )
        preset, path = load_preset(str(model)), found
    else:
        stored = read_metadata(path).get("preset")
        if stored is None:
            made = "`siamtrack train` or `siamtrack import`"
            raise WeightsError(f"{path} holds no siamtrack preset; make it with {made}")
        preset = preset_from_json(stored, str(path))
    net = preset.model.build()
    load_weights(path, net)
    fold_norms(net)
    check_crops(net.eval(), preset.crops, str(path))
    return Tracker(net, preset, device)


def check_crops(net: Matcher, crops: Crops, where: str) -> None:
    """Check that a network takes crops of a preset's sizes, by letting it look at one black pair.

    Args:
        net: on the CPU and in evaluation mode.
        crops: the preset's.
        where: the file that both come from.

    Raises:
        WeightsError: a map becomes too small for the next layer, or the correlation has another number of channels.
    """
    template, search = crops.template_crop or crops.template, crops.search
    sizes = torch.full((1, 2), crops.template / 2)
    try:
        with torch.inference_mode():
            features = net.embed(torch.zeros(1, 3, template, template), sizes)
            net.match(features, torch.zeros(1, 3, search, search), sizes)
    except RuntimeError as error:
        raise WeightsError(
            f"{where}: its network does not take crops of {template} (template) and {search} pixels (search); make it "
            f"again with crops that fit its layers ({' '.join(str(error).split())[:200]})"
        ) from None
