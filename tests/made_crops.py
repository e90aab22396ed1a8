"""Made pictures, shards and sets for the data tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import CropLabel


def picture(seed: int, width: int = 368, height: int = 368) -> np.ndarray:
    """A smooth random RGB picture, as cameras give them: bilinear cuts of it agree between methods."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(seed: int, size: int = 368) -> bytes:
    return cv2.imencode(".jpg", picture(seed, size, size))[1].tobytes()


def write_tar(path: Path, rows: Sequence[tuple[str, bytes, CropLabel]]) -> None:
    with tarfile.open(path, "w") as tar:
        for key, image, label in rows:
            for name, data in ((f"{key}.jpg", image), (f"{key}.json", label.as_json())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def make_set(tracks: Sequence[tuple[str, str, Sequence[int]]], seed: int = 0, size: int = 368) -> ResidentSet:
    """A set of (source, category, frames) tracks with random pictures."""
    rows = []
    for number, (source, category, frames) in enumerate(tracks):
        for frame in frames:
            x, y = 150.0 + number % 7, 140.0
            label = CropLabel(f"t{number}", frame, (x, y, x + 60 + frame % 5, y + 80), category, source)
            rows.append((f"{number:03d}_{frame:03d}", jpeg(seed + 100 * number + frame, size), label))
    return ResidentSet.decode(rows, "made")
