"""Backbones: feature extractors shared by template and search region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from siamtrack.errors import ConfigError, look_up
from siamtrack.models.backbones.alexnet import AlexNet
from siamtrack.models.backbones.efficientnet import EfficientNetLite
from siamtrack.models.backbones.mobilenet import MobileNetV2
from siamtrack.models.backbones.resnet import ResNet
from siamtrack.models.siamese import Backbone, Normalise

_Triple = tuple[float, float, float]


@dataclass(frozen=True)
class _Entry:
    """How a backbone is built, and what its first convolution expects."""

    build: Callable[[tuple[int, ...]], Backbone]
    mean: _Triple = (0.0, 0.0, 0.0)
    std: _Triple = (1.0, 1.0, 1.0)
    bgr: bool = False


IMAGENET_MEAN: _Triple = (123.675, 116.28, 103.53)
IMAGENET_STD: _Triple = (58.395, 57.12, 57.375)
_TENSORFLOW: tuple[_Triple, _Triple] = ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0))

# PySOT's and SiamCAR's networks read BGR as OpenCV decodes it, SiamFC's RGB, all of them 0..255.
_ENTRIES = {
    "alexnet": _Entry(AlexNet, bgr=True),
    "alexnet_relu": _Entry(partial(AlexNet, last_relu=True), bgr=True),
    "alexnet_padded": _Entry(partial(AlexNet, padded=True), bgr=True),
    "alexnet_siamfc": _Entry(partial(AlexNet, groups=2, last_norm=False, eps=1e-6)),
    "resnet18": _Entry(partial(ResNet, 18), bgr=True),
    "resnet34": _Entry(partial(ResNet, 34), bgr=True),
    "resnet50": _Entry(partial(ResNet, 50), bgr=True),
    "mobilenetv2": _Entry(MobileNetV2, IMAGENET_MEAN, IMAGENET_STD),
    "mobilenetv2_140": _Entry(partial(MobileNetV2, width=1.4, expand_first=True), bgr=True),
    "efficientnet_lite0": _Entry(partial(EfficientNetLite, 0), *_TENSORFLOW),
    "efficientnet_lite0_short": _Entry(partial(EfficientNetLite, 0, short=True), *_TENSORFLOW),
    "efficientnet_lite1": _Entry(partial(EfficientNetLite, 1), *_TENSORFLOW),
    "efficientnet_lite2": _Entry(partial(EfficientNetLite, 2), *_TENSORFLOW),
}


def backbone_names() -> list[str]:
    """Names that `build_backbone` knows, sorted."""
    return sorted(_ENTRIES)


def build_backbone(name: str, levels: tuple[int, ...]) -> Backbone:
    """A backbone with random weights.

    Args:
        name: "alexnet" (SiamRPN), "alexnet_relu" (SA-Siam's S-Net: ReLU after conv5), "alexnet_padded" (SPM-Tracker),
            "alexnet_siamfc" (SiamFC: grouped), "resnet18", "resnet34", "resnet50", "mobilenetv2" (torchvision's),
            "mobilenetv2_140" (PySOT's, 1.4 times as wide), "efficientnet_lite0", "efficientnet_lite1",
            "efficientnet_lite2" or "efficientnet_lite0_short" (conv4 without its second stage).
        levels: which of conv2..conv5 it returns, ascending.

    Raises:
        ConfigError: an unknown name (the nearest is offered), or levels that are not ascending within 2..5.
    """
    entry = look_up(_ENTRIES, name, "backbone")
    check_levels(levels)
    return entry.build(tuple(levels))


def check_levels(levels: tuple[int, ...]) -> None:
    """Raise `ConfigError` for levels that are not ascending within 2..5."""
    if not levels or list(levels) != sorted({*levels}) or not {*levels} <= {2, 3, 4, 5}:
        raise ConfigError(f"levels are ascending numbers from 2 to 5, such as (3, 4, 5); got {tuple(levels)}")


def normalisation(name: str) -> Normalise:
    """What turns RGB 0..255 into the input that the named backbone's published weights expect.

    Raises:
        ConfigError: an unknown name.
    """
    entry = look_up(_ENTRIES, name, "backbone")
    return Normalise(entry.mean, entry.std, entry.bgr)
