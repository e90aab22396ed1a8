"""One process's share of a batch, drawn from (seed, part, step), and its way into a file and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

import torch
from torch import Tensor

from siamtrack.config import Preset
from siamtrack.data.augment import Batch, make_batch
from siamtrack.data.pairs import PairSampler, generator
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError
from siamtrack.training.distributed import World

__all__ = ["check_parts", "draw_batch", "pack", "pick", "unpack"]

T = TypeVar("T")


def check_parts(preset: Preset, world: World) -> None:
    """Check that the processes can share each batch evenly.

    Raises:
        ConfigError: they cannot.
    """
    parts = preset.train.parts or world.size
    world.parts(parts)
    if preset.train.batch % parts:
        raise ConfigError(f"train.batch = {preset.train.batch} cannot be drawn in {parts} parts; use a multiple")


def draw_batch(
    crops: ResidentSet, sampler: PairSampler, preset: Preset, step: int, world: World
) -> tuple[Batch, torch.Generator]:
    """Draw this process's pairs of a step, and the generator for what the loss draws itself."""
    cfg = preset.train
    parts = cfg.parts or world.size
    made, rngs = [], []
    for part in world.parts(parts):
        rng = generator(cfg.seed, part, step)
        pairs = sampler.draw(cfg.batch // parts, rng)
        made.append(make_batch(crops, pairs, preset.crops, preset.data, rng))
        rngs.append(rng)
    return _joined(made), rngs[0]


def _joined(batches: list[Any]) -> Any:
    """Batches one after the other, field by field."""
    first = batches[0]
    if len(batches) == 1 or first is None:
        return first
    if isinstance(first, Tensor):
        return torch.cat(batches)
    if isinstance(first, tuple):
        return sum(batches, ())
    return type(first)(*(_joined([getattr(b, f.name) for b in batches]) for f in fields(first)))


def pick(batch: T, rows: slice) -> T:
    """Some pairs of a batch."""
    values = (getattr(batch, f.name) for f in fields(batch))  # type: ignore[arg-type]
    return type(batch)(*(pick(v, rows) if is_dataclass(v) else v if v is None else v[rows] for v in values))


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
    """What `pack` took apart; fields that are no tensors get their default."""
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        dotted = f"{prefix}.{name}"
        if isinstance(hint, type) and is_dataclass(hint):
            values[name] = unpack(hint, tensors, dotted)
        elif dotted in tensors:
            values[name] = tensors[dotted]
    return kind(**values)
