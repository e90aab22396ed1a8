"""What a data set's reader is: how its layout is recognised, and what it says of sequences and objects.

One module a data set says once which sequences it has, where annotation and frames lie, from which number pixels are
counted, what is visible, and what may be trained on. `datasets` makes of that what evaluation, scoring and training
need, so that the three cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from siamtrack.errors import DataError, SiamtrackError
from siamtrack.formats.archive import VIDEOS, Archive
from siamtrack.formats.parse import parse_flags, parse_truth
from siamtrack.formats.sequence import (
    FrameList,
    ImageFiles,
    MissingFrames,
    PackedImages,
    VideoFrames,
    VideoSequence,
    from_file,
)
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray, as_rectangles

__all__ = [
    "Annotated",
    "Layout",
    "ObjectBox",
    "ObjectLayout",
    "Problem",
    "ReportProblem",
    "everywhere",
    "file_of",
    "frame_names",
    "read_boxes",
    "read_flags",
    "read_regions",
    "text_lines",
]


class ObjectBox(NamedTuple):
    """One object in one frame, as training takes it.

    Attributes:
        image: member of the data set; `clip.mp4#12` for a frame of a video, counted from 0.
        track: name of the object, the same in all its frames and unique in the data set.
        frame: number of the frame in its video, or of the annotated step where a data set has time stamps instead;
            0 for stills.
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
class Annotated:
    """One target in one video, as the files of a data set describe it.

    Attributes:
        name: as the data set spells it; it names result files.
        where: the annotation, as messages name it.
        regions: (N, 4) or (N, 8) in the file's own pixels; rows of nan where the target is absent.
        frames: members of the archive in order, `clip.mp4#12` for frames of a video; empty where there are none.
        visible: (N,) False where nothing of the target is seen; None where nothing says so.
        tags: (N,) masks of the frames that have an attribute.
        anchors: (N,) 1 and -1 where multi-start runs go forward and backward, else 0.
        origin: what the files add to x and y: 1 where they count pixels from one.
        category: what the target is; "" where that is not known.
        size: (width, height) of the frames where a file tells it.
        surplus_frames: whether frames beyond the annotation are usual and left out.
        first_only: whether the benchmark may keep all but the first row to itself.
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

    def sequence(self, archive: Archive, needs_frames: bool) -> VideoSequence:
        """Return the sequence for evaluation, or, where frames may be missing, for scoring.

        Raises:
            DataError: frames are needed and not there, or not as many as there are annotated.
        """
        rows, frames = len(self.regions), self.frames
        if self.surplus_frames and len(frames) > rows:
            frames = frames[:rows]
        hidden = self.first_only and rows == 1
        missing = next((name for name in frames[:1] + frames[-1:] if not archive.has(file_of(name))), None)
        if needs_frames:
            if missing is not None:
                ends = f"{PurePosixPath(frames[0]).name} to {PurePosixPath(frames[-1]).name}"
                raise DataError(f"{self.where}: expected frames {ends}; {archive.where(missing)} is missing")
            if not frames:
                raise DataError(f"{self.where}: expected the {rows} frames of {self.name}; there are none")
            if len(frames) != rows and not hidden:
                raise DataError(f"{self.where}: {rows} lines for {len(frames)} frames; there must be one a frame")
        if missing is not None or not (frames and (len(frames) == rows or hidden)):
            size = self.size or _first_size(archive, self.frames[:1])
            shown: FrameList = MissingFrames(rows, size)
        else:
            shown = _frame_list(archive, frames)
        truth = from_file(self.regions, self.origin)
        return VideoSequence(self.name, shown, truth, self.visible, self.tags, self.anchors, self.origin)

    def boxes(self, track: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
        """Yield the boxes for training, of frames in which the target is seen."""
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
        find: archive -> annotation member of each sequence that is evaluated, by name; empty where the layout is
            another.
        read: archive, sequence, annotation member, where problems go (flags that do not fit their sequence) -> what
            it says. It raises `DataError` where the annotation cannot be read.
        trained: as `find`, for the sequences that may be trained on; the key names the track. None where all of a
            data set is for evaluation.
        training_name: its name as a source of training data, where that is another.
    """

    name: str
    example: str
    find: Callable[[Archive], Mapping[str, str]]
    read: Callable[[Archive, str, str, ReportProblem], Annotated]
    trained: Callable[[Archive], Mapping[str, str]] | None = None
    training_name: str = ""

    def objects(self) -> ObjectLayout:
        """Return the same layout as a source of training data."""

        def read(archive: Archive, track: str, member: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
            try:
                found = self.read(archive, PurePosixPath(track).name, member, report_problem)
            except DataError as error:
                report_problem(
                    Problem("unreadable annotation", archive.where(member), _without(error, archive, member))
                )
                return
            if not found.frames:
                report_problem(Problem("missing file", found.where, "no folder of images and no video of this name"))
                return
            yield from found.boxes(track, report_problem)

        return ObjectLayout(self.training_name or self.name, self.example, self.trained or (lambda archive: {}), read)


@dataclass(frozen=True)
class ObjectLayout:
    """The reader of a data set for training: objects in frames.

    Attributes:
        name: as the command line spells it.
        example: what lies in such a folder, for messages.
        find: archive -> annotation member of each part that is read at a time, by name; empty where the layout is
            another.
        read: archive, part, member, where problems go -> its boxes. A malformed file is a problem, not an error.
    """

    name: str
    example: str
    find: Callable[[Archive], Mapping[str, str]]
    read: Callable[[Archive, str, str, ReportProblem], Iterator[ObjectBox]]


def read_regions(archive: Archive, member: str) -> FloatArray:
    """Read (N, 4) or (N, 8) regions, one a line; special codes and nan are rows of nan, of masks the bounds are read.

    Raises:
        DataError: malformed, or not there.
    """
    return parse_truth(archive.read(member), archive.where(member))


def read_boxes(archive: Archive, member: str) -> FloatArray:
    """As `read_regions`, for annotations that hold rectangles alone: (N, 4)."""
    found = read_regions(archive, member)
    if found.shape[1] != 4:
        raise DataError(f"{archive.where(member)}: polygons; expected lines x,y,w,h")
    return found


def read_flags(archive: Archive, member: str, frames: int, report_problem: ReportProblem) -> BoolArray | None:
    """Read (frames,) flags of 0 and 1, on lines or separated by commas; None where there is no such file.

    Other than `frames` flags are a problem, and None.
    """
    if not archive.has(member):
        return None
    where = archive.where(member)
    found = parse_flags(archive.read(member), where)
    if len(found) != frames:
        report_problem(Problem("wrong length", where, f"{len(found)} flags for {frames} frames; expected one a frame"))
        return None
    return found


def text_lines(archive: Archive, member: str) -> list[str]:
    """Return the lines of a text without blanks around them, empty ones left out; raises `DataError` for no text."""
    try:
        text = archive.read(member).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{archive.where(member)}: expected text in UTF-8: {error.reason}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def everywhere(names: Mapping[str, bool], frames: int) -> dict[str, BoolArray]:
    """Return the tags of a whole sequence as masks (frames,)."""
    return {name: np.ones(frames, dtype=np.bool_) for name, has in names.items() if has}


def frame_names(
    archive: Archive, base: str, inner: tuple[str, ...] = ("img", "img1", "imgs", "images", "")
) -> tuple[str, ...]:
    """Return the frames of a sequence: images of `base` or of a folder in it, or of the video of that name or in it.

    Empty where there are none, or where the video cannot be read.
    """
    for name in inner:
        images = archive.images(f"{base}/{name}".strip("/"))
        if images:
            return tuple(images)
    videos = [f"{base}{ext}" for ext in VIDEOS if archive.has(f"{base}{ext}")]
    inside = [name for name in archive.files(base) if PurePosixPath(name).suffix.lower() in VIDEOS]
    videos += [f"{base}/{name}".strip("/") for name in inside]
    if PurePosixPath(base).suffix.lower() in VIDEOS and archive.has(base):
        videos.append(base)
    if not videos or archive.is_zip:
        return ()
    return tuple(f"{videos[0]}#{number}" for number in range(_video_length(archive, videos[0])))


def _video_length(archive: Archive, member: str) -> int:
    from siamtrack.video.reader import open_source

    try:
        with open_source(archive.where(member)) as stream:
            return stream.count if stream.count is not None else sum(1 for _ in stream)
    except SiamtrackError:
        return 0


def file_of(frame: str) -> str:
    """Return the file that holds a frame: the video of `clip.mp4#12`, or the image itself."""
    path, mark, number = frame.rpartition("#")
    return path if mark and number.isdigit() else frame


def _frame_list(archive: Archive, names: tuple[str, ...]) -> FrameList:
    at = names[0].rpartition("/")[0]
    if file_of(names[0]) != names[0]:
        return VideoFrames(archive.path / archive.below / file_of(names[0]), len(names))
    if archive.is_zip:
        return PackedImages(archive.path, archive.below, names)
    return ImageFiles(archive.path / archive.below / at, tuple(name[len(at) + 1 if at else 0 :] for name in names))


def _first_size(archive: Archive, names: tuple[str, ...]) -> tuple[int, int] | None:
    if not names or not archive.has(file_of(names[0])):
        return None
    try:
        return _frame_list(archive, names).size
    except DataError:
        return None


def _without(error: DataError, archive: Archive, member: str) -> str:
    """The message without the path that the problem has already."""
    return str(error).removeprefix(f"{archive.where(member)}: ")
