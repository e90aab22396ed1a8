"""What the training loop asks of data: the pairs of a step, drawn from (seed, part, step) alone."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch

from siamtrack.config import Crops, Data
from siamtrack.data.augment import Batch, make_batch
from siamtrack.data.pairs import PairSampler, generator
from siamtrack.data.places import is_url, list_shards
from siamtrack.data.resident import ResidentSet
from siamtrack.data.streaming import StreamedPairs

__all__ = ["PairSource", "ResidentPairs", "open_pairs"]

_RESIDENT_BYTES = 8 << 30
_CROP_BYTES = 368 * 368 * 3


class PairSource(Protocol):
    """A resident or a streaming set, with the rules by which pairs are drawn and changed.

    `skipped` are the keys of the crops that could not be decoded so far.
    """

    @property
    def skipped(self) -> tuple[str, ...]: ...  # noqa: D102

    def draw(self, count: int, seed: int, part: int, step: int) -> tuple[Batch, torch.Generator]:
        """Draw `count` pairs, and give the generator on, for what the loss draws itself.

        Raises:
            DataError: more crops are unreadable than `data.max_skipped` allows.
        """
        ...

    def close(self) -> None:
        """Stop reading ahead."""
        ...


class ResidentPairs:
    """Pairs of a resident set, cut and changed on the device that holds it."""

    def __init__(self, crops: ResidentSet, sizes: Crops, data: Data) -> None:
        self.crops = crops
        self._sizes, self._data = sizes, data
        self._sampler = PairSampler(crops, data)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Keys of crops that could not be decoded."""
        return self.crops.skipped

    def draw(self, count: int, seed: int, part: int, step: int) -> tuple[Batch, torch.Generator]:
        """See `PairSource.draw`."""
        rng = generator(seed, part, step)
        pairs = self._sampler.draw(count, rng)
        return make_batch(self.crops, pairs, self._sizes, self._data, rng), rng

    def close(self) -> None:
        """Nothing to stop."""


def open_pairs(
    place: Path | str, sizes: Crops, data: Data, device: torch.device | str = "cpu", stream: bool | None = None
) -> PairSource:
    """Open a set of shards for training.

    Args:
        place: folder or URL of shards; see `places.list_shards`.
        sizes: the preset's crops.
        data: the preset's rules for pairs.
        device: where the batches are made.
        stream: read shards as they are needed instead of keeping all crops decoded; by default for URLs, and for
            folders that would take more than 8 GB.

    Raises:
        DataError: no shards there, or unreadable ones.
        ConfigError: `data` names sources that the shards do not have.
    """
    if stream is None:
        stream = is_url(place) or _decoded_bytes(place) > _RESIDENT_BYTES
    if stream:
        return StreamedPairs(place, sizes, data, device)
    return ResidentPairs(ResidentSet.load(place, data.max_skipped).to(device), sizes, data)


def _decoded_bytes(place: Path | str) -> int:
    """About how much memory the crops of a folder take; a compressed one is about 16 KB where none are counted."""
    shards = list_shards(place).shards
    return sum(shard.crops or (shard.size or 0) // 16_000 for shard in shards) * _CROP_BYTES
