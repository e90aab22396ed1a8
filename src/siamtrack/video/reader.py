"""Reading frames: one function for video files, folders of images, cameras and streams."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from siamtrack.errors import InputError, reason
from siamtrack.video.boxes import Clip
from siamtrack.video.writer import is_cut, top_atoms

__all__ = ["IMAGE_SUFFIXES", "FrameSource", "open_source"]

# The rate where none is known: folders of images, and cameras that do not tell theirs.
_DEFAULT_FPS = 30.0
IMAGE_SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
_TEXT_FORMATS = frozenset({"tty", "ass", "srt", "webvtt", "microdvd", "bin", "xbin", "adf", "idf"})
_LAST_CAMERA = 99  # from 100 on, OpenCV takes hundreds as the choice of an interface
_STREAM_TIMEOUT = (10.0, 10.0)  # seconds to open, seconds to wait for the next packet


@dataclass
class _Feed:
    """Frames from one place, which `FrameSource` numbers, limits and checks.

    `count` is the number of all frames, those before the start included; `images` their file names in a folder.
    `notes` grows while frames are read.
    """

    name: str
    fps: float
    count: int | None
    frames: Iterator[np.ndarray]
    close: Callable[[], None]
    notes: list[str] = field(default_factory=list)
    images: tuple[str, ...] = ()


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts `2.jpg` before `10.jpg`: runs of digits compare as numbers."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts]


def _folder_feed(folder: Path, start: int) -> _Feed:
    """Images of a folder in natural order, hidden files and other files left out."""
    paths = sorted(_images(folder), key=_natural_key)
    if not paths:
        inner = next((sub for sub in sorted(folder.iterdir()) if sub.is_dir() and _images(sub)), None)
        hint = f"; did you mean '{inner}'?" if inner else "; expected .jpg, .png, .bmp, .tif or .webp files"
        raise InputError(f"no images in the folder '{folder}'{hint}")
    frames = (_read_image(path) for path in paths[start:])
    names = tuple(path.name for path in paths)
    return _Feed(folder.resolve().name, _DEFAULT_FPS, len(paths), frames, lambda: None, images=names)


def _camera_feed(index: int, start: int) -> _Feed:
    """Live frames of a local camera; `start` frames are thrown away first."""
    with _quiet_opencv():
        camera = cv2.VideoCapture(index) if 0 <= index <= _LAST_CAMERA else None
    if camera is None or not camera.isOpened():
        raise InputError(f"cannot open camera {index}: no such camera, or another program holds it")
    rate = camera.get(cv2.CAP_PROP_FPS)
    fps = rate if math.isfinite(rate) and 0 < rate <= 1000 else _DEFAULT_FPS

    def frames() -> Iterator[np.ndarray]:
        for _ in range(start):
            camera.grab()
        while (read := camera.read())[0]:
            yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)

    return _Feed(f"camera {index}", fps, None, frames(), camera.release)


def _video_feed(source: str, start: int, *, live: bool = False) -> _Feed:
    """Frames of a video file, or with `live` of a URL, decoded by FFmpeg and turned upright.

    Frames before `start` are decoded and dropped: a seek by time is not exact to the frame.
    """
    notes: list[str] = []
    # Over UDP, RTSP loses packets, and a lost packet is a smeared frame.
    options = {"rtsp_transport": "tcp"} if source.startswith("rtsp://") else {}
    # A path is given with its protocol, so that a colon in a file's name is not taken for one.
    url, timeout = (source, _STREAM_TIMEOUT) if live else (f"file:{source}", None)
    try:
        container: Any = av.open(url, options=options, timeout=timeout)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if live:
            raise InputError(f"cannot open the stream '{source}': {reason(error)}") from error
        kinds = {atom.kind for atom in top_atoms(Path(source))}
        if "ftyp" in kinds and "moov" not in kinds:
            why = "was cut before its index (moov) was written, so nothing in it can be decoded"
            raise InputError(f"'{source}' {why}") from error
        raise InputError(
            f"'{source}' is not a video that can be read ({reason(error)}); "
            "expected a video file, a folder of images, a camera number or a URL"
        ) from error
    stream = next((s for s in container.streams.video if s.codec_context is not None), None)
    if stream is None or container.format.name in _TEXT_FORMATS:
        container.close()
        raise InputError(
            f"'{source}' is not a video: no picture stream in it (FFmpeg reads it as {container.format.name})"
        )
    # Frame threads add a delay of several frames, which a live picture should not have.
    stream.thread_type = "SLICE" if live else "AUTO"
    rate = stream.average_rate or stream.guessed_rate
    fps = float(rate) if rate else _DEFAULT_FPS
    name = source if live else Path(source).name
    decoder = _Decoder(container, stream, name, not live and is_cut(Path(source)), notes)
    return _Feed(name, fps, stream.frames or None, decoder.frames(start), container.close, notes)


def _images(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]


def _read_image(path: Path) -> np.ndarray:
    """Read one image as RGB uint8: no alpha, the upper 8 of 16 bits, turned as EXIF says."""
    try:
        data = np.fromfile(path, dtype=np.uint8)  # imread cannot open every path on every system
    except OSError as error:
        raise InputError(f"cannot read '{path}': {reason(error)}") from error
    try:
        with _quiet_opencv():
            image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if data.size else None
    except cv2.error as error:
        raise InputError(f"'{path}' is not an image that can be read: damaged, or too large to decode") from error
    if image is None:
        raise InputError(f"'{path}' is not an image that can be read (empty, damaged or of another format)")
    if image.dtype == np.uint16:
        image = np.right_shift(image, 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f"'{path}' has {image.dtype} values; expected images of 8 or 16 bits a channel")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from writing to stderr what is raised as an error anyway."""
    log = cv2.utils.logging
    before = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)


@dataclass
class _Decoder:
    """Decodes one stream and says in `notes` what it could not decode."""

    container: Any
    stream: Any
    name: str
    cut: bool
    notes: list[str]

    def frames(self, start: int) -> Iterator[np.ndarray]:
        """Yield the frames from number `start` on, RGB uint8 (H, W, 3), turned as the container says.

        What cannot be decoded is left out, and told in `notes` once the last frame has been read.
        """
        reformatter = av.video.reformatter.VideoReformatter()
        number = 0
        lost = 0
        for frame in self._decode():
            if frame is None:
                lost += 1
                continue
            if number >= start:
                rgb = reformatter.reformat(frame, format="rgb24").to_ndarray()
                turns = round(frame.rotation / 90) % 4
                yield np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
            number += 1
        if self.cut:
            expected = f" of {self.stream.frames}" if self.stream.frames > number else ""
            self.notes.append(f"'{self.name}' is cut short: it ends after {number}{expected} frames")
        elif lost:
            self.notes.append(f"'{self.name}' is damaged: {lost} packets could not be decoded and were left out")

    def _decode(self) -> Iterator[Any]:
        """Yield decoded frames, and None for each packet that cannot be decoded."""
        packets = self.container.demux(self.stream)
        last_is_half = False
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                self.cut = True
                break
            if packet is None:
                self.cut = self.cut or last_is_half
                return
            if packet.size:
                last_is_half = packet.is_corrupt
            if packet.is_corrupt:
                # Half a frame decodes to grey blocks: worse for a tracker than no frame.
                yield None
                continue
            yield from self._decode_packet(packet)
        yield from self._decode_packet(None)

    def _decode_packet(self, packet: Any) -> Iterator[Any]:
        try:
            yield from packet.decode() if packet is not None else self.stream.codec_context.decode(None)
        except av.error.FFmpegError:
            yield None


class FrameSource:
    """Frames one after the other, RGB uint8 (H, W, 3), to be read once; a context manager.

    Attributes:
        name: the file's or folder's name, `camera 0`, or the URL.
        fps: frames a second; 30 where the source does not tell.
        start: number of the first frame that it yields, counted from 0.
        count: frames that it should yield (a damaged file may yield fewer); None for a source without an end.
        size: (width, height) in pixels, the same for all frames.
    """

    def __init__(self, feed: _Feed, start: int, end: int | None) -> None:
        self._feed = feed
        self._end = end
        self.name = feed.name
        self.fps = feed.fps
        self.start = start
        if feed.count is None:
            self.count = None if end is None else end - start
        else:
            self.count = max(0, (feed.count if end is None else min(end, feed.count)) - start)
        # The first frame tells the size after rotation, and shows now whether the source yields anything.
        first = next(feed.frames, None)
        if first is None:
            if start and feed.count != 0:
                has = f"it has {feed.count}" if feed.count is not None else "it has fewer"
                raise InputError(f"'{feed.name}' has no frame {start}: {has} frames, numbered from 0")
            raise InputError("; ".join([f"no frame of '{feed.name}' can be decoded", *feed.notes]))
        self._first: np.ndarray | None = first
        self.size: tuple[int, int] = (first.shape[1], first.shape[0])

    @property
    def warning(self) -> str | None:
        """One line on what was wrong with the source, or None; complete once the last frame has been read."""
        return "; ".join(self._feed.notes) or None

    def clip(self, labels: Sequence[str] = ("object",)) -> Clip:
        """What the files of boxes say of this source; `labels` are the classes of the targets."""
        return Clip(self.name, self.size, self.fps, self._feed.count, self._feed.images, tuple(labels))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames from `start` up to, and without, `end`.

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

    def __exit__(self, *error: object) -> None:
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


def _open_feed(source: str | Path | int, start: int) -> _Feed:
    if isinstance(source, int):
        return _camera_feed(source, start)
    if isinstance(source, str) and _URL.match(source):
        return _video_feed(source, start, live=True)
    if not str(source):
        raise InputError("expected a video file, a folder of images, a camera number or a URL; got an empty name")
    path = Path(source)
    if path.is_dir():
        return _folder_feed(path, start)
    if path.exists():
        return _video_feed(str(path), start)
    if isinstance(source, str) and source.isdecimal():
        return _camera_feed(int(source), start)
    raise InputError(f"no such file or folder: '{source}'")
