"""VOT's layouts: `list.txt`, `<seq>/groundtruth.txt`, frames in `<seq>` or `<seq>/color`, tags and anchors.

Read are the short-term sets from 2015 on, the long-term sets, and the multi-start sets from 2020 on. Where
the truth is a mask (VOT-ST 2020 and later) its bounding rectangle takes its place: this project tracks boxes,
and the bounding-box challenge of 2022 scores them in the same way.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.files import folders, images
from siamtrack.formats.parse import parse_column, parse_flags, parse_truth
from siamtrack.formats.sequence import ImageFiles, VideoSequence
from siamtrack.geometry.regions import BoolArray, IntArray
from siamtrack.io import read_bytes

__all__ = ["read_vot"]

_CHANNEL = re.compile(rb"^\s*channels\.color\s*=\s*(\S+)", re.MULTILINE)


def read_vot(root: Path) -> list[VideoSequence]:
    """Read a VOT set from the folder that holds list.txt, or from a workspace that holds it in `sequences`.

    Raises:
        DataError: no sequences, a listed one that is missing, or a malformed file.
    """
    place = root / "sequences" if (root / "sequences").is_dir() else root
    listed = place / "list.txt"
    if listed.is_file():
        names = [line.strip() for line in read_bytes(listed).decode().splitlines() if line.strip()]
    else:
        names = [d.name for d in folders(place) if (d / "groundtruth.txt").is_file()]
    if not names:
        raise DataError(f"{root}: expected list.txt and <sequence>/groundtruth.txt; there are none")
    return [_sequence(place / name) for name in names]


def _sequence(folder: Path) -> VideoSequence:
    frames = _frames(folder)
    path = folder / "groundtruth.txt"
    truth = parse_truth(read_bytes(path), str(path))
    count = len(truth)
    if len(frames) < count:
        raise DataError(f"{folder}: {len(frames)} frames for {count} lines of groundtruth.txt")
    frames = ImageFiles(frames.folder, frames.names[:count])
    return VideoSequence(folder.name, frames, truth, tags=_tags(folder, count), anchors=_anchors(folder, count))


def _frames(folder: Path) -> ImageFiles:
    """Return the colour frames.

    Where the file `sequence` says, else in `color`, else in the folder itself.
    """
    properties = folder / "sequence"
    channel = _CHANNEL.search(read_bytes(properties)) if properties.is_file() else None
    if channel is not None:
        pattern = Path(channel.group(1).decode().replace("\\", "/"))
        return images(folder / pattern.parent if pattern.suffix else folder / pattern)
    return images(folder / "color" if (folder / "color").is_dir() else folder)


def _tags(folder: Path, frames: int) -> dict[str, BoolArray]:
    """Read all per-frame tags; zeros at the end may be left out."""
    found = {}
    for path in sorted([*folder.glob("*.tag"), *folder.glob("*.label")]):
        on = parse_flags(read_bytes(path), str(path))
        if len(on) > frames:
            raise DataError(f"{path}: {len(on)} flags for {frames} frames")
        found[path.stem] = np.pad(on, (0, frames - len(on)))
    return found


def _anchors(folder: Path, frames: int) -> IntArray | None:
    path = folder / "anchor.value"
    if not path.is_file():
        return None
    values = np.nan_to_num(parse_column(read_bytes(path), str(path)))
    if len(values) > frames:
        raise DataError(f"{path}: {len(values)} values for {frames} frames")
    return np.sign(np.pad(values, (0, frames - len(values)))).astype(np.int64)
