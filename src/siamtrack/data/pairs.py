"""Which crops make a pair: drawn from (seed, rank, step) alone, so that a run can be repeated and resumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from siamtrack.config import Data
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError, nearest

__all__ = ["PairSampler", "Pairs", "generator"]


@dataclass(frozen=True)
class Pairs:
    """B pairs: indices of the template's and the search region's crop, and whether they show one object.

    `other` is the crop that a distractor or an occluder is taken from: never the pair's own object.
    """

    template: Tensor
    search: Tensor
    present: Tensor
    other: Tensor


def generator(seed: int, rank: int, step: int, purpose: int = 0) -> torch.Generator:
    """A random generator that depends on nothing but its arguments."""
    mixed = np.random.SeedSequence([seed, rank, step, purpose]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(mixed[0]) << 31 | int(mixed[1]) >> 1)


class PairSampler:
    """Draws pairs of a set by the rules of its `Data` section.

    An object is drawn by the weight of its source (1 unless the preset says otherwise), scaled by the root of its
    number of crops up to `data.frames_weight`, so that objects with real motion come up more often. Both crops
    are of that object, at most `data.gap` frames apart; with probability `data.negative` the template is of
    another object, of the same category in half of the cases where there is one.
    """

    def __init__(self, crops: ResidentSet, data: Data) -> None:
        unknown = [name for name in data.source_weights if name not in crops.source_names]
        if unknown:
            raise ConfigError(
                f"data.source_weights names the unknown source '{unknown[0]}'{nearest(unknown[0], crops.source_names)}"
            )
        self.data = data
        self.tracks = crops.tracks.numpy()
        self.frames = crops.frames.numpy()
        self.categories = crops.categories.numpy()
        order = np.lexsort((self.frames, self.tracks))
        starts = np.flatnonzero(np.diff(self.tracks[order], prepend=-1))
        self.members = np.split(order, starts[1:])
        first = order[starts]
        weight = np.array([data.source_weights.get(name, 1.0) for name in crops.source_names])
        share = weight[crops.sources.numpy()[first]]
        share = share * np.minimum(np.sqrt([len(m) for m in self.members]), data.frames_weight)
        self.cumulative = np.cumsum(share / share.sum())
        self.by_category = {c: np.flatnonzero(self.categories == c) for c in np.unique(self.categories)}

    def draw(self, batch: int, rng: torch.Generator) -> Pairs:
        """Draw `batch` pairs."""
        u = torch.rand(batch, 6, generator=rng).numpy()
        last = len(self.members) - 1
        tracks = np.minimum(np.searchsorted(self.cumulative, u[:, 0]), last)
        others = np.minimum(np.searchsorted(self.cumulative, u[:, 4]), last)
        template = np.empty(batch, np.int64)
        search = np.empty(batch, np.int64)
        other = np.empty(batch, np.int64)
        present = u[:, 3] >= self.data.negative
        for i, (track, rival) in enumerate(zip(tracks, others, strict=True)):
            search[i], template[i] = self._same(self.members[track], u[i, 1], u[i, 2])
            if rival == track:
                rival = (track + 1) % len(self.members)
            other[i] = _pick(self.members[rival], u[i, 5])
            if not present[i]:
                template[i] = self._different(search[i], other[i], u[i, 2])
        return Pairs(*(torch.from_numpy(a) for a in (template, search, present, other)))

    def _same(self, members: np.ndarray, u: float, v: float) -> tuple[int, int]:
        search = _pick(members, u)
        near = members[np.abs(self.frames[members] - self.frames[search]) <= self.data.gap]
        return search, _pick(near, v)

    def _different(self, search: int, other: int, u: float) -> int:
        if u < 0.5:
            rivals = self.by_category[self.categories[search]]
            pick = _pick(rivals, 2 * u)
            if self.tracks[pick] != self.tracks[search]:
                return pick
        return other


def _pick(members: np.ndarray, u: float) -> int:
    return int(members[min(int(u * len(members)), len(members) - 1)])
