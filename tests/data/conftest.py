"""Small made sets for the data tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch

from made_crops import make_set
from siamtrack.data.resident import ResidentSet


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Crops are too small to share among threads that other tests keep busy."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


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
