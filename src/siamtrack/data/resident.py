"""The resident set: every crop decoded once and kept as uint8, on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from siamtrack.data.shards import MOST_OTHERS, CropLabel, Rows, decode, list_shards, read_shard
from siamtrack.errors import DataError


@dataclass(frozen=True)
class ResidentSet:
    """N crops and what is known of them.

    Attributes:
        images: (N, 3, S, S) uint8 RGB; channels last in memory, which is how the CPU cuts fastest. On the device
            "meta", where tensors have no memory, crops are listed but not decoded.
        boxes: (N, 4) float32 xyxy in crop pixels.
        tracks: (N,) number of the object that each crop shows; equal numbers are the same object.
        frames: (N,) number of the frame within its video; 0 for stills.
        videos: (N,) number of the video or still that each object was taken from; several objects may share one.
        sources: (N,) index into `source_names`.
        categories: (N,) index into `category_names`.
        others: (N, 6, 4) float32 xyxy of the other labelled objects in each crop, nearest first; nan where there are
            fewer.
        other_categories: (N, 6) index into `category_names`; -1 where there are fewer.
        keys: the crops' names in their shards.
        skipped: keys of crops that could not be decoded.
    """

    images: Tensor
    boxes: Tensor
    tracks: Tensor
    frames: Tensor
    videos: Tensor
    sources: Tensor
    categories: Tensor
    others: Tensor
    other_categories: Tensor
    source_names: tuple[str, ...]
    category_names: tuple[str, ...]
    keys: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str) -> ResidentSet:
        """The set with its pixels on `device`; the rest stays on the CPU, where pairs are drawn."""
        return replace(self, images=self.images.to(device))

    def rows(self, index: Tensor) -> ResidentSet:
        """The crops of these numbers, in this order; a range of them shares the memory of the whole."""
        whole = len(index) > 0 and torch.equal(index, torch.arange(int(index[0]), int(index[0]) + len(index)))
        chosen = slice(int(index[0]), int(index[0]) + len(index)) if whole else index
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        parts: dict[str, Any] = {name: value[chosen] for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **parts, keys=tuple(self.keys[row] for row in index.tolist()))

    @staticmethod
    def listed(rows: Sequence[tuple[str, CropLabel]]) -> ResidentSet:
        """What keys and annotations say of some crops, without their pixels."""
        labels = [label for _, label in rows]
        tracks, _ = _number([label.track for label in labels])
        videos, _ = _number([label.video or label.track for label in labels])
        sources, source_names = _number([label.source for label in labels])
        beside = [(row, place, other) for row, label in enumerate(labels) for place, other in enumerate(label.others)]
        named = [label.category for label in labels] + [other.category for _, _, other in beside]
        numbers, category_names = _number(named)
        others = torch.full((len(labels), MOST_OTHERS, 4), torch.nan)
        other_categories = torch.full((len(labels), MOST_OTHERS), -1)
        for (row, place, other), number in zip(beside, numbers[len(labels) :], strict=True):
            others[row, place] = torch.tensor(other.box)
            other_categories[row, place] = number
        boxes = torch.tensor([label.box for label in labels], dtype=torch.float32).reshape(-1, 4)
        frames = torch.tensor([label.frame for label in labels], dtype=torch.int64)
        images = torch.empty(len(labels), 3, 0, 0, dtype=torch.uint8, device="meta")
        keys = tuple(key for key, _ in rows)
        return ResidentSet(
            images, boxes, tracks, frames, videos, sources, numbers[: len(labels)], others, other_categories,
            source_names, category_names, keys,
        )  # fmt: skip

    @staticmethod
    def load(place: Path | str, max_skipped: float = 0.01) -> ResidentSet:
        """Decode all shards of a folder, or of another place that `list_shards` knows.

        Raises:
            DataError: no shard there, or more than `max_skipped` of the crops cannot be decoded.
        """
        rows = [row for shard in list_shards(place).shards for row in read_shard(shard)]
        return ResidentSet.decode(rows, str(place), max_skipped)

    @staticmethod
    def decode(rows: Rows, where: str, max_skipped: float = 0.01) -> ResidentSet:
        """Decode crops of `where`; raises `DataError` if they differ in size or more than `max_skipped` are broken."""
        images: np.ndarray | None = None
        kept: list[tuple[str, CropLabel]] = []
        skipped: list[str] = []
        for key, jpeg, label in rows:
            image = decode(jpeg)
            if image is None:
                skipped.append(key)
                continue
            if images is None:  # one block, filled in place: a list of crops would need twice the memory
                images = np.empty((len(rows), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise DataError(
                    f"{where}: crop {key} is {image.shape[1]}×{image.shape[0]}, others are "
                    f"{images.shape[2]}×{images.shape[1]}; shards hold crops of one size"
                )
            images[len(kept)] = image
            kept.append((key, label))
        if images is None or len(skipped) > max_skipped * len(rows):
            raise DataError(
                f"{len(skipped)} of {len(rows)} crops in {where} cannot be decoded, more than "
                f"data.max_skipped = {max_skipped:g}, first {skipped[:3]}; make the shards again"
            )
        pixels = torch.from_numpy(images[: len(kept)]).permute(0, 3, 1, 2)
        return replace(ResidentSet.listed(kept), images=pixels, skipped=tuple(skipped))


def _number(names: list[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Names as numbers: the index of each in the sorted list of all."""
    known = tuple(sorted(set(names)))
    place = {name: i for i, name in enumerate(known)}
    return torch.tensor([place[name] for name in names], dtype=torch.int64), known
