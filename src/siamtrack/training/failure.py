"""A loss that is not finite: reported with its step, terms and pairs, and kept in a file that replays it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from siamtrack.config import Preset, preset_from_json, preset_to_json
from siamtrack.data.augment import Batch
from siamtrack.errors import SiamtrackError, WeightsError, reason
from siamtrack.io import write_whole
from siamtrack.models.losses import Terms
from siamtrack.models.weights import pack_tensors, read_metadata
from siamtrack.training.parameters import prepare, unfreeze_backbone

T = TypeVar("T")

# What a file whose parts do not fit each other makes the network and its loss raise.
_UNFIT = (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


class TrainingError(SiamtrackError):
    """The run cannot go on: a loss or gradient that is not finite."""


@dataclass(frozen=True)
class Replay:
    """The result of replaying a failed step.

    Attributes:
        recorded: the terms as they were.
        terms: the terms now.
        alone: each pair's name and its loss as a batch of its own.
        norm: of the gradient.
        module: the first part of the network whose output is not finite, or None.
    """

    step: int
    recorded: dict[str, float]
    terms: dict[str, float]
    alone: list[tuple[str, float]]
    norm: float
    module: str | None


@dataclass(frozen=True)
class FailedStep:
    """One process's part of a step that failed.

    `step` counts from 0, `norm` is of the gradient, and `random` (P, bytes) are the states of the loss's generators,
    one for each part of the batch.
    """

    step: int
    batch: Batch
    terms: dict[str, float]
    norm: float
    random: Tensor


def save_failure(path: Path, preset: Preset, net: nn.Module, failed: FailedStep) -> TrainingError:
    """Write a failed step with the weights before it to a safetensors file; return the error to raise."""
    terms = {name: repr(value) for name, value in failed.terms.items()}
    notes = {"step": failed.step, "keys": failed.batch.keys, "terms": terms, "norm": repr(failed.norm)}
    tensors = pack(failed.batch, "batch") | {"random": failed.random}
    tensors |= {f"net.{name}": value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    metadata = {"failure": json.dumps(notes), "preset": preset_to_json(preset)}
    write_whole(path, pack_tensors(tensors, metadata))
    values = ", ".join(f"{name} {value:g}" for name, value in failed.terms.items())
    return TrainingError(
        f"the loss is not finite at step {failed.step} ({values}; gradient {failed.norm:g}); look into it "
        f"with siamtrack train --replay {path}; template/search crops of the batch: {', '.join(failed.batch.keys)}"
    )


def replay(path: Path, device: str = "cpu") -> Replay:
    """Replay a failed step, all pairs, then each alone; raises `WeightsError` for a file that no failed run left."""
    metadata = read_metadata(path)
    if "failure" not in metadata:
        raise WeightsError(f"{path} holds no failed step; give a file that a run wrote into failures/")
    try:
        return _replay(safetensors.torch.load_file(path, device=device), metadata, path, device)
    except (OSError, safetensors.SafetensorError, *_UNFIT) as error:
        raise WeightsError(f"{path} holds no failed step that can be repeated: {reason(error)}") from error


def _replay(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path, device: str) -> Replay:
    notes = json.loads(metadata["failure"])
    preset = preset_from_json(metadata["preset"], str(path))
    net = preset.model.build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.load_state_dict({name[4:]: value for name, value in tensors.items() if name.startswith("net.")})
    prepare(net, preset.train)
    unfreeze_backbone(net, preset.train, notes["step"])
    batch = unpack(Batch, tensors, "batch")
    random = tensors["random"].cpu()
    found: list[str] = []
    names = {module: name for name, module in net.named_modules() if name}

    def hook(module: nn.Module, _inputs: object, output: object) -> None:
        values = output.values() if isinstance(output, dict) else output
        parts = [values] if isinstance(values, Tensor) else values
        if isinstance(parts, Iterable) and any(not bool(torch.isfinite(p).all()) for p in parts):
            found.append(names[module])

    def loss_terms(batch: Batch, states: Tensor) -> Terms:
        rngs = [torch.Generator() for _ in states]
        for rng, state in zip(rngs, states, strict=True):
            rng.set_state(state)
        reduced = preset.train.precision == "bfloat16"
        with torch.autocast(batch.boxes.device.type, torch.bfloat16, enabled=reduced):
            return preset.model.loss(net, batch, rngs)

    watches = [module.register_forward_hook(hook) for module in names]
    terms = loss_terms(batch, random)
    for watch in watches:
        watch.remove()
    net.zero_grad(set_to_none=True)
    terms["total"].backward()  # type: ignore[no-untyped-call]
    grads = [p.grad.norm() for p in net.parameters() if p.grad is not None]
    norm = float(torch.stack(grads).norm()) if grads else 0.0
    alone = []
    count = len(batch.present)
    for row, key in enumerate(notes["keys"]):
        part = row * len(random) // count  # the part of the batch that the pair was drawn in
        total = loss_terms(pick(batch, slice(row, row + 1)), random[part : part + 1])["total"]
        alone.append((key, float(total.detach())))
    recorded = {name: float(notes["terms"][name]) for name in terms}
    values = {name: float(value.detach()) for name, value in terms.items()}
    return Replay(notes["step"], recorded, values, alone, norm, found[0] if found else None)


def pick(batch: T, rows: slice) -> T:
    """Some pairs of a batch."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}  # type: ignore[arg-type]
    return type(batch)(
        **{name: pick(v, rows) if is_dataclass(v) else v if v is None else v[rows] for name, v in values.items()}
    )


def pack(batch: Any, prefix: str) -> dict[str, Tensor]:
    """All tensors of a batch by dotted name."""
    found: dict[str, Tensor] = {}
    for field in fields(batch):
        value, name = getattr(batch, field.name), f"{prefix}.{field.name}"
        if isinstance(value, Tensor):
            # A copy: fields may share their memory, which safetensors does not store.
            found[name] = value.detach().cpu().contiguous().clone()
        elif is_dataclass(value):
            found |= pack(value, name)
    return found


def unpack(kind: type[T], tensors: dict[str, Tensor], prefix: str) -> T:
    """The inverse of `pack`; fields that are not tensors get their default."""
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        dotted = f"{prefix}.{name}"
        if isinstance(hint, type) and is_dataclass(hint):
            values[name] = unpack(hint, tensors, dotted)
        elif dotted in tensors:
            values[name] = tensors[dotted]
    return kind(**values)
