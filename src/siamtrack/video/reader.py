"""Reading frames: one function for video files, folders of images, cameras and streams."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from siamtrack.errors import InputError, reason
from siamtrack.video.feeds import Feed, camera_feed, folder_feed, video_feed

__all__ = ["FrameSource", "open_source"]

_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")


class FrameSource:
    """Frames one after the other, RGB uint8 (H, W, 3), to be read once; a context manager.

    Attributes:
        name: the file's or folder's name, `camera 0`, or the URL.
        fps: frames a second; 30 where the source does not tell.
        start: number of the first frame that it yields, counted from 0.
        count: frames that it will yield, as far as the source tells (a damaged file may yield fewer); None
            for a source without an end.
        size: (width, height) in pixels, the same for all frames.
    """

    def __init__(self, feed: Feed, start: int, end: int | None) -> None:
        self._feed = feed
        self._end = end
        self.name = feed.name
        self.fps = feed.fps
        self.start = start
        self.count = _count(feed.count, start, end)
        # The first frame is read now: it tells the size as it will be seen (turned upright), and a source
        # that yields nothing is refused before anything else is done.
        first = next(feed.frames, None)
        if first is None:
            raise InputError(_nothing(feed, start))
        self._first: np.ndarray | None = first
        self.size: tuple[int, int] = (first.shape[1], first.shape[0])

    @property
    def warning(self) -> str | None:
        """One line on what was wrong with the source, or None; complete once the last frame has been read."""
        return "; ".join(self._feed.notes) or None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames from `start` to `end`.

        Raises:
            InputError: a frame cannot be read, or its size differs from the first one's.
        """
        number = self.start
        while self._end is None or number < self._end:
            frame, self._first = self._first, None
            if frame is None:
                frame = next(self._feed.frames, None)
            if frame is None:
                return
            size = (frame.shape[1], frame.shape[0])
            if size != self.size:
                raise InputError(
                    f"frame {number} of '{self.name}' has {size[0]}x{size[1]} pixels, but the frames before "
                    f"it {self.size[0]}x{self.size[1]}; all frames must be of one size"
                )
            yield frame
            number += 1

    def close(self) -> None:
        """Close the file, camera or connection."""
        self._feed.close()

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(source: str | Path | int, start: int = 0, end: int | None = None) -> FrameSource:
    """Open a video file, a folder of images, a camera or a stream.

    Args:
        source: a path, a camera's number (an int, or a string of digits that names no file), or a URL.
        start: number of the first frame to yield, counted from 0.
        end: number of the first frame not to yield; None for all.

    Videos are turned as their rotation flag says (multiples of 90 degrees), images as their EXIF flag says.
    Images of a folder come in natural order (2.jpg before 10.jpg); grey images are repeated to three
    channels, alpha is dropped, of 16 bits the upper 8 are kept. All frames must have one size.

    Raises:
        InputError: nothing there, not a video, no images in the folder, no frame from `start` on, or `start`
            and `end` that leave nothing.
    """
    if start < 0 or (end is not None and end <= start):
        raise InputError(f"expected 0 <= start < end; got start {start} and end {end}")
    try:
        feed = _open_feed(source, start)
    except (OSError, ValueError) as error:  # a name that is too long or holds a null, a folder that is closed to us
        raise InputError(f"cannot open '{str(source)[:200]}': {reason(error)}") from error
    try:
        return FrameSource(feed, start, end)
    except BaseException:
        feed.close()
        raise


def _open_feed(source: str | Path | int, start: int) -> Feed:
    if isinstance(source, int):
        return camera_feed(source, start)
    if isinstance(source, str) and _URL.match(source):
        return video_feed(source, start, live=True)
    if not str(source):
        raise InputError("expected a video file, a folder of images, a camera number or a URL; got an empty name")
    path = Path(source)
    if path.is_dir():
        return folder_feed(path, start)
    if path.exists():
        return video_feed(str(path), start)
    if isinstance(source, str) and source.isdecimal():
        return camera_feed(int(source), start)
    raise InputError(f"no such file or folder: '{source}'")


def _count(total: int | None, start: int, end: int | None) -> int | None:
    if total is None:
        return None if end is None else end - start
    return max(0, (total if end is None else min(end, total)) - start)


def _nothing(feed: Feed, start: int) -> str:
    if start and feed.count != 0:
        has = f"it has {feed.count}" if feed.count is not None else "it has fewer"
        return f"'{feed.name}' has no frame {start}: {has} frames, numbered from 0"
    return f"no frame of '{feed.name}' can be decoded" + "".join(f"; {note}" for note in feed.notes)
