"""One process's share of a batch: drawn part by part from (seed, part, step), and its way into a file and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

import torch
from torch import Tensor

from siamtrack.config import Preset
from siamtrack.data.augment import Batch
from siamtrack.data.pair_source import PairSource
from siamtrack.errors import ConfigError
from siamtrack.training.distributed import ProcessGroup

__all__ = ["Generators", "by_part", "check_parts", "draw_batch", "pack", "pick", "unpack"]

T = TypeVar("T")

Generators = Sequence[torch.Generator]
"""The generators of a batch's parts, each for an equal share of its pairs, in their order."""


def check_parts(preset: Preset, world: ProcessGroup) -> None:
    """Check that the processes can share each batch evenly.

    Raises:
        ConfigError: they cannot.
    """
    parts = preset.train.batch_shards or world.size
    world.parts(parts)
    if preset.train.batch % parts:
        raise ConfigError(f"train.batch = {preset.train.batch} cannot be drawn in {parts} parts; use a multiple")


def draw_batch(pairs: PairSource, preset: Preset, step: int, world: ProcessGroup) -> tuple[Batch, Generators]:
    """Draw this process's pairs of a step, and the generators for what the loss draws itself.

    Raises:
        DataError: more crops are unreadable than `data.max_skipped` allows.
    """
    cfg = preset.train
    parts = cfg.batch_shards or world.size
    drawn = [pairs.draw(cfg.batch // parts, cfg.seed, part, step) for part in world.parts(parts)]
    return _joined([batch for batch, _ in drawn]), [rng for _, rng in drawn]


def by_part(call: Callable[..., T], rngs: Generators, *values: Tensor) -> T:
    """Call with each part's rows of some tensors and its own generator, and join what comes back.

    What is drawn for a pair then depends on its part alone, not on how many processes share the batch.
    """
    shares = zip(*(value.chunk(len(rngs)) for value in values), strict=True)
    joint: T = _joined([call(*rows, rng) for rows, rng in zip(shares, rngs, strict=True)])
    return joint


def _joined(batches: list[Any]) -> Any:
    """Batches, or other dataclasses of tensors, one after the other, field by field."""
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
