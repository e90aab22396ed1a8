"""Models as networks of torch: found by name, opened with their weights, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from siamtrack.arguments import checked
from siamtrack.config import Preset, changed_preset, load_preset, preset_from_json
from siamtrack.errors import ConfigError, WeightsError
from siamtrack.models.families import Family
from siamtrack.models.frozen import freeze
from siamtrack.models.heads import Correlation, RpnHead
from siamtrack.models.siamese import Matcher
from siamtrack.models.weights import fold_norms, load_weights, read_metadata
from siamtrack.presets import check_name, packaged_weights
from siamtrack.tracking.state import start, step
from siamtrack.tracking.torch_engine import TorchEngine, check_device
from siamtrack.zoo.hub import HUB, fetch_model


@checked
def open_network(
    model: str | Path,
    device: torch.device | str = "cpu",
    preset: str | Path | Preset | None = None,
    settings: Mapping[str, Any] | None = None,
    precision: torch.dtype = torch.float32,
) -> TorchEngine:
    """Load a model's network with its weights and settings; arguments and errors as `siamtrack.load`."""
    check_device(device)
    stored, path = find_model(model)
    chosen = stored
    if preset is not None:
        chosen = preset if isinstance(preset, Preset) else load_preset(preset)
        if chosen.model.family != stored.model.family:
            raise ConfigError(
                f"the preset '{chosen.name}' is of the family {chosen.model.family}, the weights are of "
                f"{stored.model.family}; give a preset of that family"
            )
    if settings:
        for key in settings:
            if key.partition(".")[0] in ("data", "train", "name", "description", "published"):
                raise ConfigError(f"'{key}' has no effect on a trained model; expected model.*, crops.* or track.*")
        chosen = changed_preset(chosen, settings, "settings")
    net = chosen.model.build()
    load_weights(path, net)
    fold_norms(net)
    _check_step(net.eval(), chosen, str(path))
    freeze(net, precision)
    return TorchEngine(net, chosen, device)


def find_model(model: str | Path) -> tuple[Preset, Path]:
    """The preset that belongs to a model, and its weights file; `model` as in `load`.

    Raises:
        ConfigError: an unknown name.
        WeightsError: no weights for that name, or a file that is not siamtrack's.
    """
    path = fetch_model(str(model)) if str(model).startswith(HUB) else Path(model)
    if path.suffix == ".safetensors":
        stored = read_metadata(path).get("preset")
        if stored is None:
            raise WeightsError(
                f"{path} holds no siamtrack preset; make it with `siamtrack train` or `siamtrack import`"
            )
        return preset_from_json(stored, str(path)), path
    check_name(model)
    found = packaged_weights(str(model))
    assert found is not None, "its name has been checked"
    return load_preset(str(model)), found


def _check_step(net: Matcher, preset: Preset, where: str) -> None:
    """Run a first step on a black frame.

    Raises:
        WeightsError: the network's layers do not take crops of these sizes.
        ConfigError: its candidates do not fit the preset's way of selecting.
    """
    crops, black = preset.crops, np.zeros((64, 64, 3), np.uint8)
    try:
        step(net, preset, black, start(net, preset, black, (16, 16, 32, 32)))
    except RuntimeError as error:
        raise WeightsError(
            f"{where}: its network does not take crops of {crops.template_side} (template) and {crops.search} pixels "
            f"(search); make it again with crops that fit its layers ({' '.join(str(error).split())[:200]})"
        ) from None


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulates of convolutions, correlations and matrix products.

    Attributes:
        parameters: of the whole network; statistics of BatchNorm are not among them.
        head_parameters: of what comes after backbone and neck.
        macs_template: of one template crop, once for each target.
        macs_search: of one search crop: a frame, or one scale of a search pyramid.
    """

    parameters: int
    head_parameters: int
    macs_template: int
    macs_search: int


def count_cost(preset: Preset) -> Cost:
    """Count a preset's network at the sizes of its crops, from shapes alone: nothing is computed."""
    crops = preset.crops
    # On the meta device tensors have shapes and no values.
    with torch.device("meta"), torch.inference_mode():
        net = preset.model.build().eval()
        counts = _parameters(net), _parameters(net.head)
        _leave_out_norms(net)
        sizes = torch.empty(1, 2)
        with FlopCounterMode(display=False) as embedding:
            template = net.embed(torch.empty(1, 3, *[crops.template_side] * 2), sizes)
        with FlopCounterMode(display=False) as matching:
            net.match(template, torch.empty(1, 3, crops.search, crops.search), sizes)
    # The counter counts a multiplication and an addition as two.
    macs = (counter.get_total_flops() // 2 for counter in (embedding, matching))
    return Cost(*counts, *macs)


def _leave_out_norms(net: nn.Module) -> None:
    """Put nothing in the place of each BatchNorm: none of its work is counted, and its shapes take half of the time."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())


def proposal_parameters(model: Family) -> dict[str, int]:
    """Parameters of the proposal head with either correlation, whichever the model has (SiamRPN++, section 3.4).

    By `model.correlation`, "up" and "depthwise"; empty for families without that choice.
    """
    if not hasattr(model, "correlation") or getattr(model, "correlations", False):
        return {}
    counted = {}
    with torch.device("meta"):
        for kind in get_args(Correlation):
            net = replace(model, correlation=kind).build()
            counted[kind] = sum(_parameters(part) for part in net.modules() if isinstance(part, RpnHead))
    return counted


def _parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())
