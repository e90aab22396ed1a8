"""Reading frames: one function for video files, folders of images, cameras and streams."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from siamtrack.arguments import checked
from siamtrack.errors import InputError, reason
from siamtrack.video.ahead import AheadOf, NewestOf
from siamtrack.video.boxes import Clip
from siamtrack.video.feeds import MOST_AT_ONCE, Feed, Picture, open_feed


class FrameSource(AbstractContextManager["FrameSource"]):
    """Frames one after the other, RGB uint8 (H, W, 3), to be read once; a context manager.

    While a frame is worked on, a thread decodes the next ones, two at most; not of live sources, not of frames
    of more than 2^25 pixels, and not where there is one processor only.

    Attributes:
        name: the file's or folder's name, `camera 0`, or the URL.
        fps: frames a second of the source; 30 where it does not tell.
        start: number of the first frame that it yields, counted from 0.
        stride: it yields every `stride`-th frame.
        number: number of the frame that was yielded last; `start` before.
        count: frames that it should yield (a damaged file may yield fewer); None for a source without an end.
        size: (width, height) in pixels, the same for all frames.
        live: whether it is a camera or stream, which goes on while its frames are worked on.
        dropped: frames of a live source that were left out because newer ones had come.
    """

    def __init__(self, feed: Feed, start: int, end: int | None, stride: int = 1, every_frame: bool = False) -> None:
        self._feed = feed
        self._end = end
        self.stride = stride
        self.name = feed.name
        self.fps = feed.fps
        self.live = feed.live
        self.start = self.number = start
        self.dropped = 0
        self._next = start  # of a live source: the number of the next frame to yield
        self._shift: int | None = 0  # how many frames came before number 0; None: the next one is number `start`
        last = end if feed.count is None else feed.count if end is None else min(end, feed.count)
        self.count = None if last is None else max(0, -(-(last - start) // stride))
        numbered = enumerate(feed.frames)
        self._newest = NewestOf(numbered) if feed.live and not every_frame else None
        self._ahead: AheadOf[tuple[int, np.ndarray]] | None = None
        self._frames = _wanted(numbered, start, end, stride)
        # The first frame tells the size after rotation, and shows now whether the source yields anything.
        try:
            first = self._read()
        except BaseException:
            self.close()
            raise
        if first is None:
            self.close()
            if start and feed.count != 0:
                has = f"it has {feed.count}" if feed.count is not None else "it has fewer"
                raise InputError(f"'{feed.name}' has no frame {start}: {has} frames, numbered from 0")
            raise InputError("; ".join([f"no frame of '{feed.name}' can be decoded", *feed.notes]))
        self._first: tuple[int, np.ndarray] | None = first
        self.size: tuple[int, int] = (first[1].shape[1], first[1].shape[0])

    @property
    def warning(self) -> str | None:
        """One line on what was wrong with the source, or None; complete once the last frame has been read."""
        return "; ".join(self._feed.notes) or None

    def clip(self, labels: Sequence[str] = ("object",)) -> Clip:
        """What the files of boxes say of this source; `labels` are the classes of the targets."""
        stride = None if self.live else self.stride
        return Clip(self.name, self.size, self.fps, self._feed.count, self._feed.images, tuple(labels), stride)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames from `start` up to, and without, `end`.

        Raises:
            InputError: a frame cannot be read, or its size differs from the first one's.
        """
        if self._first is not None and self._newest is not None:
            self._first = self._read_now() or self._first
        few = self.size[0] * self.size[1] <= MOST_AT_ONCE
        if self._ahead is None and not self.live and few and _processors() > 1:
            self._frames = self._ahead = AheadOf(self._frames)
            weakref.finalize(self, self._ahead.close)  # a source that is dropped leaves no thread behind
        while True:
            found, self._first = self._first or self._read(), None
            if found is None:
                return
            self.number, frame = found
            size = (frame.shape[1], frame.shape[0])
            if size != self.size:
                raise InputError(
                    f"frame {self.number} of '{self.name}' has {size[0]}x{size[1]} pixels, but the frames before "
                    f"it {self.size[0]}x{self.size[1]}; all frames must be of one size"
                )
            yield frame

    def _read_now(self) -> tuple[int, np.ndarray] | None:
        """A frame of now, from which frames are counted: what came while a model was loaded is of the past.

        Frames that come at once have been waiting to be decoded; the first that has to be waited for is a new one.
        """
        end, wait = time.monotonic() + 2, 0.3 / self.fps
        while True:
            self._shift, self._next, self.dropped = None, self.start, 0
            began = time.monotonic()
            found = self._read()
            if found is None or not began + wait > time.monotonic() < end:
                return found

    def _read(self) -> tuple[int, np.ndarray] | None:
        """The next frame that is wanted, and its number."""
        if self._newest is None:
            return next(self._frames, None)
        for arrived, picture in self._newest:
            if self._shift is None:
                self._shift = arrived - self.start
            number = arrived - self._shift
            if self._end is not None and number >= self._end:
                return None
            if number >= self._next:
                self.dropped += number - self._next
                self._next = number + self.stride
                return number, picture()
        return None

    def close(self) -> None:
        """Close the file, camera or connection."""
        if self._ahead is not None and not self._ahead.close():
            return  # it is being read still, which the thread ends with
        self._feed.close()
        if self._newest is None or self._newest.close():
            self._feed.frames.close()

    def __exit__(self, *error: object) -> None:
        self.close()


def _wanted(
    frames: Iterator[tuple[int, Picture]], start: int, end: int | None, stride: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The frames that are wanted, and their numbers."""
    for number, picture in frames:
        if end is not None and number >= end:
            return
        if number >= start and (number - start) % stride == 0:
            yield number, picture()


def _processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@checked
def open_source(
    source: str | Path | int,
    start: int = 0,
    end: int | None = None,
    stride: int = 1,
    every_frame: bool = False,
    hwaccel: str | None = None,
) -> FrameSource:
    """Open a video file, a folder of images, a camera or a stream.

    Args:
        source: a path, a camera's number (an int, or a string of digits that names no file), or a URL.
        start: number of the first frame to yield, counted from 0.
        end: number of the first frame not to yield; None for all.
        stride: yield every `stride`-th frame.
        every_frame: yield all frames of a camera or stream, however far behind the reader is; otherwise the newest
            one, each time that a frame is wanted.
        hwaccel: what decodes a video file or a stream in place of the processor, by FFmpeg's name: "cuda" (NVDEC),
            "vaapi", "videotoolbox", "d3d11va", "qsv".

    Videos are turned (by multiples of 90 degrees) and mirrored as their matrix says, images as their EXIF flag says.
    Images of a folder come in natural order (2.jpg before 10.jpg); grey images are repeated to three
    channels, alpha is dropped, of 16 bits the upper 8 are kept. All frames must have one size. A camera or stream that
    breaks is opened again.

    Raises:
        InputError: nothing there, not a video, no images in the folder, no frame from `start` on, `start`
            and `end` that leave nothing, or hardware that is not there or does not decode this video.
    """
    if start < 0 or (end is not None and end <= start):
        raise InputError(f"expected 0 <= start < end; got start {start} and end {end}")
    if stride < 1:
        raise InputError(f"expected a stride of 1 or more frames; got {stride}")
    try:
        feed = open_feed(source, hwaccel)
    except (OSError, ValueError) as error:  # a name that is too long or holds a null, a folder that is closed to us
        raise InputError(f"cannot open '{str(source)[:200]}': {reason(error)}") from error
    return FrameSource(feed, start, end, stride, every_frame)
