"""What the readers share: annotations of a known length, numbered frames, flags."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.parse import parse_flags, parse_regions
from siamtrack.formats.sequence import ImageFiles, image_names
from siamtrack.geometry.regions import BoolArray, FloatArray
from siamtrack.io import read_bytes

__all__ = ["flags", "folders", "images", "numbered", "regions"]


def regions(path: Path, frames: int | None = None) -> FloatArray:
    """Read (N, 4) or (N, 8) regions, one a line; special codes and nan are rows of nan.

    Raises:
        DataError: malformed, or not `frames` lines where that is given.
    """
    found = parse_regions(read_bytes(path), str(path)).regions
    if frames is not None and len(found) != frames:
        raise DataError(f"{path}: {len(found)} lines for {frames} frames; there must be one a frame")
    return found


def images(folder: Path) -> ImageFiles:
    """Return all images of a folder in the order of their names."""
    return ImageFiles(folder, image_names(folder))


def numbered(folder: Path, pattern: str, first: int, count: int) -> ImageFiles:
    """Return `count` images whose names are `pattern` % number, from `first` on; the ends must exist.

    Raises:
        DataError: the first or the last one is missing.
    """
    names = tuple(pattern % number for number in range(first, first + count))
    for name in (names[0], names[-1]):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: expected frames {names[0]} to {names[-1]}; {name} is missing")
    return ImageFiles(folder, names)


def flags(path: Path, frames: int) -> BoolArray:
    """Read (frames,) flags of 0 and 1, on lines or separated by commas.

    Raises `DataError` for another number.
    """
    found = parse_flags(read_bytes(path), str(path))
    if len(found) != frames:
        raise DataError(f"{path}: {len(found)} flags for {frames} frames; there must be one a frame")
    return np.asarray(found, dtype=np.bool_)


def folders(root: Path) -> list[Path]:
    """Return the sub-folders, sorted by name, hidden ones left out."""
    return [d for d in sorted(root.iterdir()) if d.is_dir() and not d.name.startswith(".")]
