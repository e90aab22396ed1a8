"""The pairs of a training step, drawn from (seed, part, step) alone."""

from __future__ import annotations

from pathlib import Path

import torch

from siamtrack.arguments import checked
from siamtrack.config import Crops, Data
from siamtrack.data.augment import Batch, Preview, plan_batch, render_batch
from siamtrack.data.pairs import PairSampler, generator
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import ShardFile, decode, list_shards, read_shard
from siamtrack.data.streaming import Prefetch, StreamedPairs


class ResidentPairs:
    """Pairs of a resident set, cut and changed on the device that holds it.

    `skipped` are the keys of crops that could not be decoded, `about` says in words how many there are.
    """

    def __init__(self, crops: ResidentSet, sizes: Crops, data: Data) -> None:
        self.crops = crops
        self.source_names = crops.source_names
        self.skipped = crops.skipped
        self.about = f"{len(crops)} crops, kept decoded"
        self._sizes, self._data = sizes, data
        self._sampler = PairSampler(crops, data)
        # A GPU leaves the CPU time to plan the next step; where the CPU makes the pixels too, there is none to gain.
        self._prefetch = Prefetch(self._prepare) if crops.images.device.type != "cpu" else None

    def draw(self, count: int, seed: int, part: int, step: int) -> tuple[Batch, torch.Generator]:
        """Draw `count` pairs, and give the generator on, for what the loss draws itself."""
        seen, rng = (self._prefetch.take if self._prefetch else self._prepare)(count, seed, part, step)
        return render_batch(seen.plan, self.crops), rng

    def preview(self, count: int, seed: int) -> Preview:
        """Plan `count` pairs of the first step for a look at them; what is drawn for training stays as it is."""
        return self._prepare(count, seed, 0, 0)[0]

    def _prepare(self, count: int, seed: int, part: int, step: int) -> tuple[Preview, torch.Generator]:
        rng = generator(seed, part, step)
        pairs = self._sampler.draw(count, rng)
        return Preview(plan_batch(self.crops, pairs, self._sizes, self._data, rng), self.crops, self.crops), rng

    def close(self) -> None:
        """Stop preparing batches."""
        if self._prefetch:
            self._prefetch.close()


PairSource = ResidentPairs | StreamedPairs
"""A set with the rules by which pairs are drawn and changed."""


@checked
def open_pairs(place: Path | str, sizes: Crops, data: Data, device: torch.device | str = "cpu") -> PairSource:
    """Open a set of shards for training: resident where it fits into `data.resident_memory`, else streaming.

    The choice depends on the shards and the setting alone, not on the machine: a run that resumes makes it again.
    `place` is as for `list_shards`; batches are made on `device`.

    Raises:
        DataError: no shards there, or unreadable ones.
        ConfigError: `data` leaves no crop to draw.
    """
    crops = load_resident(place, data, device)
    return ResidentPairs(crops, sizes, data) if crops is not None else StreamedPairs(place, sizes, data, device)


def load_resident(place: Path | str, data: Data, device: torch.device | str = "cpu") -> ResidentSet | None:
    """All crops of a set of shards, decoded, on the device; None if they need more than `data.resident_memory`."""
    if data.resident_memory:
        needed = _decoded_bytes(list_shards(place).shards)
        if needed is not None and needed <= data.resident_memory << 20:
            return ResidentSet.load(place, data.max_skipped).to(device)
    return None


def _decoded_bytes(shards: tuple[ShardFile, ...]) -> float | None:
    """About how much memory all crops take once they are decoded, as the first shard has it; None if unknown."""
    sizes = [shard.size for shard in shards if shard.size is not None]
    if len(sizes) < len(shards):
        return None
    rows = read_shard(shards[0])
    pictures = (decode(jpeg) for _, jpeg, _ in rows)
    crop = next((picture.nbytes for picture in pictures if picture is not None), 0)
    return crop * len(rows) * sum(sizes) / max(sizes[0], 1)
