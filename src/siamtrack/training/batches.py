"""One process's share of a batch: drawn part by part from (seed, part, step), and its way into a file and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from torch import Tensor

from siamtrack.config import Preset
from siamtrack.data.augment import Batch
from siamtrack.data.pair_source import PairSource
from siamtrack.errors import ConfigError
from siamtrack.models.losses import Generators, join_parts
from siamtrack.training.distributed import ProcessGroup

__all__ = ["check_parts", "draw_batch", "pack", "pick", "unpack"]

T = TypeVar("T")


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
    batch: Batch = join_parts([batch for batch, _ in drawn])
    return batch, [rng for _, rng in drawn]


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
    """What `pack` took apart; fields that are no tensors get their default."""
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        dotted = f"{prefix}.{name}"
        if isinstance(hint, type) and is_dataclass(hint):
            values[name] = unpack(hint, tensors, dotted)
        elif dotted in tensors:
            values[name] = tensors[dotted]
    return kind(**values)
