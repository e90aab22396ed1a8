"""ImageNet weights in torchvision's format for our ResNets and MobileNetV2.

Our networks differ from torchvision's in two ways, and both are taken care of without changing what the
weights compute. Shortcuts that change resolution or dilation are 3 x 3 convolutions: the 1 x 1 weights become
their middle, which lies where the block's own 3 x 3 convolution looks. The ResNets read BGR in 0..255: the
normalisation moves into the first convolution and its BatchNorm's mean, exactly, as there is no padding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.models.backbones.mobilenet import MobileNetV2
from siamtrack.models.backbones.resnet import ResNet
from siamtrack.models.weights import check_state

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "load_torchvision"]

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

# What torchvision's networks have behind the levels of a feature extractor.
_BEYOND = {ResNet: r"layer[2-4]\..*|fc\..*", MobileNetV2: r"features\.\d+\..*|classifier\..*"}


def load_torchvision(backbone: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Copy torchvision's ImageNet weights into a backbone, as far as its levels reach.

    Args:
        backbone: a `ResNet`, or a `MobileNetV2` with torchvision's first block and width.
        state: torchvision's state dict of the same depth and width.
        name: what to call the state dict in errors.

    Raises:
        ConfigError: a backbone of another kind.
        WeightsError: tensors that are missing, unknown or of another shape; the message names them.
    """
    beyond = _BEYOND.get(type(backbone))
    if beyond is None:
        raise ConfigError(f"torchvision's weights fit ResNet and MobileNetV2; got {type(backbone).__name__}")
    wanted = backbone.state_dict()
    tensors = {key: value for key, value in state.items() if key in wanted or not re.fullmatch(beyond, key)}
    if isinstance(backbone, ResNet):
        tensors = {key: _widened(value, wanted.get(key)) for key, value in tensors.items()}
    check_state(tensors, backbone, name)
    if isinstance(backbone, ResNet):
        tensors |= _raw_input(tensors["conv1.weight"], tensors["bn1.running_mean"])
    backbone.load_state_dict(tensors)


def _widened(value: Tensor, like: Tensor | None) -> Tensor:
    """A 1 x 1 kernel as the middle of a 3 x 3 one, where that is wanted."""
    if like is None or value.ndim != 4 or value.shape[-1] != 1 or like.shape[-1] != 3:
        return value
    wide = value.new_zeros(*value.shape[:2], 3, 3)
    wide[..., 1:2, 1:2] = value
    return wide


def _raw_input(kernel: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """First convolution and BatchNorm mean for BGR 0..255 instead of normalised RGB."""
    scaled = kernel / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    constant = (scaled.sum((2, 3)) * torch.tensor(IMAGENET_MEAN)).sum(1)
    return {"conv1.weight": scaled.flip(1), "bn1.running_mean": mean + constant}
