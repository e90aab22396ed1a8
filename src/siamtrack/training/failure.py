"""A loss that is not finite: told with its step, terms and pairs, and kept in a file that plays it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from siamtrack.config import Preset, preset_from_json, preset_to_json
from siamtrack.data.augment import Batch
from siamtrack.errors import SiamtrackError, WeightsError
from siamtrack.io import write_whole
from siamtrack.models.losses import Generators, Terms
from siamtrack.models.siamese import SiameseNet
from siamtrack.training.batches import pack, pick, unpack
from siamtrack.training.parameters import prepare, unfreeze_backbone

__all__ = ["FailedStep", "Replay", "TrainingError", "replay", "save_failure"]


class TrainingError(SiamtrackError):
    """The run cannot go on: a loss or gradient that is not finite."""


@dataclass(frozen=True)
class Replay:
    """What the batch of a failure gives when it is played again.

    Attributes:
        step: of the failure.
        recorded: the terms as they were.
        terms: the terms now.
        alone: each pair's name and its total when it is the whole batch.
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

    Attributes:
        step: counted from 0.
        batch: the pairs.
        terms: of the loss.
        norm: of the gradient.
        random: (P, bytes) states of the generators that the loss was given, one for each part of the batch.
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
    blob = safetensors.torch.save(tensors, {"failure": json.dumps(notes), "preset": preset_to_json(preset)})
    write_whole(path, blob)
    values = ", ".join(f"{name} {value:g}" for name, value in failed.terms.items())
    return TrainingError(
        f"the loss is not finite at step {failed.step} ({values}; gradient {failed.norm:g}); look into it "
        f"with siamtrack train --replay {path}; template/search crops of the batch: {', '.join(failed.batch.keys)}"
    )


def replay(path: Path, device: str = "cpu") -> Replay:
    """Play a failure again: the whole batch as it was, then each pair alone.

    Raises:
        WeightsError: not a file that a failed run left.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
        tensors = safetensors.torch.load_file(path, device=device)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    if "failure" not in metadata:
        raise WeightsError(f"{path} holds no failed step; give a file that a run wrote into failures/")
    notes = json.loads(metadata["failure"])
    preset = preset_from_json(metadata["preset"], str(path))
    net = preset.model.build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.load_state_dict({name[4:]: value for name, value in tensors.items() if name.startswith("net.")})
    prepare(net, preset.train)
    unfreeze_backbone(net, preset.train, notes["step"])
    batch = unpack(Batch, tensors, "batch")
    random = tensors["random"].cpu()
    found: list[str] = []
    watches = [m.register_forward_hook(_watch(name, found)) for name, m in net.named_modules() if name]
    terms = _terms(net, preset, batch, random)
    for watch in watches:
        watch.remove()
    net.zero_grad(set_to_none=True)
    terms["total"].backward()  # type: ignore[no-untyped-call]
    grads = [p.grad.norm() for p in net.parameters() if p.grad is not None]
    norm = float(torch.stack(grads).norm()) if grads else 0.0
    alone = list(zip(notes["keys"], _alone(net, preset, batch, random), strict=True))
    recorded = {name: float(value) for name, value in notes["terms"].items()}
    values = {name: float(value.detach()) for name, value in terms.items()}
    return Replay(notes["step"], recorded, values, alone, norm, found[0] if found else None)


def _alone(net: SiameseNet, preset: Preset, batch: Batch, random: Tensor) -> Iterator[float]:
    """The total of each pair as a batch of its own."""
    count = len(batch.present)
    for i in range(count):
        part = i * len(random) // count
        terms = _terms(net, preset, pick(batch, slice(i, i + 1)), random[part : part + 1])
        yield float(terms["total"].detach())


def _terms(net: SiameseNet, preset: Preset, batch: Batch, random: Tensor) -> Terms:
    reduced = preset.train.precision == "bfloat16"
    with torch.autocast(batch.boxes.device.type, torch.bfloat16, enabled=reduced):
        return preset.model.loss(net, batch, _generators(random))


def _generators(states: Tensor) -> Generators:
    rngs = [torch.Generator() for _ in states]
    for rng, state in zip(rngs, states, strict=True):
        rng.set_state(state)
    return rngs


def _watch(name: str, found: list[str]) -> Callable[[nn.Module, object, object], None]:
    """A hook that notes the name of a module whose output has a value that is not finite."""

    def hook(module: nn.Module, inputs: object, output: object) -> None:
        """Note the name, if something in the output is not finite."""
        del module, inputs
        values = output.values() if isinstance(output, dict) else output
        parts = [values] if isinstance(values, Tensor) else values
        if isinstance(parts, Iterable) and any(not bool(torch.isfinite(p).all()) for p in parts):
            found.append(name)

    return hook
