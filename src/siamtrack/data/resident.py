"""The resident set: every crop decoded once and kept as uint8, on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from siamtrack.data.shards import Note, decode, iterate_shard, tabulate
from siamtrack.errors import DataError

__all__ = ["ResidentSet"]


@dataclass(frozen=True)
class ResidentSet:
    """N crops and what is known of them.

    Attributes:
        images: (N, 3, S, S) uint8 RGB; channels last in memory, which is how the CPU cuts fastest.
        boxes: (N, 4) float32 xyxy in crop pixels.
        tracks: (N,) number of the object that each crop shows; equal numbers are the same object.
        frames: (N,) number of the frame within its video; 0 for stills.
        sources: (N,) index into `source_names`.
        categories: (N,) index into `category_names`.
        keys: the crops' names in their shards.
        skipped: keys of crops that could not be decoded.
    """

    images: Tensor
    boxes: Tensor
    tracks: Tensor
    frames: Tensor
    sources: Tensor
    categories: Tensor
    source_names: tuple[str, ...]
    category_names: tuple[str, ...]
    keys: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str) -> ResidentSet:
        """The set with its pixels and boxes on `device`; the rest stays on the CPU, where pairs are drawn."""
        return replace(self, images=self.images.to(device), boxes=self.boxes.to(device))

    @staticmethod
    def load(folder: Path | str, max_skipped: float = 0.01) -> ResidentSet:
        """Decode all shards `*.tar` of a folder.

        Raises:
            DataError: no folder, no shard, or more than `max_skipped` of the crops cannot be decoded.
        """
        shards = sorted(Path(folder).glob("*.tar"))
        if not shards:
            raise DataError(f"expected a folder with WebDataset shards (*.tar); found none in {folder}")
        rows: list[tuple[str, bytes, Note]] = []
        for path in shards:
            with path.open("rb") as shard:
                rows += [(f"{path.stem}/{key}", jpeg, note) for key, jpeg, note in iterate_shard(shard, str(path))]
        return ResidentSet.decode(rows, str(folder), max_skipped)

    @staticmethod
    def decode(rows: Sequence[tuple[str, bytes, Note]], where: str, max_skipped: float = 0.01) -> ResidentSet:
        """Decode crops given as (key, image file, annotation); `where` names them in an error.

        Raises:
            DataError: more than `max_skipped` of them cannot be decoded, or they differ in size.
        """
        images: np.ndarray | None = None
        kept: list[tuple[str, Note]] = []
        skipped: list[str] = []
        for key, jpeg, note in rows:
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
            kept.append((key, note))
        if images is None or len(skipped) > max_skipped * len(rows):
            raise DataError(
                f"{len(skipped)} of {len(rows)} crops in {where} cannot be decoded, "
                f"first {skipped[:3]}; make the shards again"
            )
        table = tabulate(note for _, note in kept)
        return ResidentSet(
            torch.from_numpy(images[: len(kept)]).permute(0, 3, 1, 2),
            table.boxes, table.tracks, table.frames, table.sources, table.categories,
            table.source_names, table.category_names,
            tuple(key for key, _ in kept), tuple(skipped),
        )  # fmt: skip
