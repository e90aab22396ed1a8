"""Which crops make a pair: drawn from (seed, rank, step) alone, so that a run can be repeated and resumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from siamtrack.config import Data
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError, did_you_mean
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray

NAMELESS = frozenset({"", "object", "unknown"})
"""Categories that say nothing: two objects of one of them are not taken to be of the same kind."""


@dataclass(frozen=True)
class Pairs:
    """B pairs.

    Attributes:
        template: (B,) index of the template's crop.
        search: (B,) index of the search region's crop.
        present: (B,) bool: both show one object.
        other: (B,) the crop that a distractor or an occluder is taken from: of neither object; -1 for none.
        alike: (B,) bool: both show one object or two of one category, what SPM's coarse stage calls positive in
            its generalized training; None without `data.same_category`.
    """

    template: Tensor
    search: Tensor
    present: Tensor
    other: Tensor
    alike: Tensor | None = None


def generator(seed: int, rank: int, step: int, purpose: int = 0) -> torch.Generator:
    """A random generator that depends on nothing but its arguments."""
    mixed = np.random.SeedSequence([seed, rank, step, purpose]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(mixed[0]) << 31 | int(mixed[1]) >> 1)


def check_sources(named: Iterable[str], known: tuple[str, ...], key: str) -> None:
    """Raise `ConfigError`, which offers the nearest, if a setting names a source that the data do not have."""
    for name in named:
        if name not in known:
            raise ConfigError(f"{key} names the unknown source '{name}'{did_you_mean(name, known)}")


class PairSampler:
    """Draws pairs of a set by the rules of its `Data` section.

    An object is drawn by the weight of its source (1 unless the preset says otherwise), scaled by the root of
    its number of crops up to `data.frames_weight`, so that objects with real motion come up more often; a source in
    `data.source_counts` counts as that many objects of weight 1, and `data.video_share` sets the share of objects
    with several frames outright. Both crops are of that object, at most `data.gap` frames apart, and with
    `data.distinct_frames` of two frames where there are two (a still is paired with itself, as in DaSiamRPN, section
    3.2); with probability `data.negative` the template is of another object, of the same category for
    `data.negative_same` of these, or of any. Where no object is left to draw, as in a set of one
    category, the nearest kind of pair takes its place. `data.sampling` names the ways of published codes.

    Args:
        crops: listed ones; their pixels are not looked at.
        data: the rules. Sources that the crops lack have no effect: a preset weighs those of its own training set.
        videos: for the sampling "videos", how many videos and stills each source has where `crops` are a part of them,
            as the window of a stream is.

    Raises:
        ConfigError: no crop with a weight.
    """

    def __init__(self, crops: ResidentSet, data: Data, videos: Mapping[str, int] | None = None) -> None:
        self._data = data
        tracks, frames = crops.tracks.numpy(), crops.frames.numpy()
        # By category, track and frame: each of them is one range, and drawing is arithmetic on ranges.
        # A track of several categories counts as its first one.
        _, opening, number = np.unique(tracks, return_index=True, return_inverse=True)
        self._order: IntArray = np.lexsort((frames, tracks, crops.categories.numpy()[opening][number]))
        ordered = tracks[self._order]
        self._starts: IntArray = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
        self._lengths: IntArray = np.diff(self._starts, append=len(ordered))
        first = self._order[self._starts]
        sources = crops.sources.numpy()[first]
        named = np.array([data.source_weights.get(name, 1.0) for name in crops.source_names])
        self._gaps: IntArray = np.array([data.gaps.get(name, data.gap) for name in crops.source_names])[sources]
        if data.sampling == "videos":
            even = _each_video(crops.videos.numpy()[first], sources)
            total = np.bincount(sources, even)
            here = dict(zip(crops.source_names, total.tolist(), strict=True))
            counts = here | dict(videos or {}) | data.source_counts
            even /= total[sources]
            weights = even * (named * [counts[name] for name in crops.source_names])[sources]
            shown = np.where(weights > 0, even, 0.0)
            self._search_bounds = np.concatenate([[0.0], np.cumsum(shown / max(float(shown.sum()), 1e-300))])
        else:
            weights = named[sources] * np.minimum(np.sqrt(self._lengths), data.frames_weight)
            for name, count in data.source_counts.items():
                mine = sources == (crops.source_names.index(name) if name in crops.source_names else -1)
                if weights[mine].sum() > 0:
                    weights[mine] *= count * data.source_weights.get(name, 1.0) / weights[mine].sum()
        if data.sampling == "ordered" and (weights[self._lengths > 1] > 0).any():
            weights = np.where(self._lengths > 1, weights, 0.0)
        weights = _split(weights, self._lengths, data)
        weights = weights / max(float(weights.sum()), 1e-300)
        if not weights.sum() > 0:
            have = ", ".join(map(repr, crops.source_names))
            raise ConfigError(
                f"data.source_weights leave no crop to draw; the data have {have}: give one a weight above 0, as with "
                f"--set data.source_weights.{crops.source_names[0]}=1"
            )
        self._bounds: FloatArray = np.concatenate([[0.0], np.cumsum(weights)])
        self._categories: IntArray = crops.categories.numpy()[first]
        named_kind = np.array([name not in NAMELESS for name in crops.category_names], bool)[self._categories]
        self._kind_low, self._kind_high = self._kinds(named_kind)
        mates = (self._kind_high - self._kind_low - weights) > 1e-9 * self._bounds[-1]
        mated = _split(np.where(mates, weights, 0), self._lengths, data)
        self._mated: FloatArray = np.concatenate([[0.0], np.cumsum(mated)])
        # One number for track and frame makes the frames near another one a range of a sorted array.
        self._span = int(frames.max() - frames.min()) + 2 * int(self._gaps.max()) + 2
        number = np.repeat(np.arange(len(self._starts)), self._lengths)
        self._frames: IntArray = frames[self._order].astype(np.int64)
        self._clock: IntArray = number * self._span + self._frames - frames.min()
        if data.sampling == "ordered":
            later = np.searchsorted(self._clock, self._clock + self._gaps[number], "left")
            ends = (self._starts + self._lengths)[number]
            self._later = np.concatenate([[0], np.cumsum(np.minimum(later, ends) - np.arange(len(number)) - 1)])

    def draw(self, batch: int, rng: torch.Generator) -> Pairs:
        """Draw `batch` pairs."""
        u = torch.rand(batch, 9, generator=rng, dtype=torch.float64).numpy()
        negative = u[:, 0] < self._data.negative
        share = self._data.negative_same
        same_kind = negative & (u[:, 1] < (0.0 if share == "any" else share)) & bool(self._mated[-1] > 0)
        tracks = np.where(same_kind, _search(self._mated, u[:, 2]), _search(self._bounds, u[:, 2]))
        low, high = self._kind_low[tracks], self._kind_high[tracks]
        own_low, own_high = self._bounds[tracks], self._bounds[tracks + 1]
        mates = self._between(u[:, 3], low, high, own_low, own_high)
        strangers = self._between(u[:, 3], 0.0, self._bounds[-1], low, high)
        lone = (strangers < 0) | (share == "any")  # also where there is one category only: any other object
        strangers = np.where(lone, self._between(u[:, 3], 0.0, self._bounds[-1], own_low, own_high), strangers)
        rivals = np.where(same_kind, mates, strangers)
        negative &= rivals >= 0
        shown = np.where(negative, rivals, tracks)
        if self._data.sampling == "videos":
            tracks = np.where(negative, self._elsewhere(tracks, rivals, u[:, 2]), tracks)
        template, search = self._two_crops(tracks, u[:, 4], u[:, 5])
        # Of a negative pair the two crops do not depend on each other.
        search = np.where(negative, self._crop(tracks, u[:, 4]), search)
        template = np.where(negative, self._crop(shown, u[:, 5]), template)
        other = self._other(tracks, shown, u[:, 6:])
        rows = self._order[template], self._order[search], ~negative, other
        pairs = Pairs(*(torch.from_numpy(row) for row in rows))
        if not self._data.same_category:
            return pairs
        low, high = self._kind_low[tracks], self._kind_high[tracks]
        same = (low <= self._bounds[shown]) & (self._bounds[shown] < high)
        return replace(pairs, alike=torch.from_numpy(~negative | same))

    def _kinds(self, named: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Each track's category as a range on the line of weights; the track alone where it has no name."""
        first = np.flatnonzero(np.diff(self._categories, prepend=self._categories[:1] - 1))
        group = np.repeat(np.arange(len(first)), np.diff(first, append=len(self._categories)))
        ends = np.append(first[1:], len(self._categories))
        low = np.where(named, self._bounds[first][group], self._bounds[:-1])
        return low, np.where(named, self._bounds[ends][group], self._bounds[1:])

    def _between(
        self,
        u: FloatArray,
        low: FloatArray | float,
        high: FloatArray | float,
        hole_low: FloatArray,
        hole_high: FloatArray,
    ) -> IntArray:
        """Tracks drawn by weight from a range with a hole in it; -1 where that leaves nothing."""
        free = (high - low) - (hole_high - hole_low)
        place = low + u * free
        place = np.where(place >= hole_low, np.maximum(place + (hole_high - hole_low), hole_high), place)
        found = np.clip(np.searchsorted(self._bounds, place, "right") - 1, 0, len(self._starts) - 1)
        drawn: IntArray = np.where(free > 1e-9 * self._bounds[-1], found, -1)
        return drawn

    def _crop(self, tracks: IntArray, u: FloatArray) -> IntArray:
        """A crop of each track, as a place in `_order`."""
        return self._starts[tracks] + np.minimum(
            (u * self._lengths[tracks]).astype(np.int64), self._lengths[tracks] - 1
        )

    def _elsewhere(self, tracks: IntArray, rivals: IntArray, u: FloatArray) -> IntArray:
        """Tracks of any source with equal chance, none of them its rival; `tracks` where there is no other."""
        bounds = self._search_bounds
        free = bounds[-1] - (bounds[rivals + 1] - bounds[rivals])
        place = u * free
        place = np.where(place >= bounds[rivals], place + bounds[rivals + 1] - bounds[rivals], place)
        found = np.clip(np.searchsorted(bounds, place, "right") - 1, 0, len(bounds) - 2)
        drawn: IntArray = np.where((free > 1e-9) & (found != rivals), found, tracks)
        return drawn

    def _two_crops(self, tracks: IntArray, u: FloatArray, v: FloatArray) -> tuple[IntArray, IntArray]:
        """Template and search crop of each track, as places in `_order`."""
        start, length, gaps = self._starts[tracks], self._lengths[tracks], self._gaps[tracks]
        if self._data.sampling == "videos":
            template = self._crop(tracks, u)
            low, high = np.maximum(template - gaps, start), np.minimum(template + gaps + 1, start + length)
            return template, low + np.minimum((v * (high - low)).astype(np.int64), high - low - 1)
        if self._data.sampling == "spaced":
            most = np.minimum(length, gaps)
            apart = np.minimum(1 + (u * most).astype(np.int64), length - 1)
            template = start + np.minimum((v * (length - apart)).astype(np.int64), length - apart - 1)
            return template, template + apart
        if self._data.sampling == "ordered":
            # Number the allowed pairs of each track, and draw a number.
            first, count = self._later[start], self._later[start + length] - self._later[start]
            pair = first + np.minimum((u * count).astype(np.int64), np.maximum(count - 1, 0))
            template = np.clip(np.searchsorted(self._later, pair, "right") - 1, start, start + length - 1)
            search = template + 1 + pair - self._later[template]
            alone = self._crop(tracks, u)  # no pair is near enough: one frame twice, but for tracks of two
            template = np.where(count > 0, template, np.where(length == 2, start, alone))
            return template, np.where(count > 0, search, np.where(length == 2, start + 1, alone))
        search = self._crop(tracks, u)
        return self._near(tracks, search, v), search

    def _near(self, tracks: IntArray, search: IntArray, u: FloatArray) -> IntArray:
        """A crop of the same track at most the gap away."""
        low = np.searchsorted(self._clock, self._clock[search] - self._gaps[tracks], "left")
        high = np.searchsorted(self._clock, self._clock[search] + self._gaps[tracks], "right")
        low = np.maximum(low, self._starts[tracks])
        high = np.minimum(high, self._starts[tracks] + self._lengths[tracks])
        count = high - low
        if self._data.distinct_frames:
            # The range without the search frame, whose place the last one takes.
            count = np.maximum(count - 1, 1)
        near: IntArray = low + np.minimum((u * count).astype(np.int64), count - 1)
        if self._data.distinct_frames:
            near = np.where(near >= search, np.minimum(near + 1, high - 1), near)
        return near

    def _other(self, tracks: IntArray, shown: IntArray, u: FloatArray) -> IntArray:
        """A crop of neither object: a pasted template would make a negative pair a positive one."""
        total = self._bounds[-1]
        other = self._between(u[:, 0], 0.0, total, self._bounds[tracks], self._bounds[tracks + 1])
        again = self._between(u[:, 1], 0.0, total, self._bounds[tracks], self._bounds[tracks + 1])
        other = np.where(other == shown, again, other)
        other = np.where(other == shown, -1, other)
        return np.where(other < 0, -1, self._order[self._crop(np.maximum(other, 0), u[:, 2])])


def unmet_gaps(crops: ResidentSet, data: Data) -> dict[str, tuple[int, int]]:
    """Sources of which no object has two frames within the source's gap: each of their pairs shows one frame twice.

    Sources of stills, and those that are never drawn, are no such sources, nor is one whose gap is 0.

    Returns:
        By source, its gap and the distance of the two nearest frames of an object.
    """
    frames, tracks, sources = crops.frames.numpy(), crops.tracks.numpy(), crops.sources.numpy()
    order = np.lexsort((frames, tracks))
    follows = np.diff(tracks[order]) == 0
    apart, source = np.diff(frames[order])[follows], sources[order][1:][follows]
    apart, source = apart[apart > 0], source[apart > 0]
    found = {}
    for number, name in enumerate(crops.source_names):
        own, gap = apart[source == number], data.gaps.get(name, data.gap)
        if len(own) and gap and int(own.min()) > gap and data.source_weights.get(name, 1.0) > 0:
            found[name] = gap, int(own.min())
    return found


def _each_video(videos: IntArray, sources: IntArray) -> FloatArray:
    """Weights of tracks such that those of a video add up to 1; equal numbers in both are of one video."""
    each = videos * (int(sources.max()) + 1) + sources
    _, place, counts = np.unique(each, return_inverse=True, return_counts=True)
    share: FloatArray = 1 / counts[place.reshape(-1)]
    return share


def _split(weights: FloatArray, lengths: IntArray, data: Data) -> FloatArray:
    """The weights in the ratio of videos to stills that `data.video_share` asks for, where there are both."""
    moving = lengths > 1
    sums = weights[moving].sum(), weights[~moving].sum()
    if data.video_share is None or not min(sums) > 0:
        return weights
    split: FloatArray = np.where(
        moving, weights * data.video_share / sums[0], weights * (1 - data.video_share) / sums[1]
    )
    return split


def _search(bounds: FloatArray, u: FloatArray) -> IntArray:
    """The range that a share of the whole falls into."""
    found: IntArray = np.clip(np.searchsorted(bounds, u * bounds[-1], "right") - 1, 0, len(bounds) - 2)
    return found
