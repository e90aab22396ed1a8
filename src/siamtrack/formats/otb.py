"""OTB-2013, OTB-50 and OTB-100: `<seq>/img/0001.jpg` and `<seq>/groundtruth_rect.txt`, counted from one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.files import folders, numbered, regions
from siamtrack.formats.otb_table import OTB_ATTRIBUTES, OTB_SPECIAL, Special
from siamtrack.formats.sequence import VideoSequence, from_file
from siamtrack.io import read_bytes

__all__ = ["read_otb"]

_ORIGIN = 1
_TRUTH = re.compile(r"^groundtruth_rect(?:\.(\d+))?\.txt$")


def read_otb(root: Path) -> list[VideoSequence]:
    """Read all sequences below `root`; each target of a folder is one, as Jogging-1 and Jogging-2.

    Frames are those of `OTB_SPECIAL` where a sequence does not begin at 0001.jpg or has images without
    annotation.

    Raises:
        DataError: no sequences, a malformed annotation, or a frame that is missing.
    """
    found: list[VideoSequence] = []
    for folder in folders(root):
        found += _targets(folder)
    if not found:
        raise DataError(f"{root}: expected folders such as Basketball/groundtruth_rect.txt; there are none")
    return found


def _targets(folder: Path) -> list[VideoSequence]:
    files = [(m.group(1), p) for p in sorted(folder.iterdir()) if (m := _TRUTH.match(p.name))]
    # Human4 comes with an empty groundtruth_rect.1.txt
    filled = [(number, path) for number, path in files if read_bytes(path).strip()]
    return [_sequence(folder, path, number) for number, path in filled]


def _sequence(folder: Path, path: Path, number: str | None) -> VideoSequence:
    name = folder.name if number is None else f"{folder.name}-{number}"
    special = OTB_SPECIAL.get(folder.name, Special())
    truth = regions(path)
    first = special.first
    if special.omit and len(truth) == special.frames:
        truth, first = truth[special.omit :], first + special.omit
    elif special.omit:
        first += special.omit  # PySOT's copies of the annotation have these lines removed
    if special.frames is not None and len(truth) > special.frames:
        raise DataError(f"{path}: {len(truth)} lines; {name} has {special.frames} annotated frames")
    frames = numbered(folder / "img", f"%0{special.digits}d.jpg", first, len(truth))
    everywhere = np.ones(len(truth), dtype=np.bool_)
    tags = {tag: everywhere for tag, names in OTB_ATTRIBUTES.items() if folder.name in names}
    return VideoSequence(name, frames, from_file(truth, _ORIGIN), tags=tags, origin=_ORIGIN)
