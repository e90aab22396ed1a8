"""A sequence: lazily read frames and the truth of one target, as every data set's reader gives it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from siamtrack.errors import DataError, InputError, SiamtrackError
from siamtrack.formats.archive import SharedArchive
from siamtrack.formats.records import Truth
from siamtrack.geometry.inputs import Image
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray, as_rectangles, is_rectangle


class FrameList(Protocol):
    """The frames of a sequence, decoded when they are read."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of every frame in pixels."""

    def __len__(self) -> int:
        """Return the number of frames."""

    def __getitem__(self, index: int) -> Image:
        """Return one frame, RGB uint8 (H, W, 3); raises `DataError` if it cannot be decoded."""


@dataclass(frozen=True)
class ImageFrames:
    """Images of a folder or zip file, each decoded when it is read.

    `names` are members of `archive`, which the sequences of a data set share.
    """

    archive: SharedArchive
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image:
        name, archive = self.names[index], self.archive.open()
        return decode_frame(archive.read_image(name), archive.where(name))

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) of the first frame in pixels."""
        return self.archive.open().image_size(self.names[0]) or (self[0].shape[1], self[0].shape[0])


@dataclass(frozen=True)
class VideoFrames:
    """The first `count` frames of a video file; reading them in order decodes each once."""

    path: Path
    count: int
    _open: dict[str, tuple[int, Iterator[Image]]] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image:
        from siamtrack.video.reader import open_source

        try:
            expected, frames = self._open.pop("reader", (-1, iter(())))
            if expected != index:
                frames = iter(open_source(self.path, index))
            frame = next(frames, None)
        except SiamtrackError as error:
            raise DataError(f"{self.path}: frame {index}: {error}") from None
        if frame is None:
            raise DataError(f"{self.path}: frame {index} cannot be decoded")
        self._open["reader"] = index + 1, frames
        return frame

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) of the first frame in pixels."""
        height, width = self[0].shape[:2]
        return width, height

    def __reduce__(self) -> tuple[type[VideoFrames], tuple[Path, int]]:
        return VideoFrames, (self.path, self.count)


@dataclass(frozen=True)
class _First:
    """The first `count` of some frames."""

    frames: FrameList
    count: int

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.frames[index]


@dataclass(frozen=True)
class VideoSequence:
    """One target in one video.

    Attributes:
        name: as the data set spells it; it names result files.
        frames: N frames, read lazily.
        truth: (N, 4) rectangles x, y, w, h or (N, 8) polygons in continuous pixels, nan where the target is absent; a
            single row if the benchmark does not publish the rest.
        visible: (N,) False where nothing of the target is seen; None if not annotated.
        tags: (N,) masks of the frames that have an attribute.
        anchors: (N,) 1 where a multi-start run goes forward, -1 where it goes backward, else 0; None without anchors.
        origin: 1 if the data set's own files count pixels from one, else 0.
    """

    name: str
    frames: FrameList
    truth: FloatArray
    visible: BoolArray | None = None
    tags: Mapping[str, BoolArray] = field(default_factory=dict)
    anchors: IntArray | None = None
    origin: int = 0

    def __post_init__(self) -> None:
        truth = np.asarray(self.truth, dtype=np.float64)
        if truth.ndim != 2 or truth.shape[1] not in (4, 8) or len(truth) == 0:
            raise DataError(f"{self.name}: truth must be an (N, 4) or (N, 8) array, got shape {truth.shape}")
        if len(truth) not in (1, len(self.frames)):
            raise DataError(
                f"{self.name}: {len(truth)} rows of truth for {len(self.frames)} frames; expected one a frame"
            )
        object.__setattr__(self, "truth", truth)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames in pixels."""
        return self.frames.size

    def first(self, count: int) -> VideoSequence:
        """The sequence up to its `count`-th frame."""
        visible = None if self.visible is None else self.visible[:count]
        anchors = None if self.anchors is None else self.anchors[:count]
        tags = {name: mask[:count] for name, mask in self.tags.items()}
        frames = _First(self.frames, min(count, len(self.frames)))
        return VideoSequence(self.name, frames, self.truth[:count], visible, tags, anchors, self.origin)

    @property
    def has_truth(self) -> bool:
        """Whether the truth of all frames is known, so that results can be scored."""
        return len(self.truth) == len(self.frames)

    def box(self, index: int) -> tuple[float, float, float, float]:
        """Return the box x, y, w, h that a tracker starts with at a frame (see `area_box` for polygons)."""
        x, y, w, h = area_box(self.truth[index : index + 1])[0].tolist()
        return x, y, w, h

    def absent(self, index: int) -> bool:
        """Whether a tracker cannot be started at a frame: no finite box with an area."""
        box = self.truth[index, :4]
        flat = bool(is_rectangle(self.truth[index : index + 1])[0]) and not (box[2] > 0 and box[3] > 0)
        return flat or not bool(np.isfinite(box).all())

    def annotation(self) -> Truth:
        """Return the truth in the coordinates of the data set's own files, which official scorers work in."""
        regions = to_file(self.truth, self.origin)
        return Truth(self.name, regions, self.size, self.visible, self.tags, self.anchors)


def to_file(regions: FloatArray, origin: int) -> FloatArray:
    """Return (N, 4) or (N, 8) regions in a data set's own coordinates, moved by `origin`, decimals kept exact."""
    if origin == 0:
        return regions
    moved = regions + _shift(regions, origin)
    # 198.3 - 1 + 1 is not 198.3 in binary; rounding gives the number that the file holds
    with np.errstate(over="ignore"):  # of numbers beyond 1e299
        return np.asarray(np.round(moved, 9))


def from_file(regions: FloatArray, origin: int) -> FloatArray:
    """Return regions of a data set's own files in continuous pixels: the reverse of `to_file`."""
    return regions - _shift(regions, origin) if origin else regions


def _shift(regions: FloatArray, origin: int) -> FloatArray:
    """Return what to add: to the corner of rectangles, to all corners of polygons."""
    shift = np.full(regions.shape, float(origin))
    shift[is_rectangle(regions), 2:4] = 0.0
    return shift


def area_box(regions: FloatArray) -> FloatArray:
    """Return (N, 4) upright boxes of the regions' centres and areas.

    A rectangle stays. A polygon becomes its bounds, shrunk about the mean of its corners to the polygon's area: sides
    (x_max - x_min) s and (y_max - y_min) s with s = sqrt(|p1 p2| |p2 p3| / bounds' area), which is how trackers of the
    SiamRPN family start on VOT.
    """
    boxes = as_rectangles(regions).copy()
    polygons = ~is_rectangle(regions)
    if not polygons.any():
        return boxes
    corners = regions[polygons].reshape(-1, 4, 2)
    sides = np.linalg.norm(corners[:, 1:3] - corners[:, 0:2], axis=2)
    bounds = boxes[polygons, 2:]
    with np.errstate(all="ignore"):
        scale = np.sqrt(sides.prod(axis=1) / bounds.prod(axis=1))
    size = bounds * scale[:, None]
    boxes[polygons] = np.concatenate([corners.mean(axis=1) - size / 2, size], axis=1)
    return boxes


def decode_frame(data: bytes, where: str) -> Image:
    """Decode an image file to RGB uint8 (H, W, 3); raises `DataError` that names `where` if it cannot."""
    from siamtrack.video.images import decode_image  # not at the top: scoring reads no frames and starts faster so

    try:
        return decode_image(data, where)
    except InputError:
        raise DataError(f"{where}: expected an image; it cannot be decoded, copy the file anew") from None
