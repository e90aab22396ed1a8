"""GOT-10k: `<split>/list.txt`, `<split>/<seq>/00000001.jpg`, `groundtruth.txt` and labels beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.files import flags, folders, images, regions
from siamtrack.formats.parse import parse_column
from siamtrack.formats.sequence import VideoSequence
from siamtrack.geometry.regions import BoolArray
from siamtrack.io import read_bytes

__all__ = ["read_got10k_test", "read_got10k_val"]


def read_got10k_val(root: Path) -> list[VideoSequence]:
    """Read the 180 sequences of the validation split, whose truth is public."""
    return _read(root, "val")


def read_got10k_test(root: Path) -> list[VideoSequence]:
    """Read the 180 sequences of the test split; of their truth only the first box is public."""
    return _read(root, "test")


def _read(root: Path, split: str) -> list[VideoSequence]:
    """Read a split from the data set's folder, or from the split's own.

    Raises:
        DataError: no such split, a listed sequence that is missing, or a malformed file.
    """
    place = root / split if (root / split).is_dir() else root
    listed = place / "list.txt"
    if listed.is_file():
        names = read_bytes(listed).decode().split()
    else:
        names = [d.name for d in folders(place) if (d / "groundtruth.txt").is_file()]
    if not names:
        raise DataError(f"{root}: expected {split}/list.txt and {split}/GOT-10k_*; there are none")
    return [_sequence(place / name) for name in names]


def _sequence(folder: Path) -> VideoSequence:
    frames = images(folder)
    truth = regions(folder / "groundtruth.txt")
    if len(truth) not in (1, len(frames)):
        raise DataError(f"{folder}/groundtruth.txt: {len(truth)} lines for {len(frames)} frames")
    cover, absence = folder / "cover.label", folder / "absence.label"
    visible: BoolArray | None = None
    if cover.is_file():  # eighths of the object that are seen
        shares = parse_column(read_bytes(cover), str(cover))
        if len(shares) != len(frames):
            raise DataError(f"{cover}: {len(shares)} lines for {len(frames)} frames; there must be one a frame")
        visible = np.asarray(np.nan_to_num(shares) > 0, dtype=np.bool_)
    elif absence.is_file():
        visible = ~flags(absence, len(frames))
    return VideoSequence(folder.name, frames, truth, visible)
