"""Import of checkpoints of other projects, by explicit and strict maps of their parameters' names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from siamtrack.errors import WeightsError, look_up
from siamtrack.io import first_names
from siamtrack.models.heads import UpChannelBranch
from siamtrack.models.weights import check_state

_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

# Where PySOT's AlexNet has its convolutions and BatchNorms in one sequence.
_ALEXNET = {"0": "1.0", "1": "1.1", "4": "2.0", "5": "2.1", "8": "3.0", "9": "3.1"}
_ALEXNET |= {"11": "4.0", "12": "4.1", "14": "5.0", "15": "5.1"}
# Where each of PySOT's MobileNetV2 stages begins in torchvision's sequence of blocks, and a block's layers.
_MOBILENET = {"1": 1, "2": 2, "3": 4, "4": 7, "5": 11, "6": 14, "7": 17}
_INVERTED = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}
_BRANCH = {"conv_kernel": "template", "conv_search": "search", "head": "predict"}
_NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_NUMBERS |= {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
_PARAMETER = r"(weight|bias|running_mean|running_var|num_batches_tracked)"


def _rule(pattern: str, target: Callable[[re.Match[str]], str] | str) -> _Rule:
    return re.compile(pattern), (lambda m: m.expand(target)) if isinstance(target, str) else target


def _level(number: str) -> int:
    """PySOT counts levels from 2, and not at all where there is one."""
    return int(number) - 2 if number else 0


_RESNET = (
    _rule(r"backbone\.((?:conv1|bn1|layer[1-4]\.\d+\.(?:conv[123]|bn[123]|downsample\.[01]))\.\w+)", r"backbone.\1"),
)
_NECK = (
    _rule(
        rf"neck\.downsample(\d?)\.downsample\.([01])\.{_PARAMETER}",
        lambda m: f"neck.levels.{_level(m[1])}.{m[2]}.{m[3]}",
    ),
)
_RPN = (
    _rule(
        rf"rpn_head\.(?:rpn(\d)\.)?(cls|loc)\.(conv_kernel|conv_search|head)\.(\d)\.{_PARAMETER}",
        lambda m: f"head.{m[2]}.{_level(m[1])}.{_BRANCH[m[3]]}.{m[4]}.{m[5]}",
    ),
    _rule(r"rpn_head\.(template|search)_(cls|loc)_conv\.(weight|bias)", r"head.\2.0.\1.\3"),
    _rule(r"rpn_head\.loc_adjust\.(weight|bias)", r"head.loc.0.adjust.\1"),
    _rule(r"rpn_head\.(cls_weight|loc_weight)", r"head.\1"),
)
_PYSOT_SMALL = (
    _rule(
        rf"backbone\.features\.(0|1|4|5|8|9|11|12|14|15)\.{_PARAMETER}",
        lambda m: f"backbone.conv{_ALEXNET[m[1]]}.{m[2]}",
    ),
    _rule(rf"backbone\.layer([1-5])\.([01])\.{_PARAMETER}", r"backbone.conv\1.\2.\3"),
    _rule(rf"backbone\.layer0\.([01])\.{_PARAMETER}", r"backbone.features.0.\1.\2"),
    _rule(
        rf"backbone\.layer([1-7])\.(\d)\.conv\.([013467])\.{_PARAMETER}",
        lambda m: f"backbone.features.{_MOBILENET[m[1]] + int(m[2])}.conv.{_INVERTED[m[3]]}.{m[4]}",
    ),
)
_CAR = (
    _rule(r"car_head\.((?:cls_tower|bbox_tower)\.\d+\.(?:weight|bias))", r"head.\1"),
    _rule(r"car_head\.((?:cls_logits|bbox_pred|centerness)\.(?:weight|bias))", r"head.\1"),
    _rule(r"down\.(weight|bias)", r"head.fusion.merge.\1"),
)
_SIAMFC = (_rule(rf"(backbone\.conv[1-5]\.[01]\.{_PARAMETER})", r"\1"),)

_RULES: dict[str, tuple[_Rule, ...]] = {
    "pysot": _RESNET + _PYSOT_SMALL + _NECK + _RPN,
    "siamcar": _RESNET + _NECK + _CAR,
    "siamfc-pytorch": _SIAMFC,
}
# SiamCAR merges with a transposed 1 x 1 convolution, whose weight has inputs first.
_TRANSPOSED = {"siamcar": {"down.weight"}}


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        names: pairs of the checkpoint's name and ours, one for each tensor.
        transposed: its names of tensors whose first two dimensions were swapped.
        absent: our BatchNorm counters that the checkpoint did not have; tracking does not use them.
    """

    names: tuple[tuple[str, str], ...]
    transposed: tuple[str, ...]
    absent: tuple[str, ...]


def backbone_names_of_pysot(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A backbone's tensors under our names, from the files of PySOT's authors; other names stay as they are."""
    renamed = {}
    for key, value in state.items():
        own = key.removeprefix("module.").removeprefix("backbone.")
        renamed[(_rename(f"backbone.{own}", _PYSOT_SMALL) or own).removeprefix("backbone.")] = value
    return renamed


def check_source(source: str) -> None:
    """Raise `ConfigError` for an unknown project; it offers the nearest name."""
    look_up(_RULES, source, "source")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read a PyTorch checkpoint's tensors by name, without running any code of the file.

    A dictionary with the key `state_dict` is unwrapped; `module.` is taken off where all names begin with it.

    Raises:
        WeightsError: no such file, not a checkpoint, or one that holds anything but plain tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no checkpoint {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch's reader lets through whatever a damaged file makes it stumble over, and its advice is to run code.
        asked = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
        what = f"holds {asked[1]} beside" if asked else "is damaged, or something else than a checkpoint of"
        raise WeightsError(f"{path} {what} plain tensors; save the network's state_dict() alone") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not found:
        raise WeightsError(f"{path}: expected tensors by name, got {type(found).__name__}")
    strange = [str(name) for name, value in found.items() if not isinstance(name, str) or not _is_plain(value)]
    if strange:
        raise WeightsError(f"{path}: expected nothing but plain tensors by name; others are {first_names(strange)}")
    prefix = "module." if all(name.startswith("module.") for name in found) else ""  # DataParallel adds it
    return {name.removeprefix(prefix): value for name, value in found.items()}


def _is_plain(value: object) -> bool:
    """Whether a value is a dense tensor of ordinary numbers, whose values are there."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta and value.dtype in _NUMBERS


def import_state_dict(state: Mapping[str, Tensor], source: str, net: nn.Module) -> ImportReport:
    """Copy another project's weights, as `read_checkpoint` gives them, into a network of ours.

    It is left untouched where the checkpoint does not fit. The source is "pysot", "siamcar" or "siamfc-pytorch".

    Raises:
        ConfigError: an unknown source.
        WeightsError: a name that the source's map does not know, or, after renaming, tensors that are
            missing, left over or of another shape; the message names them.
    """
    check_source(source)
    names = {name: target for name in state if (target := _rename(name, _RULES[source])) is not None}
    if unknown := [name for name in state if name not in names]:
        raise WeightsError(f"names that {source} does not use: {first_names(unknown)}")
    swapped = tuple(name for name in state if name in _TRANSPOSED.get(source, ()))
    tensors = {
        target: state[name].transpose(0, 1) if name in swapped else state[name] for name, target in names.items()
    }
    for name, part in net.named_modules():
        if isinstance(part, UpChannelBranch) and part.gain != 1:
            # The other projects' correlation has no factor: the kernels take up its inverse.
            for key in (f"{name}.template.weight", f"{name}.template.bias"):
                if key in tensors:
                    tensors[key] = tensors[key] / part.gain
    counters = {
        name: value
        for name, value in net.state_dict().items()
        if name.endswith("num_batches_tracked") and name not in tensors
    }
    check_state(tensors | counters, net, f"the {source} checkpoint")
    net.load_state_dict(tensors | counters)
    return ImportReport(tuple(names.items()), swapped, tuple(counters))


def _rename(name: str, rules: tuple[_Rule, ...]) -> str | None:
    for pattern, target in rules:
        if match := pattern.fullmatch(name):
            return target(match)
    return None
