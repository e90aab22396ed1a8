"""The resident set: every crop decoded once and kept as uint8, on the training device.

Shards are WebDataset tars of `key.jpg` and `key.json` {track_id, frame, box [x0, y0, x1, y1], category, source};
a crop is centred on its object with room for a shifted search region.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from siamtrack.errors import DataError

__all__ = ["ResidentSet", "read_shard"]


@dataclass(frozen=True)
class ResidentSet:
    """N crops and what is known of them.

    Attributes:
        images: (N, 3, S, S) uint8 RGB.
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
        """The same set with its pixels and boxes on `device`; indices stay on the CPU, where pairs are drawn."""
        return ResidentSet(
            self.images.to(device),
            self.boxes.to(device),
            self.tracks,
            self.frames,
            self.sources,
            self.categories,
            self.source_names,
            self.category_names,
            self.keys,
            self.skipped,
        )

    @staticmethod
    def load(folder: Path | str, max_skipped: float = 0.01) -> ResidentSet:
        """Decode all shards `*.tar` of a folder.

        Raises:
            DataError: no folder, no shard, or more than `max_skipped` of the crops cannot be decoded.
        """
        shards = sorted(Path(folder).glob("*.tar"))
        if not shards:
            raise DataError(f"expected a folder with WebDataset shards (*.tar); found none in {folder}")
        images, notes, skipped = [], [], []
        for shard in shards:
            for key, image, note in read_shard(shard):
                if image is None:
                    skipped.append(f"{shard.name}/{key}")
                else:
                    images.append(np.ascontiguousarray(image.transpose(2, 0, 1)))
                    notes.append((key, note))
        if not images or len(skipped) > max_skipped * (len(images) + len(skipped)):
            raise DataError(
                f"{len(skipped)} of {len(images) + len(skipped)} crops in {folder} cannot be decoded, "
                f"first {skipped[:3]}; make the shards again"
            )
        tracks = [note["track_id"] for _, note in notes]
        sources = [note["source"] for _, note in notes]
        categories = [note["category"] for _, note in notes]
        return ResidentSet(
            torch.from_numpy(np.stack(images)),
            torch.tensor([note["box"] for _, note in notes], dtype=torch.float32),
            _number(tracks)[0],
            torch.tensor([int(note["frame"]) for _, note in notes]),
            _number(sources)[0],
            _number(categories)[0],
            _number(sources)[1],
            _number(categories)[1],
            tuple(key for key, _ in notes),
            tuple(skipped),
        )


def _number(names: list[str]) -> tuple[Tensor, tuple[str, ...]]:
    known = tuple(sorted(set(names)))
    place = {name: i for i, name in enumerate(known)}
    return torch.tensor([place[name] for name in names]), known


def read_shard(path: Path) -> list[tuple[str, np.ndarray | None, dict[str, Any]]]:
    """Read one shard: (key, RGB image (S, S, 3) uint8 or None where it cannot be decoded, annotation).

    Raises:
        DataError: the file is no tar, or an annotation lacks a field.
    """
    pictures: dict[str, bytes] = {}
    notes: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                stored = tar.extractfile(member)
                if stored is None:
                    continue
                key, _, kind = member.name.rpartition(".")
                if kind == "jpg":
                    pictures[key] = stored.read()
                elif kind == "json":
                    notes[key] = json.loads(stored.read())
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{path} is no readable WebDataset shard: {error}") from error
    rows: list[tuple[str, np.ndarray | None, dict[str, Any]]] = []
    for key, note in notes.items():
        missing = {"track_id", "frame", "box", "category", "source"} - note.keys()
        if missing:
            raise DataError(f"{path}: the annotation {key}.json lacks {', '.join(sorted(missing))}")
        data = np.frombuffer(pictures.get(key, b""), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        rows.append((key, None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), note))
    return rows
