"""What a reader of original annotations is, and what readers share."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from siamtrack.errors import SiamtrackError

__all__ = [
    "VIDEOS",
    "Boxes",
    "Entry",
    "Problem",
    "ReportProblem",
    "Source",
    "frames_of",
    "numbers",
    "relative",
    "sequence_entries",
    "xml_root",
]  # fmt: skip

Boxes = npt.NDArray[np.float64]
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class Entry(NamedTuple):
    """One object in one frame.

    Attributes:
        image: path relative to the data's root, with `/`; `clip.mp4#12` for a frame of a video, counted from 0.
        track: name of the object, the same in all its frames and unique in the data set.
        frame: number of the frame within its video; 0 for stills.
        box: xyxy in continuous pixels.
        category: what it is; "" where that is not known.
    """

    image: str
    track: str
    frame: int
    box: tuple[float, float, float, float]
    category: str


class Problem(NamedTuple):
    """Something wrong in a data set: its kind (the same words for all of a kind), where, and what exactly."""

    kind: str
    path: str
    detail: str


ReportProblem = Callable[[Problem], None]
"""Where a reader puts the problems that it meets, to go on after them."""


@dataclass(frozen=True)
class Source:
    """A reader.

    Attributes:
        name: as the command line spells it.
        about: the layout, in a line.
        units: root -> annotation files or folders, to be read one at a time; empty where the layout is another.
        read: root and one of these -> its entries. A malformed file is a problem, not an error.
    """

    name: str
    about: str
    units: Callable[[Path], list[Path]]
    read: Callable[[Path, Path, ReportProblem], Iterator[Entry]]


def relative(path: Path, root: Path) -> str:
    """A path as an index stores it."""
    return path.relative_to(root).as_posix()


def xml_root(path: Path, note: ReportProblem) -> ET.Element | None:
    """Parse a XML file; None and a problem where that fails."""
    try:
        return ET.parse(path).getroot()
    except (ET.ParseError, OSError, UnicodeDecodeError) as error:
        note(Problem("unreadable annotation", str(path), str(error)))
        return None


def numbers(path: Path, note: ReportProblem, columns: int) -> Boxes | None:
    """Rows of numbers separated by commas, tabs or blanks, (N, at least `columns`); "nan" and "" are nan.

    None and a problem where the file does not hold such rows.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        rows = [[_number(field) for field in _fields(line)] for line in lines if line.strip()]
        table = np.array(rows, dtype=np.float64)
    except (OSError, ValueError) as error:
        note(Problem("unreadable annotation", str(path), str(error)))
        return None
    if table.ndim != 2 or table.shape[1] < columns:
        note(Problem("unreadable annotation", str(path), f"expected rows of {columns} numbers, got {table.shape}"))
        return None
    return table


def _fields(line: str) -> list[str]:
    line = line.strip()
    return line.split(",") if "," in line else line.replace(";", " ").split()


def _number(field: str) -> float:
    return float(field) if field.strip() else float("nan")


def frames_of(
    root: Path, base: Path, note: ReportProblem, inner: tuple[str, ...] = ("img", "img1", "imgs", "")
) -> list[str]:
    """The frames of a sequence in their order: images of `base` or a folder in it, or the video of that name.

    Empty, with a problem, where there are none.
    """
    from siamtrack.video.feeds import natural_key
    from siamtrack.video.reader import open_source

    for name in inner:
        folder = base / name if name else base
        if folder.is_dir():
            images = sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGES), key=natural_key)
            if images:
                return [relative(path, root) for path in images]
    videos = [path for ext in VIDEOS if (path := base.with_name(base.name + ext)).is_file()]
    if base.is_dir():
        videos += sorted(path for path in base.iterdir() if path.suffix.lower() in VIDEOS)
    if not videos and base.suffix.lower() in VIDEOS and base.is_file():
        videos = [base]
    if not videos:
        note(Problem("missing file", str(base), "no folder of images and no video of this name"))
        return []
    try:
        with open_source(videos[0]) as stream:
            count = stream.count if stream.count is not None else sum(1 for _ in stream)
    except SiamtrackError as error:
        note(Problem("unreadable frame", str(videos[0]), str(error)))
        return []
    return [f"{relative(videos[0], root)}#{number}" for number in range(count)]


def sequence_entries(
    images: list[str],
    rows: Boxes,
    where: Path,
    track: str,
    category: str,
    note: ReportProblem,
    hidden: npt.NDArray[np.bool_] | None = None,
    origin: float = 0.0,
) -> Iterator[Entry]:
    """One object of one sequence, a row x, y, w, h a frame.

    Rows of nan, without any size, or `hidden` mean that the object is not there. `origin` is what the data set's
    files add to x and y: 1 where they count pixels from one.
    """
    if len(images) != len(rows):
        note(Problem("wrong length", str(where), f"{len(rows)} boxes for {len(images)} frames"))
    for frame, (image, (x, y, w, h)) in enumerate(zip(images, rows[:, :4].tolist(), strict=False)):
        absent = not np.isfinite([x, y, w, h]).all() or (w == 0 and h == 0)
        if absent or (hidden is not None and frame < len(hidden) and hidden[frame]):
            continue
        x0, y0 = x - origin, y - origin
        yield Entry(image, track, frame, (x0, y0, x0 + w, y0 + h), category)
