"""The index: what original annotations say of objects, tracks, frames and boxes, in one compact file.

It points to the original images and copies none of them. The file is a compressed .npz of plain arrays; names are
JSON inside of it, so that nothing in it can be executed.
"""

from __future__ import annotations

import io
import json
import math
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siamtrack.arguments import checked
from siamtrack.data.shards import FARTHEST, decode
from siamtrack.errors import DataError, SiamtrackError, reason
from siamtrack.formats.archive import BROKEN_ZIP, Archive
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem, file_of, is_validation, video_of
from siamtrack.geometry.inputs import Image
from siamtrack.geometry.regions import IntArray
from siamtrack.io import check_json_memory, write_whole
from siamtrack.video.reader import open_source

_VERSION = 1
_LONGEST = 400  # characters of a problem
_MOST_UNREADABLE = 20_000  # annotations of one file
_LARGEST = 2 << 30  # bytes of an index that is unpacked: some 30 million boxes
_LARGEST_TEXT = 1 << 30  # bytes of one kind of names
_COLUMNS = ("image", "track", "frame", "category", "boxes")
_NAMES = ("image_names", "track_names", "category_names", "track_videos")
_DAMAGED: tuple[type[Exception], ...] = (
    *BROKEN_ZIP,
    TypeError,
    AttributeError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
)
"""What numpy, zipfile and json raise for damaged files."""


@dataclass(frozen=True)
class Index:
    """M boxes of objects in frames, in the order in which they were read.

    Attributes:
        source: the data set's name, by which presets weigh it.
        root: folder or zip file that the images' names are relative to.
        image: (M,) index into `image_names`; `clip.mp4#12` there is a frame of a video, counted from 0.
        track: (M,) index into `track_names`: equal numbers are the same object.
        frame: (M,) number of the frame in its video, or of the annotated step (YouTube-BB: seconds); 0 for stills.
        category: (M,) index into `category_names`.
        boxes: (M, 4) float32 xyxy in continuous pixels, as annotated: also those that are no use.
        track_videos: the video of each track, or the image of a still.
    """

    source: str
    root: Path
    image: IntArray
    track: IntArray
    frame: IntArray
    category: IntArray
    boxes: npt.NDArray[np.float32]
    image_names: tuple[str, ...]
    track_names: tuple[str, ...]
    category_names: tuple[str, ...]
    track_videos: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.boxes)


Progress = Callable[[int, int], None]
"""Called with the numbers of what is done, and of all."""


@checked
def build_index(
    root: Path,
    layout: ObjectLayout,
    name: str = "",
    report: Progress = lambda done, total: None,
    validation: bool = False,
) -> tuple[Index, list[Problem]]:
    """Read the annotations of a data set, a folder or zip file, with the reader of its layout.

    The index is called `name`, by default as the layout. `report` hears how many annotations are done, and of how many.
    Those of a validation split are read only with `validation`.

    Returns:
        The index, and what was wrong: with the annotations, and images that are not there, whose boxes are left out;
        and that a validation split is there and was left out.

    Raises:
        DataError: no such folder or file, or one with thousands of annotations that cannot be read.
    """
    problems: list[Problem] = []
    unreadable: Counter[str] = Counter()

    def report_problem(problem: Problem) -> None:
        """Files may hold anything: what is told of them is one line, and not of millions of places."""
        unreadable[problem.path] += problem.kind == "unreadable annotation"
        if unreadable[problem.path] > _MOST_UNREADABLE:
            most = f"more than {_MOST_UNREADABLE} annotations that cannot be read"
            raise DataError(f"{_one_line(problem.path)}: {most}; this is no file of the layout {layout.name}")
        problems.append(Problem(problem.kind, _one_line(problem.path), _one_line(problem.detail)))

    with Archive(root) as archive:
        parts = layout.find(archive)
        if not validation and (held := [part for part in parts if is_validation(part)]):
            detail = f"{len(held)} of {len(parts)} annotations or folders of them, left out; --validation takes them"
            report_problem(Problem("validation split", archive.where(parts[held[0]]), detail))
            parts = {part: member for part, member in parts.items() if not is_validation(part)}

        def boxes() -> Iterator[ObjectBox]:
            for done, (part, member) in enumerate(parts.items()):
                report(done, len(parts))
                yield from _usable(archive, member, layout.read(archive, part, member, report_problem), report_problem)
            report(len(parts), len(parts))

        return collect(boxes(), root, name or layout.name), problems


def _one_line(text: str) -> str:
    shown = text if text.isprintable() else repr(text)[1:-1]
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def _usable(
    archive: Archive, member: str, boxes: Iterable[ObjectBox], report_problem: ReportProblem
) -> Iterator[ObjectBox]:
    """Leave out, and report, boxes of images that are not there and numbers that no index can hold."""
    missing: dict[str, int] = {}
    for box in boxes:
        file = file_of(box.image)
        if not archive.has(file):
            missing[file] = missing.get(file, 0) + 1
        elif not 0 <= box.frame < 2**53 or any(math.isinf(v) or abs(v) > FARTHEST for v in box.box):
            numbers = f"{box.track[:80]}: frame {box.frame}, corners {box.box}"
            report_problem(Problem("unreadable annotation", archive.where(member), numbers))
        else:
            yield box
    for file, count in missing.items():
        inside = not (file.startswith("/") or "\0" in file or ".." in file.split("/"))
        detail = f"{count} boxes" if inside else f"{count} boxes; expected a path inside of the data set"
        where = archive.where(file) if inside else archive.where(member)
        report_problem(Problem("missing file", where, detail if inside else f"{file[:80]!r}: {detail}"))


def collect(found: Iterable[ObjectBox], root: Path, source: str) -> Index:
    """Gather boxes into an index."""
    images, tracks, categories = _Names(), _Names(), _Names()
    numbers: list[tuple[int, int, int, int]] = []
    boxes: list[tuple[float, float, float, float]] = []
    told: list[str] = []
    for box in found:
        if tracks[box.track] == len(told):
            told.append(box.video)
        numbers.append((images[box.image], tracks[box.track], box.frame, categories[box.category]))
        boxes.append(box.box)
    table = np.array(numbers, np.int64).reshape(-1, 4)
    return Index(
        source, root.resolve(), table[:, 0], table[:, 1], table[:, 2], table[:, 3],
        np.array(boxes, np.float32).reshape(-1, 4), tuple(images), tuple(tracks), tuple(categories),
        _videos(table[:, 0], table[:, 1], tuple(images), told),
    )  # fmt: skip


def _videos(image: IntArray, track: IntArray, image_names: tuple[str, ...], told: list[str]) -> tuple[str, ...]:
    """The video of each track: what a reader `told`, its video file, the folder of its images, or its one image."""
    counts = np.bincount(track, minlength=len(told))
    first = np.zeros(len(told), np.int64)
    first[track[::-1]] = image[::-1]
    found = []
    for name, count, row in zip(told, counts.tolist(), first.tolist(), strict=True):
        shown = image_names[row] if count else ""
        film = video_of(shown)
        found.append(name or (film[0] if film else shown if count == 1 else shown.rpartition("/")[0]))
    return tuple(found)


class _Names(dict[str, int]):
    """Numbers names in the order in which they come up."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self)
        return number


@checked
def save_index(index: Index, path: Path) -> None:
    """Write an index, whole or not at all."""
    arrays: dict[str, npt.NDArray[np.generic]] = {name: getattr(index, name) for name in _COLUMNS}
    header = {"version": _VERSION, "source": index.source, "root": str(index.root)}
    texts = {"header": header} | {name: getattr(index, name) for name in _NAMES}
    for name, value in texts.items():
        arrays[name] = np.frombuffer(json.dumps(value).encode(), np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_whole(path, content.getbuffer())


@checked
def load_index(path: Path) -> Index:
    """Read what `save_index` wrote; raises `DataError` for no such file, no index, or one that contradicts itself."""
    if not path.is_file():
        raise DataError(f"no index {path}; `siamtrack data index` writes one")
    try:
        with np.load(path, allow_pickle=False) as stored:
            size = sum(member.file_size for member in stored.zip.infolist())
            if size > _LARGEST:
                raise ValueError(f"it unpacks to {size >> 20} MB")
            header = _parsed(stored["header"], path)
            found: dict[str, Any] = {name: tuple(map(str, _parsed(stored[name], path))) for name in _NAMES}
            found |= {name: stored[name] for name in _COLUMNS}
        if header["version"] != _VERSION:
            raise DataError(f"{path} is an index of version {header['version']}, not {_VERSION}; make it again")
        index = Index(str(header["source"]), Path(header["root"]), **found)
        _check(index)
    except _DAMAGED as error:
        raise DataError(f"{path} is no index as `siamtrack data index` writes it: {reason(error)}") from None
    return index


def _parsed(text: npt.NDArray[np.uint8], path: Path) -> Any:
    if text.nbytes > _LARGEST_TEXT:
        raise ValueError(f"{text.nbytes >> 20} MB of names")
    data = text.tobytes()
    check_json_memory(data, str(path))
    return json.loads(data)


def _check(index: Index) -> None:
    count = len(index.boxes)
    if index.boxes.shape != (count, 4) or index.boxes.dtype != np.float32:
        raise ValueError(f"boxes of shape {index.boxes.shape}, type {index.boxes.dtype}")
    for name in ("image", "track", "category", "frame"):
        if (kind := getattr(index, name).dtype.kind) not in "iu":
            raise ValueError(f"the column '{name}' holds no integers but numpy's kind '{kind}'")
    for name, names in (("image", index.image_names), ("track", index.track_names), ("category", index.category_names)):
        column = getattr(index, name)
        if column.shape != (count,) or (count and not (column.min() >= 0 and column.max() < len(names))):
            raise ValueError(f"the column '{name}' does not fit its names")
    if len(index.track_videos) != len(index.track_names):
        raise ValueError("the tracks' videos do not fit the tracks")
    if index.frame.shape != (count,):
        raise ValueError("the column 'frame' has another length")


def read_pictures(root: Path, names: Iterable[str]) -> Iterator[tuple[str, Image | None, str]]:
    """Decode pictures: (name, RGB (H, W, 3) or None, what was wrong: "missing file" or "unreadable frame").

    They are members of a data set's folder or zip file, or frames of a video as `clip.mp4#12`: those of one video that
    follow each other, in rising order, are decoded in one go.
    """
    run: list[tuple[str, int]] = []
    video = ""
    with Archive(root) as archive:
        for name in names:
            place = video_of(name)
            if run and (place is None or place[0] != video or place[1] < run[-1][1]):
                yield from _video(root / video, run)
                run = []
            if place is None:
                try:
                    image = decode(archive.read_image(name))
                    yield name, image, "" if image is not None else "unreadable frame"
                except DataError:
                    yield name, None, "missing file"
            else:
                video = place[0]
                run.append((name, place[1]))
    if run:
        yield from _video(root / video, run)


def _video(path: Path, wanted: list[tuple[str, int]]) -> Iterator[tuple[str, Image | None, str]]:
    if not path.is_file():
        yield from ((name, None, "missing file") for name, _ in wanted)
        return
    waiting = list(wanted)
    try:
        with open_source(path, wanted[0][1], wanted[-1][1] + 1) as source:
            for number, frame in enumerate(source, wanted[0][1]):
                while waiting and waiting[0][1] == number:
                    yield waiting.pop(0)[0], frame, ""
    except SiamtrackError:
        pass  # what could not be decoded is still waiting
    yield from ((name, None, "unreadable frame") for name, _ in waiting)
