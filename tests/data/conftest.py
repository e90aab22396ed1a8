"""Small made sets for the data tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import Note


def picture(seed: int, width: int = 368, height: int = 368) -> np.ndarray:
    """A smooth random RGB picture, as cameras give them: bilinear cuts of it agree between methods."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(seed: int, size: int = 368) -> bytes:
    return cv2.imencode(".jpg", picture(seed, size, size))[1].tobytes()


def write_tar(path: Path, rows: Sequence[tuple[str, bytes, Note]]) -> None:
    with tarfile.open(path, "w") as tar:
        for key, image, note in rows:
            for name, data in ((f"{key}.jpg", image), (f"{key}.json", note.as_json())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def make_set(tracks: Sequence[tuple[str, str, Sequence[int]]], seed: int = 0, size: int = 368) -> ResidentSet:
    """A set of (source, category, frames) tracks with random pictures."""
    rows = []
    for number, (source, category, frames) in enumerate(tracks):
        for frame in frames:
            x, y = 150.0 + number % 7, 140.0
            note = Note(f"t{number}", frame, (x, y, x + 60 + frame % 5, y + 80), category, source)
            rows.append((f"{number:03d}_{frame:03d}", jpeg(seed + 100 * number + frame, size), note))
    return ResidentSet.decode(rows, "made")


@pytest.fixture(scope="session")
def small_set() -> ResidentSet:
    """Six objects: two walking people and a walking dog in `film`, stills of a dog, a cat and a thing in `shots`."""
    return make_set(
        [
            ("film", "person", range(0, 40, 4)),
            ("film", "person", range(5)),
            ("film", "dog", (0, 300)),
            ("shots", "dog", (0,)),
            ("shots", "cat", (0,)),
            ("shots", "object", (0,)),
        ]
    )


@pytest.fixture(scope="session")
def one_shard(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> ResidentSet:
    """The first hundred crops of a real shard."""
    from siamtrack.data.shards import iterate_shard

    path = shared / "data" / "train" / "train-00.tar"
    if not path.is_file():
        pytest.skip(f"no training shard at {path}")
    rows = []
    with path.open("rb") as shard:
        for row in iterate_shard(shard, path.name):
            rows.append(row)
            if len(rows) == 100:
                break
    torch.manual_seed(0)
    return ResidentSet.decode(rows, path.name)
