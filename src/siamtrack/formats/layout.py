"""The readers of data sets: how a layout is recognised, and what its files say of sequences and objects.

One module per data set states which sequences it has, where annotation and frames lie, the pixel origin, what is
visible, and what may be trained on. Evaluation, scoring and training all use it, so they cannot disagree.
"""

from __future__ import annotations

import contextlib
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from siamtrack.errors import DataError, SiamtrackError, reason
from siamtrack.formats.archive import Archive, join
from siamtrack.formats.records import Truth, parse_flags, parse_truth
from siamtrack.formats.sequence import (
    FrameList,
    ImageFrames,
    VideoFrames,
    VideoSequence,
    decode_frame,
    from_file,
    to_file,
)  # fmt: skip
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray, as_rectangles
from siamtrack.io import VIDEO_SUFFIXES


class ObjectBox(NamedTuple):
    """One object in one frame, as training takes it.

    Attributes:
        image: member of the data set; `clip.mp4#12` for a frame of a video, counted from 0.
        track: name of the object, the same in all its frames and unique in the data set.
        frame: number of the frame in its video, or of the annotated step in data sets with time stamps; 0 for stills.
        box: xyxy in continuous pixels.
        category: "" if not known.
        video: name of the video that the track belongs to; "" for the image of a still, and for the images' folder.
    """

    image: str
    track: str
    frame: int
    box: tuple[float, float, float, float]
    category: str
    video: str = ""


class Problem(NamedTuple):
    """Something wrong in a data set: its kind (of a few), the place, and the details."""

    kind: str
    path: str
    detail: str


ReportProblem = Callable[[Problem], None]
"""Takes the problems that a reader meets and goes on after."""


@dataclass(frozen=True)
class Annotated:
    """One target in one video, as the files of a data set describe it.

    Attributes:
        name: as the data set spells it; it names result files.
        where: the annotation, as messages name it.
        regions: (N, 4) or (N, 8) in the file's own pixels; rows of nan where the target is absent.
        frames: members of the archive in order, `clip.mp4#12` for frames of a video; empty without frames.
        visible: (N,) False where nothing of the target is seen; None if not annotated.
        tags: (N,) masks of the frames that have an attribute.
        anchors: (N,) 1 and -1 where multi-start runs go forward and backward, else 0.
        origin: 1 if the files count pixels from one, else 0.
        category: of the target; "" if not known.
        size: (width, height) of the frames if a file tells it.
        surplus_frames: whether frames beyond the annotation are usual and left out.
        first_only: whether the benchmark may publish the first row only.
    """

    name: str
    where: str
    regions: FloatArray
    frames: tuple[str, ...] = ()
    visible: BoolArray | None = None
    tags: Mapping[str, BoolArray] = field(default_factory=dict)
    anchors: IntArray | None = None
    origin: int = 0
    category: str = ""
    size: tuple[int, int] | None = None
    surplus_frames: bool = False
    first_only: bool = False

    def sequence(self, archive: Archive) -> VideoSequence:
        """Return the sequence for evaluation.

        Raises:
            DataError: frames are missing, or the annotation has another number of rows.
        """
        rows, frames = len(self.regions), self._own_frames
        if missing := self._missing(archive):
            ends = f"{PurePosixPath(frames[0]).name} to {PurePosixPath(frames[-1]).name}"
            raise DataError(f"{self.where}: expected frames {ends}; {archive.where(missing)} is missing")
        if not frames:
            raise DataError(f"{self.where}: expected the {rows} frames of {self.name}; there are none")
        if not self._fits:
            raise DataError(f"{self.where}: {rows} lines for {len(frames)} frames; there must be one a frame")
        truth, shown = from_file(self.regions, self.origin), _frame_list(archive, frames)
        return VideoSequence(self.name, shown, truth, self.visible, self.tags, self.anchors, self.origin)

    def truth(self, archive: Archive) -> Truth:
        """Return the truth for scoring, as `VideoSequence.annotation` does; frames may be missing."""
        size = self.size
        if self._fits and not self._missing(archive):
            size = _frame_list(archive, self.frames).size
        elif size is None and self.frames and archive.has(file_of(self.frames[0])):
            with contextlib.suppress(DataError):
                size = _frame_list(archive, self.frames[:1]).size
        regions = to_file(from_file(self.regions, self.origin), self.origin)
        return Truth(self.name, regions, size, self.visible, self.tags, self.anchors)

    @property
    def _own_frames(self) -> tuple[str, ...]:
        return self.frames[: len(self.regions)] if self.surplus_frames else self.frames

    @property
    def _fits(self) -> bool:
        """Whether the frames are as many as the rows, or only the first row is published."""
        rows, count = len(self.regions), len(self._own_frames)
        return count > 0 and (count == rows or (self.first_only and rows == 1))

    def _missing(self, archive: Archive) -> str | None:
        """The first or last frame, if it is not there."""
        frames = self._own_frames
        return next((name for name in frames[:1] + frames[-1:] if not archive.has(file_of(name))), None)

    def boxes(self, track: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
        """Yield the boxes for training, without frames in which nothing of the target is seen."""
        if len(self.frames) != len(self.regions) and not (self.surplus_frames and len(self.frames) > len(self.regions)):
            counts = f"{len(self.regions)} boxes for {len(self.frames)} frames"
            report_problem(Problem("wrong length", self.where, counts))
        rows = as_rectangles(from_file(self.regions, self.origin)).tolist()
        for frame, (image, (x, y, w, h)) in enumerate(zip(self.frames, rows, strict=False)):
            absent = not np.isfinite([x, y, w, h]).all() or (w == 0 and h == 0)
            if not absent and (self.visible is None or self.visible[frame]):
                yield ObjectBox(image, track, frame, (x, y, x + w, y + h), self.category)


@dataclass(frozen=True)
class Layout:
    """The reader of a data set of sequences with one target each.

    Attributes:
        name: as the command line spells it.
        example: what lies in such a folder, for messages.
        find: archive -> annotation member of each sequence for evaluation, by name; empty if it has another layout.
        read: archive, sequence, annotation member, receiver of problems (flags that do not fit their sequence) -> the
            annotation. It raises `DataError` if the annotation cannot be read.
        trained: like `find`, for the sequences that may be trained on; the key names the track. None if the whole data
            set is for evaluation.
    """

    name: str
    example: str
    find: Callable[[Archive], Mapping[str, str]]
    read: Callable[[Archive, str, str, ReportProblem], Annotated]
    trained: Callable[[Archive], Mapping[str, str]] | None = None

    def objects(self) -> ObjectLayout:
        """Return the same layout as a source of training data."""

        def read(archive: Archive, track: str, member: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
            try:
                found = self.read(archive, PurePosixPath(track).name, member, report_problem)
            except DataError as error:
                where = archive.where(member)
                report_problem(Problem("unreadable annotation", where, str(error).removeprefix(f"{where}: ")))
                return
            if not found.frames:
                report_problem(Problem("missing file", found.where, "no folder of images and no video of this name"))
                return
            yield from found.boxes(track, report_problem)

        return ObjectLayout(self.name, self.example, self.trained or (lambda archive: {}), read)


@dataclass(frozen=True)
class ObjectLayout:
    """The reader of a data set for training: objects in frames.

    Attributes:
        name: as the command line spells it.
        example: what lies in such a folder, for messages.
        find: archive -> annotation member of each part, by name; empty if it has another layout.
        read: archive, part, member, receiver of problems -> its boxes. A malformed file is a problem, not an error.
    """

    name: str
    example: str
    find: Callable[[Archive], Mapping[str, str]]
    read: Callable[[Archive, str, str, ReportProblem], Iterator[ObjectBox]]


_VALIDATION = re.compile(r"(^|/)(instances_)?val(id(ation)?)?\d*(/|$)")


def is_validation(part: str) -> bool:
    """Whether a part of a data set is of its validation split: in `val/`, or called like `instances_val2017`."""
    return _VALIDATION.search(part) is not None


def read_regions(archive: Archive, member: str) -> FloatArray:
    """Read (N, 4) or (N, 8) regions by `parse_truth`; raises `DataError` if the file is malformed or missing."""
    return parse_truth(archive.read(member), archive.where(member))


def read_flags(archive: Archive, member: str, frames: int, report_problem: ReportProblem) -> BoolArray | None:
    """Read (frames,) flags of 0 and 1; None if there is no such file, and, with a problem, for another number."""
    if not archive.has(member):
        return None
    where = archive.where(member)
    found = parse_flags(archive.read(member), where)
    if len(found) != frames:
        report_problem(Problem("wrong length", where, f"{len(found)} flags for {frames} frames; expected one a frame"))
        return None
    return found


def text_lines(archive: Archive, member: str) -> list[str]:
    """Return the stripped lines of a text without empty ones; raises `DataError` if it is not UTF-8."""
    try:
        text = archive.read(member).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{archive.where(member)}: expected text in UTF-8: {error.reason}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def find_listed(archive: Archive, folder: str) -> dict[str, str]:
    """Return `<seq>/groundtruth.txt` by sequence, of those in `list.txt`, else of all; in `folder` if it is there."""
    place = f"{folder}/" if folder in archive.folders() else ""
    if archive.has(f"{place}list.txt"):
        names = text_lines(archive, f"{place}list.txt")
    else:
        folders = archive.folders(place.rstrip("/"))
        names = [name for name in folders if archive.has(f"{place}{name}/groundtruth.txt")]
    return {name: f"{place}{name}/groundtruth.txt" for name in names}


def in_each_folder(archive: Archive, pattern: str) -> dict[str, str]:
    """Return by folder the file in it that a pattern such as `{0}/{0}_gt.txt` means, where there is one."""
    members = {name: pattern.format(name) for name in archive.folders()}
    return {name: member for name, member in members.items() if archive.has(member)}


def everywhere(names: Mapping[str, bool], frames: int) -> dict[str, BoolArray]:
    """Return the tags of a whole sequence as masks (frames,)."""
    return {name: np.ones(frames, dtype=np.bool_) for name, has in names.items() if has}


def frame_names(
    archive: Archive, base: str, inner: tuple[str, ...] = ("img", "img1", "imgs", "images", "")
) -> tuple[str, ...]:
    """Return the frames of a sequence: images in `base` or a folder of it, else of a video of that name or in it.

    Empty if there are none, or the video cannot be read.
    """
    for name in inner:
        if images := archive.images(join(base, name)):
            return tuple(images)
    videos = [f"{base}{ext}" for ext in VIDEO_SUFFIXES if archive.has(f"{base}{ext}")]
    inside = [name for name in archive.files(base) if PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES]
    videos += [join(base, name) for name in inside]
    if PurePosixPath(base).suffix.lower() in VIDEO_SUFFIXES and archive.has(base):
        videos.append(base)
    if not videos or archive.is_zip:
        return ()
    from siamtrack.video.reader import open_source

    try:
        with open_source(archive.where(videos[0])) as stream:
            count = stream.count if stream.count is not None else sum(1 for _ in stream)
    except SiamtrackError:
        return ()
    return tuple(f"{videos[0]}#{number}" for number in range(count))


def video_of(frame: str) -> tuple[str, int] | None:
    """Return the video and the number of its frame that a name as `clip.mp4#12` means, or None for an image file."""
    path, mark, number = frame.rpartition("#")
    return (path, int(number)) if mark and re.fullmatch(r"[0-9]{1,15}", number) else None


def read_xml(archive: Archive, member: str, report_problem: ReportProblem) -> ET.Element | None:
    """Parse an XML file; None and a problem where that fails."""
    try:
        return ET.fromstring(archive.read(member))
    except (ET.ParseError, DataError, ValueError, LookupError) as error:
        report_problem(Problem("unreadable annotation", archive.where(member), reason(error)))
        return None


def corners_of(box: object) -> tuple[float, float, float, float]:
    """Return a list of x, y, w, h in pixels as xyxy.

    Raises:
        TypeError, ValueError, OverflowError: it is no list of four finite numbers.
    """
    if not isinstance(box, list):
        raise TypeError("the box is not a list")
    x, y, w, h = (float(v) for v in box)
    if not math.isfinite(x + y + w + h):
        raise ValueError("a box of numbers that are not finite")
    return x, y, x + w, y + h


def frame_number(stem: str) -> int:
    """Return the last run of digits in a name, the number of the frame; 0 without one."""
    digits = re.findall(r"\d+", stem)
    return int(digits[-1][-15:]) if digits else 0


def file_of(frame: str) -> str:
    """Return the file of a frame: the video of `clip.mp4#12`, or the image itself."""
    film = video_of(frame)
    return film[0] if film else frame


def _frame_list(archive: Archive, names: tuple[str, ...]) -> FrameList:
    if file_of(names[0]) != names[0]:
        return VideoFrames(archive.path / archive.below / file_of(names[0]), len(names))
    return ImageFrames(archive.shared, names)


def picture_size(archive: Archive, member: str) -> tuple[int, int] | None:
    """Return (width, height) of an image in pixels; None if it is missing or no image."""
    if not archive.has(member):
        return None
    try:
        if (told := archive.image_size(member)) is not None:
            return told
        height, width = decode_frame(archive.read_image(member), member).shape[:2]
    except (DataError, OSError):
        return None
    return width, height
