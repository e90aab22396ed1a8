"""The streaming set: pairs from shards of any number, local or remote, in bounded memory.

At any step a window of W shards is at hand, compressed; pairs are drawn from it as from a resident set, and their
crops decoded for the batch. The window slides over an endless shuffled order of the shards, one shard on for as
many pairs as a shard has crops. Which shards it holds is arithmetic on (seed, part, step): a run that resumes at
any step reads W shards and has what it would have had, and nothing else needs to be stored.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from siamtrack.config import Crops, Data
from siamtrack.data.augment import Batch, Preview, plan_batch, render_batch
from siamtrack.data.pairs import Pairs, PairSampler, generator
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import Rows, decode, list_shards, read_shard
from siamtrack.errors import DataError
from siamtrack.geometry.inputs import Image

T = TypeVar("T")

Wanted = tuple[int, int, int, int]
"""How many pairs, and the seed, part and step that they are drawn from."""

_TRIES = 10  # batches that are drawn anew where no pair of one is whole
_ORDER = 1  # the purpose of the generators that shuffle shards, apart from those of batches


@dataclass(frozen=True)
class _Window:
    """The crops at hand, in the order of their shards' names; `following` is the shard that comes next."""

    position: int
    shards: tuple[int, ...]
    following: int | None
    rows: Rows
    listed: ResidentSet
    sampler: PairSampler


class Prefetch(Generic[T]):
    """Prepares the next step of each part in a thread; a step that was not prepared is prepared when it is taken.

    `prepare` is a function of its arguments alone, called from one thread at a time.
    """

    def __init__(self, prepare: Callable[[int, int, int, int], T]) -> None:
        self._prepare = prepare
        self._thread = ThreadPoolExecutor(1, "prefetch")
        self._next: dict[int, tuple[Wanted, Future[T]]] = {}

    def take(self, count: int, seed: int, part: int, step: int) -> T:
        """Return what `prepare` gives for a step, and begin with that of the next one."""
        wanted, following = (count, seed, part, step), (count, seed, part, step + 1)
        ready = self._next.pop(part, None)
        future = ready[1] if ready and ready[0] == wanted else self._thread.submit(self._prepare, *wanted)
        prepared = future.result()
        self._next[part] = following, self._thread.submit(self._prepare, *following)
        return prepared

    def once(self, count: int, seed: int, part: int, step: int) -> T:
        """Return what `prepare` gives for a step; what `take` has begun stays ready, and nothing else is begun."""
        return self._thread.submit(self._prepare, count, seed, part, step).result()

    def close(self) -> None:
        """Prepare nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class StreamedPairs:
    """Pairs of a streaming set; `source_names` are None where nothing lists them.

    Crops that cannot be decoded are counted in `skipped`, and their pairs replaced by others of the same batch. The
    place is as for `list_shards`; `workers` are threads that decode, by default one for each core, at most 16.

    Raises:
        DataError: no shards there, or a shard that alone is larger than `data.stream_memory`.
    """

    def __init__(
        self, place: Path | str, sizes: Crops, data: Data, device: torch.device | str = "cpu", workers: int = 0
    ) -> None:
        self._sizes, self._data, self._device = sizes, data, device
        listing = list_shards(place)
        self.source_names = listing.sources
        self._shards, self._videos = listing.shards, listing.videos
        self._cached: dict[int, Rows] = {}
        first = self._shards[0]
        if first.crops is None or first.size is None:
            self._cached[0] = read_shard(first)
        sizes_known = [shard.size for shard in self._shards if shard.size is not None]
        largest = max(sizes_known or [sum(len(jpeg) for _, jpeg, _ in self._cached[0])])
        if largest > data.stream_memory << 20:
            raise DataError(
                f"a shard of {place} has {largest >> 20} MB, more than data.stream_memory = {data.stream_memory} MB; "
                f"raise it or pack smaller shards"
            )
        self._width = min(len(self._shards), (data.stream_memory << 20) // largest)
        counts = [shard.crops for shard in self._shards if shard.crops]
        self._crops_a_shard = math.ceil(sum(counts) / len(counts)) if counts else max(1, len(self._cached[0]))
        self._windows: dict[int, _Window] = {}
        self._skipped: set[str] = set()
        self._sizes_read: dict[int, int] = {}
        self._lock = threading.Lock()
        self._decoders = ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1), "decode")
        self._fetcher = ThreadPoolExecutor(1, "shards")
        self._coming: dict[int, Future[Rows]] = {}
        self._prefetch = Prefetch(self._prepare)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Keys of the crops that could not be decoded so far."""
        with self._lock:
            return tuple(sorted(self._skipped))

    @property
    def about(self) -> str:
        """How much is read, and how much of it at a time."""
        return f"a stream of {len(self._shards)} shards, {self._width} at a time"

    def draw(self, count: int, seed: int, part: int, step: int) -> tuple[Batch, torch.Generator]:
        """Draw the pairs of a step, and give the generator on; those of the step after it are made ready meanwhile.

        The batch's indices are those of its own decoded crops; its keys tell where these came from.

        Raises:
            DataError: more crops are unreadable than `data.max_skipped` allows.
        """
        seen, rng = self._prefetch.take(count, seed, part, step)
        return render_batch(seen.plan, seen.crops.to(self._device)), rng

    def preview(self, count: int, seed: int) -> Preview:
        """Plan `count` pairs of the first step for a look at them; what is drawn for training stays as it is."""
        return self._prefetch.once(count, seed, 0, 0)[0]

    def close(self) -> None:
        """Stop reading and decoding."""
        self._prefetch.close()
        for pool in (self._fetcher, self._decoders):
            pool.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, count: int, seed: int, part: int, step: int) -> tuple[Preview, torch.Generator]:
        """The pairs of a step, planned, with their crops, decoded, on the CPU; and the generator that drew them."""
        window = self._window(seed, part, step * count // self._crops_a_shard)
        rng = generator(seed, part, step)
        for _ in range(_TRIES):
            pairs = window.sampler.draw(count, rng)
            used = torch.cat([pairs.template, pairs.search, pairs.other])
            rows = torch.unique(used[used >= 0])
            pictures = list(self._decoders.map(lambda row: decode(window.rows[row][1]), rows.tolist()))
            good = torch.tensor([picture is not None for picture in pictures])
            if not bool(good.all()):
                self._count([window.rows[row][0] for row in rows[~good].tolist()])
            if (whole := _without(pairs, rows[~good])) is not None:
                crops = _decoded(window, rows, pictures)
                template, search = torch.searchsorted(rows, whole.template), torch.searchsorted(rows, whole.search)
                other = torch.where(whole.other < 0, -1, torch.searchsorted(rows, whole.other.clamp(min=0)))
                whole = replace(whole, template=template, search=search, other=other)
                return Preview(plan_batch(crops, whole, self._sizes, self._data, rng), crops, window.listed), rng
        raise DataError(f"no pair of {_TRIES} batches of {count} can be decoded; make the shards again")

    def _window(self, seed: int, part: int, position: int) -> _Window:
        """The window of a part at a position; only the thread that prepares batches comes here."""
        if self._width == len(self._shards):
            position = 0
        window = self._windows.get(part)
        if window is not None and window.position == position:
            return window
        following = None
        if self._width == len(self._shards):
            wanted = tuple(range(self._width))
        else:
            wanted = tuple(sorted({self._at(seed, part, position + i) for i in range(self._width)}))
            following = self._at(seed, part, position + self._width)
        read = [self._fetch(shard) for shard in wanted]
        rows = [row for future in read for row in future.result()]
        if not rows:
            raise DataError(f"the shards {', '.join(self._shards[s].name for s in wanted)} hold no crops")
        listed = ResidentSet.listed([(key, note) for key, _, note in rows])
        window = _Window(position, wanted, following, rows, listed, PairSampler(listed, self._data, self._videos))
        self._windows[part] = window
        self._forget()
        if following is not None:
            self._fetch(following)
        return window

    def _at(self, seed: int, part: int, position: int) -> int:
        """The shard at a position of the endless order: one permutation after the other."""
        epoch, place = divmod(position, len(self._shards))
        return int(torch.randperm(len(self._shards), generator=generator(seed, part, epoch, _ORDER))[place])

    def _fetch(self, shard: int) -> Future[Rows]:
        if shard not in self._coming:
            self._coming[shard] = self._fetcher.submit(self._load, shard)
        return self._coming[shard]

    def _load(self, shard: int) -> Rows:
        rows = self._cached.pop(shard, None)
        if rows is None:
            rows = read_shard(self._shards[shard])
        self._sizes_read[shard] = len(rows)
        return rows

    def _forget(self) -> None:
        """Drop the shards that no part's window holds any more."""
        held = {shard for window in self._windows.values() for shard in (*window.shards, window.following)}
        for shard in [shard for shard, future in self._coming.items() if shard not in held and future.done()]:
            del self._coming[shard]

    def _count(self, keys: list[str]) -> None:
        with self._lock:
            self._skipped.update(keys)
            known = sum(self._sizes_read.values())
            if len(self._skipped) > self._data.max_skipped * known:
                raise DataError(
                    f"{len(self._skipped)} of the {known} crops read so far cannot be decoded, more than "
                    f"data.max_skipped = {self._data.max_skipped:g}, first {sorted(self._skipped)[:3]}; "
                    f"make the shards again"
                )


def _without(pairs: Pairs, bad: Tensor) -> Pairs | None:
    """Put the next whole pair in the place of each that has a bad crop; None if no pair is whole.

    A bad piece is not pasted.
    """
    if not len(bad):
        return pairs
    broken = torch.isin(pairs.template, bad) | torch.isin(pairs.search, bad)
    whole = torch.nonzero(~broken)[:, 0]
    if not len(whole):
        return None
    place = torch.searchsorted(whole, torch.arange(len(broken))) % len(whole)
    rows = torch.where(broken, whole[place], torch.arange(len(broken)))
    alike = None if pairs.alike is None else pairs.alike[rows]
    other = torch.where(torch.isin(pairs.other, bad), -1, pairs.other)[rows]
    return Pairs(pairs.template[rows], pairs.search[rows], pairs.present[rows], other, alike)


def _decoded(window: _Window, rows: Tensor, pictures: list[Image | None]) -> ResidentSet:
    """The decoded crops of a batch as a small resident set; unreadable ones are black and not used."""
    shape = next((picture.shape for picture in pictures if picture is not None), (1, 1, 3))
    if any(picture is not None and picture.shape != shape for picture in pictures):
        raise DataError(f"crops of different sizes in {window.rows[int(rows[0])][0]} and others; shards hold one size")
    images = np.stack([np.zeros(shape, np.uint8) if picture is None else picture for picture in pictures])
    return replace(window.listed.rows(rows), images=torch.from_numpy(images).permute(0, 3, 1, 2))
