"""Weights: files of safetensors with the preset inside, checks of what they hold, and BatchNorm folded for tracking."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from siamtrack.errors import DataError, WeightsError, reason
from siamtrack.io import check_readable, first_names, write_whole


def save_weights(path: str | Path, net: nn.Module, metadata: Mapping[str, str], half: bool = True) -> None:
    """Write a network's weights as a `.safetensors` file, which appears whole or not at all.

    Kernels are stored in half precision unless `half` is false, as for imported weights. Vectors stay in single
    precision: they are small, and a BatchNorm's variance of pixels in 0..255 does not fit into half precision. In the
    metadata, `preset` holds the resolved preset as JSON.

    Raises:
        WeightsError: a weight is not finite, or the file cannot be written.
    """
    state = {}
    for name, value in net.state_dict().items():
        tensor = value.detach().cpu().contiguous()
        if tensor.is_floating_point():
            if not torch.isfinite(tensor).all():
                raise WeightsError(f"weights with nan or infinite values are not saved; '{name}' has some")
            fits = tensor.ndim >= 2 and tensor.abs().max() <= torch.finfo(torch.float16).max
            tensor = tensor.half() if half and fits else tensor.float()
        state[name] = tensor
    try:
        write_whole(Path(path), pack_tensors(state, metadata))
    except DataError as error:
        raise WeightsError(f"weights: {reason(error)}") from error


def pack_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file; the same ones for the same content.

    The library writes the metadata in an order that differs from one process to the next.
    """
    blob = safetensors.torch.save(dict(tensors), dict(metadata))
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the values begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + blob[8 + length :]


def load_weights(path: str | Path, net: nn.Module) -> dict[str, str]:
    """Read a weights file into a network, which must have exactly the tensors of the file; return the file's metadata.

    Raises:
        WeightsError: no such file, not a safetensors file, or tensors that are missing, unknown or of another
            shape; the message names them. The network is then unchanged.
    """
    path = Path(path)
    metadata = read_metadata(path)
    try:
        state = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} is damaged: {reason(error)}") from error
    check_state(state, net, str(path))
    net.load_state_dict(state)
    return metadata


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text stored with the weights, from the file's head; raises `WeightsError` for no safetensors file."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights file {path}")
    try:
        check_readable(path)
    except DataError as error:
        raise WeightsError(str(error)) from None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} is not a safetensors file, or it is damaged: {reason(error)}") from error


def check_state(state: Mapping[str, Tensor], net: nn.Module, where: str) -> None:
    """Check that a state dict fits a network tensor by tensor.

    Raises:
        WeightsError: names what is missing, unknown, of another shape or kind of number, or not finite.
    """
    wanted = net.state_dict()
    missing = [name for name in wanted if name not in state]
    unknown = [name for name in state if name not in wanted]
    if missing or unknown:
        parts = (("missing", missing), ("unknown", unknown))
        said = "; ".join(f"{text} {first_names(names)}" for text, names in parts if names)
        raise WeightsError(f"{where} was made for another network: {said}")
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if state[name].shape != tensor.shape
    ]
    if wrong:
        raise WeightsError(f"{where} was made for another network: wrong shapes {first_names(wrong)}")
    kinds = [name for name, tensor in wanted.items() if state[name].is_floating_point() != tensor.is_floating_point()]
    if kinds:
        raise WeightsError(f"{where} holds another kind of number than the network in {first_names(kinds)}")
    broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise WeightsError(f"{where} holds values that are not finite in {first_names(broken)}")


@torch.no_grad()
def fold_norms(net: nn.Module) -> nn.Module:
    """Fold, in place, every BatchNorm next to a convolution into it; for inference only.

    Two modules belong together when one parent holds them one after the other (the later one may begin a
    Sequential) and their channels agree. A norm before a convolution is folded only where the convolution does not
    pad. The folded network, which is returned, can be neither trained nor saved as weights.
    """
    net.eval()
    for parent in list(net.modules()):
        for first, second in pairwise([name for name, _ in parent.named_children()]):
            one, holder, place = getattr(parent, first), parent, second
            if isinstance(getattr(parent, second), nn.Sequential):
                holder, place = getattr(parent, second), "0"
            other = getattr(holder, place, None)
            if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d):
                if one.out_channels == other.num_features:
                    setattr(parent, first, fuse_conv_bn_eval(one, other))
                    setattr(holder, place, nn.Identity())
            elif isinstance(one, nn.BatchNorm2d) and type(other) is nn.Conv2d:
                unpadded = not isinstance(other.padding, str) and not any(other.padding)
                if unpadded and other.groups == 1 and other.in_channels == one.num_features:
                    setattr(holder, place, _norm_then_conv(one, other))
                    setattr(parent, first, nn.Identity())
    return net


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(C,), (C,): what a BatchNorm multiplies with and adds when it is evaluated."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt() * norm.weight
    return scale, norm.bias - norm.running_mean * scale


def _norm_then_conv(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """One convolution that answers as the norm and then `conv`."""
    scale, shift = scale_and_shift(norm)
    out = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, dilation=conv.dilation)  # type: ignore[arg-type]
    bias = (conv.weight * shift[:, None, None]).sum((1, 2, 3))
    out.weight = nn.Parameter(conv.weight * scale[:, None, None])
    out.bias = nn.Parameter(bias if conv.bias is None else bias + conv.bias)
    return out.eval()
