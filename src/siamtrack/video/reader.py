"""Reading frames: one function for video files, folders of images, cameras and streams."""

from __future__ import annotations

import os
import re
import sys
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from siamtrack.errors import InputError, reason
from siamtrack.io import MOST_PIXELS
from siamtrack.video.ahead import AheadOf, NewestOf
from siamtrack.video.boxes import Clip
from siamtrack.video.images import decode_image
from siamtrack.video.writer import is_cut, top_atoms

# The rate where none is known: folders of images, and cameras that do not tell theirs.
_DEFAULT_FPS = 30.0
IMAGE_SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
_TEXT_FORMATS = frozenset({"tty", "ass", "srt", "webvtt", "microdvd", "bin", "xbin", "adf", "idf"})
_LAST_CAMERA = 99
_OPEN_TIMEOUT = 10.0  # seconds
_STALL = 5.0  # seconds without a packet, after which a stream counts as broken
_GIVE_UP = 60.0  # seconds of attempts to open a broken stream again

Picture = Callable[[], np.ndarray]
"""A frame that is made into RGB uint8 (H, W, 3) when it is called: frames that are skipped cost no conversion."""


@dataclass
class _Feed:
    """Pictures from one place, which `FrameSource` numbers, limits and checks.

    `count` is the number of all frames; `images` their file names in a folder. `notes` grows while frames are read.
    A `live` one goes on whether its frames are read or not. `close` is called before `frames` are closed.
    """

    name: str
    fps: float
    count: int | None
    frames: Generator[Picture]
    close: Callable[[], None]
    notes: list[str] = field(default_factory=list)
    images: tuple[str, ...] = ()
    live: bool = False


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts `2.jpg` before `10.jpg`: runs of digits compare as numbers."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts]


def _folder_feed(folder: Path) -> _Feed:
    """Images of a folder in natural order, hidden files and other files left out."""
    paths = sorted(_images(folder), key=_natural_key)
    if not paths:
        inner = next((sub for sub in sorted(folder.iterdir()) if sub.is_dir() and _images(sub)), None)
        hint = f"; did you mean '{inner}'?" if inner else "; expected .jpg, .png, .bmp, .tif or .webp files"
        raise InputError(f"no images in the folder '{folder}'{hint}")
    frames = (partial(_read_image, path) for path in paths)
    names = tuple(path.name for path in paths)
    return _Feed(folder.resolve().name, _DEFAULT_FPS, len(paths), frames, lambda: None, images=names)


def _images(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]


def _read_image(path: Path) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read '{path}': {reason(error)}") from error
    return decode_image(data, str(path))


def _file_feed(source: str, hardware: Any = None) -> _Feed:
    """Frames of a video file, decoded by FFmpeg and turned upright."""
    try:
        # A path is given with its protocol, so that a colon in a file's name is not taken for one.
        container: Any = _opened(f"file:{source}", hardware)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        kinds = {atom.kind for atom in top_atoms(Path(source))}
        if "ftyp" in kinds and "moov" not in kinds:
            why = "was cut before its index (moov) was written, so nothing in it can be decoded"
            raise InputError(f"'{source}' {why}") from error
        raise InputError(
            f"'{source}' is not a video that can be read ({reason(error)}); "
            "expected a video file, a folder of images, a camera number or a URL"
        ) from error
    return _decoded(container, Path(source).name, is_cut(Path(source)))


def _opened(place: str, hardware: Any, **options: Any) -> Any:
    """PyAV's container, and its decoder where hardware is to decode: whether it does is seen then.

    Raises:
        InputError: the hardware does not decode this video, or is not there.
    """
    if hardware is None:
        return av.open(place, **options)
    try:
        container = av.open(place, hwaccel=hardware, **options)
        stream = next((s for s in container.streams.video if s.codec_context is not None), None)
        if stream is not None:
            stream.codec_context.open(strict=False)
    except (av.error.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        av.open(place, **options).close()  # what is wrong with the file itself is told as without hardware
        raise InputError(
            f"--hwaccel: no such hardware here that decodes '{place.removeprefix('file:')}' ({reason(error)}); "
            "leave it out to decode on the processor"
        ) from None
    return container


def _decoded(container: Any, name: str, cut: bool = False) -> _Feed:
    """Frames of an open file."""
    stream = _picture_stream(container, name)
    stream.thread_type = "AUTO"
    notes: list[str] = []
    frames = _Decoder(container, stream, name, cut, notes).frames()
    return _Feed(name, _rate(stream), stream.frames or None, frames, container.close, notes)


def _picture_stream(container: Any, name: str) -> Any:
    stream = next((s for s in container.streams.video if s.codec_context is not None), None)
    if stream is None or container.format.name in _TEXT_FORMATS:
        kind = container.format.name
        container.close()
        raise InputError(f"'{name}' is not a video: no picture stream in it (FFmpeg reads it as {kind})")
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def _rate(stream: Any) -> float:
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate <= 1000 else _DEFAULT_FPS


def _url_feed(url: str, hardware: Any = None) -> _Feed:
    """Frames of a URL: of a file that lies there, or of a stream, which is opened again when it breaks."""
    # Over UDP, RTSP loses packets, and a lost packet is a smeared frame.
    options = {"rtsp_transport": "tcp"} if url.startswith(("rtsp://", "rtsps://")) else {}

    def connect() -> Any:
        return _opened(url, hardware, options=options, timeout=(_OPEN_TIMEOUT, _STALL))

    try:
        container = connect()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"cannot open the stream '{url}': {reason(error)}") from error
    if container.duration and url.startswith(("http", "file")):
        return _decoded(container, url)
    return _live_feed(url, connect, container)


def _camera_feed(index: int) -> _Feed:
    """Live frames of a local camera."""
    name = f"camera {index}"

    def connect() -> Any:
        if not 0 <= index <= _LAST_CAMERA:
            raise ValueError("no such camera")
        kind, place = _camera(index)
        return av.open(place, format=kind, timeout=(_OPEN_TIMEOUT, _STALL))

    try:
        container = connect()
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise InputError(f"cannot open {name}: no such camera, or another program holds it") from error
    return _live_feed(name, connect, container)


def _camera(index: int) -> tuple[str, str]:
    """FFmpeg's input format for cameras on this system, and what it calls camera `index`."""
    if sys.platform == "darwin":
        return "avfoundation", str(index)
    if sys.platform == "win32":
        cameras = [device for device in av.enumerate_input_devices("dshow") if "video" in device.media_types]
        return "dshow", f"video={cameras[index].name}"
    return "v4l2", f"/dev/video{index}"


def _live_feed(name: str, connect: Callable[[], Any], container: Any) -> _Feed:
    stream = _picture_stream(container, name)
    notes: list[str] = []
    live = _Live(name, connect, container, notes)
    return _Feed(name, _rate(stream), None, live.frames(), live.close, notes, live=True)


@dataclass
class _Live:
    """A camera or stream, opened again when it breaks: for `_GIVE_UP` seconds, in steps of half a second."""

    name: str
    connect: Callable[[], Any]
    container: Any
    notes: list[str]
    closed: bool = False

    def frames(self) -> Generator[Picture]:
        """Yield frames until the source is closed, or broken for good; `notes` tells of breaks."""
        breaks, away = 0, 0.0
        try:
            while not self.closed:
                stream = _picture_stream(self.container, self.name)
                # Frame threads add a delay of several frames, which a live picture should not have.
                stream.thread_type = "SLICE"
                yield from _Decoder(self.container, stream, self.name, False, []).frames()
                self.container.close()
                broke = time.monotonic()
                if not self._open_again(broke):
                    self.notes[:] = [f"'{self.name}' broke off and could not be opened again for {_GIVE_UP:.0f} s"]
                    return
                breaks, away = breaks + 1, away + time.monotonic() - broke
                self.notes[:] = [f"'{self.name}' broke off and was opened again, {breaks} times, {away:.1f} s in all"]
        finally:
            self.container.close()

    def _open_again(self, broke: float) -> bool:
        """Try until it is open, or broken for too long; return whether to go on."""
        while not self.closed:
            with suppress(av.error.FFmpegError, OSError, ValueError, IndexError):
                self.container = self.connect()
                return True
            if time.monotonic() - broke > _GIVE_UP:
                return False
            time.sleep(0.5)
        return True

    def close(self) -> None:
        """Have `frames` end: the container is closed where it is read, as FFmpeg asks for."""
        self.closed = True


@dataclass
class _Decoder:
    """Decodes one stream and says in `notes` what it could not decode."""

    container: Any
    stream: Any
    name: str
    cut: bool
    notes: list[str]

    def frames(self) -> Generator[Picture]:
        """Yield the frames, turned as the container says.

        What cannot be decoded is left out, and told in `notes` once the last frame has been read.
        """
        reformatter = av.video.reformatter.VideoReformatter()
        number = 0
        lost = 0
        for frame in self._decode():
            if frame is None:
                lost += 1
                continue
            yield partial(_pixels, reformatter, frame)
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


def _pixels(reformatter: Any, frame: Any) -> np.ndarray:
    rgb: np.ndarray = reformatter.reformat(frame, format="rgb24").to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


class FrameSource:
    """Frames one after the other, RGB uint8 (H, W, 3), to be read once; a context manager.

    While a frame is worked on, a thread decodes the next ones, two at most; not of live sources, and not where there is
    one processor only.

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

    def __init__(self, feed: _Feed, start: int, end: int | None, stride: int = 1, every_frame: bool = False) -> None:
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
        return Clip(self.name, self.size, self.fps, self._feed.count, self._feed.images, tuple(labels))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames from `start` up to, and without, `end`.

        Raises:
            InputError: a frame cannot be read, or its size differs from the first one's.
        """
        if self._first is not None and self._newest is not None:
            self._first = self._read_now() or self._first
        if self._ahead is None and not self.live and _processors() > 1:
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

    def __enter__(self) -> FrameSource:
        return self

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

    Videos are turned as their rotation flag says (multiples of 90 degrees), images as their EXIF flag says.
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
        feed = _open_feed(source, _hardware(hwaccel))
    except (OSError, ValueError) as error:  # a name that is too long or holds a null, a folder that is closed to us
        raise InputError(f"cannot open '{str(source)[:200]}': {reason(error)}") from error
    return FrameSource(feed, start, end, stride, every_frame)


def _hardware(name: str | None) -> Any:
    """PyAV's description of what decodes; None for the processor."""
    if name is None:
        return None
    there = av.codec.hwaccel.hwdevices_available()
    if name not in there:
        raise InputError(
            f"--hwaccel: '{name}' is not one of those that this build of PyAV has ({', '.join(there) or 'none'}); "
            "leave it out to decode on the processor"
        )
    return av.codec.hwaccel.HWAccel(name, allow_software_fallback=False)


def _open_feed(source: str | Path | int, hardware: Any = None) -> _Feed:
    if hardware is not None:
        if isinstance(source, str) and _URL.match(source):
            return _url_feed(source, hardware)
        if Path(str(source)).is_file():
            return _file_feed(str(source), hardware)
        raise InputError(f"--hwaccel is for video files and streams; got '{source}': leave it out")
    if isinstance(source, int):
        return _camera_feed(source)
    if isinstance(source, str) and _URL.match(source):
        return _url_feed(source)
    if not str(source):
        raise InputError("expected a video file, a folder of images, a camera number or a URL; got an empty name")
    path = Path(source)
    if path.is_dir():
        return _folder_feed(path)
    if path.is_file():
        return _file_feed(str(path))
    if path.exists():  # FFmpeg would wait for a pipe's other end
        raise InputError(f"'{source}' is a pipe or a device; expected a video file, a folder of images or a URL")
    if isinstance(source, str) and source.isdecimal():
        return _camera_feed(int(source))
    raise InputError(f"no such file or folder: '{source}'")
