"""Weights files: safetensors with the preset inside, written whole and read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from siamtrack.errors import DataError, WeightsError
from siamtrack.io import first_names, write_whole

__all__ = ["check_state", "load_weights", "read_metadata", "save_weights"]

_MAX_HALF = torch.finfo(torch.float16).max


def save_weights(path: str | Path, net: nn.Module, metadata: Mapping[str, str], half: bool = True) -> None:
    """Write a network's weights; the file appears whole or not at all.

    Kernels are stored in half precision. Vectors stay in single precision: they weigh nothing, and
    the variance that a BatchNorm sees of pixels in 0..255 does not fit into half precision.

    Args:
        path: of the new file, `.safetensors`.
        net: the network.
        metadata: text by name; `preset` holds the resolved preset as JSON.
        half: kernels in half precision; imported weights are kept as they are.

    Raises:
        WeightsError: a weight is not finite, or the file cannot be written.
    """
    path = Path(path)
    state = {name: _stored(name, tensor, half) for name, tensor in net.state_dict().items()}
    blob = safetensors.torch.save(state, dict(metadata))
    try:
        write_whole(path, blob)
    except DataError as error:
        raise WeightsError(f"weights: {error}") from error


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not torch.isfinite(tensor).all():
        raise WeightsError(f"weights with nan or infinite values are not saved; '{name}' has some")
    fits = tensor.ndim >= 2 and tensor.abs().max() <= _MAX_HALF
    return tensor.half() if half and fits else tensor.float()


def load_weights(path: str | Path, net: nn.Module) -> dict[str, str]:
    """Read a weights file into a network, which must have exactly the tensors of the file.

    Args:
        path: a file that `save_weights` wrote.
        net: the network; it is left untouched where the file does not fit.

    Returns:
        The file's metadata.

    Raises:
        WeightsError: no such file, not a safetensors file, or tensors that are missing, unknown or of another
            shape; the message names them.
    """
    path = Path(path)
    metadata = read_metadata(path)
    try:
        state = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    check_state(state, net, str(path))
    net.load_state_dict(state)
    return metadata


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text that was stored with the weights; reads the file's head only.

    Raises:
        WeightsError: no such file, or not a safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights file {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} is not a safetensors file, or it is damaged: {error}") from error


def check_state(state: Mapping[str, Tensor], net: nn.Module, where: str) -> None:
    """Check that a state dict fits a network tensor by tensor.

    Raises:
        WeightsError: names what is missing, unknown, of another shape or kind of number, or not finite.
    """
    wanted = net.state_dict()
    missing = [name for name in wanted if name not in state]
    unknown = [name for name in state if name not in wanted]
    if missing or unknown:
        parts = [
            f"{text} {first_names(names)}" for text, names in (("missing", missing), ("unknown", unknown)) if names
        ]
        raise WeightsError(f"{where} was made for another network: {'; '.join(parts)}")
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
