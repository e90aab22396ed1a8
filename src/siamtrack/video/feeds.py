"""Where frames come from: video files, folders of images, cameras and streams, each as a `Feed` of pictures."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type

from siamtrack.errors import DataError, InputError, reason
from siamtrack.io import IMAGE_SUFFIXES, MOST_PIXELS, natural_key, read_bytes
from siamtrack.video.images import decode_image
from siamtrack.video.writer import is_cut, top_atoms

# The rate where none is known: folders of images, and cameras that do not tell theirs.
_DEFAULT_FPS = 30.0
_LARGEST_IMAGE = 512 << 20  # bytes of an image file, more than MOST_PIXELS without compression have
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
_PLAYLISTS = frozenset({"concat", "dash", "hls", "imf", "lavfi", "rtsp", "sap", "sdp", "webm_dash_manifest"})
"""Formats of files that name other places, which FFmpeg would go and wait for: a pipe, a segment that never comes."""
_TEXT_FORMATS = frozenset({"tty", "ass", "srt", "webvtt", "microdvd", "bin", "xbin", "adf", "idf"})
MOST_AT_ONCE = 1 << 25
"""Pixels of frames of which several may be decoded at once, as 8192x4096; of larger ones each takes 200 MB and more."""
_LAST_CAMERA = 99
_OPEN_TIMEOUT = 10.0  # seconds
_STALL = 5.0  # seconds without a packet, after which a stream counts as broken
# Seconds of looking for a file's streams, and for its next packet: some have terabytes of nothing between two.
_FILE_PATIENCE = (8.0, 10.0)
_GIVE_UP = 60.0  # seconds of attempts to open a broken stream again

Picture = Callable[[], np.ndarray]
"""A frame that is made into RGB uint8 (H, W, 3) when it is called: frames that are skipped cost no conversion."""


@dataclass
class Feed:
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


def open_feed(source: str | Path | int, hwaccel: str | None) -> Feed:
    """Open what a source names: a folder, a file, a URL, or a camera's number.

    Raises:
        InputError: nothing there, not a video, no images in the folder, or hardware that does not decode it.
    """
    if hwaccel is not None:
        hardware = _hardware(hwaccel)
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


def _hardware(name: str) -> Any:
    """PyAV's description of what decodes."""
    there = av.codec.hwaccel.hwdevices_available()
    if name not in there:
        raise InputError(
            f"--hwaccel: '{name}' is not one of those that this build of PyAV has ({', '.join(there) or 'none'}); "
            "leave it out to decode on the processor"
        )
    return av.codec.hwaccel.HWAccel(name, allow_software_fallback=False)


def _folder_feed(folder: Path) -> Feed:
    """Images of a folder in natural order, hidden files and other files left out."""
    paths = sorted(_images(folder), key=lambda path: natural_key(path.name))
    if not paths:
        inner = next((sub for sub in sorted(folder.iterdir()) if sub.is_dir() and _images(sub)), None)
        hint = f"; did you mean '{inner}'?" if inner else "; expected .jpg, .png, .bmp, .tif or .webp files"
        raise InputError(f"no images in the folder '{folder}'{hint}")
    frames = (partial(_read_image, path) for path in paths)
    names = tuple(path.name for path in paths)
    return Feed(folder.resolve().name, _DEFAULT_FPS, len(paths), frames, lambda: None, images=names)


def _images(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]


def _read_image(path: Path) -> np.ndarray:
    try:
        data = read_bytes(path, _LARGEST_IMAGE)
    except DataError as error:
        raise InputError(f"cannot read {error}") from error
    return decode_image(data, str(path))


def _file_feed(source: str, hardware: Any = None) -> Feed:
    """Frames of a video file, decoded by FFmpeg and turned upright."""
    try:
        # A path is given with its protocol, so that a colon in a file's name is not taken for one.
        container: Any = _opened(f"file:{source}", hardware, options=_files_only(), timeout=_FILE_PATIENCE)
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


def _files_only() -> dict[str, str]:
    """Options with which FFmpeg reads no file that names other places."""
    return {"format_whitelist": ",".join(sorted(av.formats_available - _PLAYLISTS))}


def _opened(place: str, hardware: Any, **options: Any) -> Any:
    """PyAV's container; raises `InputError` where hardware is to decode this video, and does not or is not there.

    `options` are those of `av.open`, with its `timeout` of seconds.
    """
    if hardware is None:
        try:
            return av.open(place, **options)
        except av.error.ExitError:  # what FFmpeg calls it when it was told to wait no longer
            raise TimeoutError(f"no picture came for {options['timeout'][0]:.0f} s") from None
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


def _decoded(container: Any, name: str, cut: bool = False) -> Feed:
    """Frames of an open file."""
    stream = _picture_stream(container, name)
    large = stream.width * stream.height > MOST_AT_ONCE
    stream.thread_type = "SLICE" if large else "AUTO"
    notes: list[str] = []
    frames = _Decoder(container, stream, name, cut, notes).frames()
    return Feed(name, _rate(stream), stream.frames or None, frames, container.close, notes)


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


def _url_feed(url: str, hardware: Any = None) -> Feed:
    """Frames of a URL: of a file that lies there, or of a stream, which is opened again when it breaks."""
    # Over UDP, RTSP loses packets, and a lost packet is a smeared frame.
    options = {"rtsp_transport": "tcp"} if url.startswith(("rtsp://", "rtsps://")) else {}
    if url.startswith("file:"):
        options = _files_only()

    def connect() -> Any:
        return _opened(url, hardware, options=options, timeout=(_OPEN_TIMEOUT, _STALL))

    try:
        container = connect()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"cannot open the stream '{url}': {reason(error)}") from error
    if container.duration and url.startswith(("http", "file")):
        return _decoded(container, url)
    return _live_feed(url, connect, container)


def _camera_feed(index: int) -> Feed:
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


def _live_feed(name: str, connect: Callable[[], Any], container: Any) -> Feed:
    stream = _picture_stream(container, name)
    notes: list[str] = []
    live = _Live(name, connect, container, stream, notes)
    return Feed(name, _rate(stream), None, live.frames(), live.close, notes, live=True)


@dataclass
class _Live:
    """A camera or stream, opened again when it breaks: for `_GIVE_UP` seconds, in steps of half a second."""

    name: str
    connect: Callable[[], Any]
    container: Any
    stream: Any
    notes: list[str]
    closed: bool = False

    def frames(self) -> Generator[Picture]:
        """Yield frames until the source is closed, or broken for good; `notes` tells of breaks."""
        breaks, away, before = 0, 0.0, 0.0
        broke: float | None = None
        try:
            while not self.closed:
                # Frame threads add a delay of several frames, which a live picture should not have.
                self.stream.thread_type = "SLICE"
                decoder = _Decoder(self.container, self.stream, self.name, False, [], patience=_STALL)
                yield from decoder.frames()
                self.container.close()
                if decoder.decoded:
                    broke, before, breaks = time.monotonic(), away, breaks + 1
                elif broke is None:  # it has no pictures, or none now
                    return
                else:
                    time.sleep(0.5)
                if not self._open_again(broke):
                    self.notes[:] = [f"'{self.name}' broke off and could not be opened again for {_GIVE_UP:.0f} s"]
                    return
                away = before + time.monotonic() - broke
                self.notes[:] = [f"'{self.name}' broke off and was opened again, {breaks} times, {away:.1f} s in all"]
        finally:
            self.container.close()

    def _open_again(self, broke: float) -> bool:
        """Try until it is open and has pictures, or broken for too long; return whether to go on."""
        while not self.closed:
            if time.monotonic() - broke > _GIVE_UP:
                return False
            with suppress(av.error.FFmpegError, OSError, ValueError, IndexError, InputError):
                container = self.connect()
                self.stream = _picture_stream(container, self.name)
                self.container = container
                return True
            time.sleep(0.5)
        return True

    def close(self) -> None:
        """Have `frames` end: the container is closed where it is read, as FFmpeg asks for."""
        self.closed = True


@dataclass
class _Decoder:
    """Decodes one stream and says in `notes` what it could not decode; `decoded` is the number of frames.

    `patience` is how many seconds of packets without a frame, since it began, end it.
    """

    container: Any
    stream: Any
    name: str
    cut: bool
    notes: list[str]
    patience: float = float("inf")
    decoded: int = 0

    def frames(self) -> Generator[Picture]:
        """Yield the frames, turned as the container says.

        What cannot be decoded is left out, and told in `notes` once the last frame has been read.
        """
        reformatter = av.video.reformatter.VideoReformatter()
        lost, began = 0, time.monotonic()
        rotation, matrix = None, None
        for frame in self._decode():
            if frame is None:
                lost += 1
                if not self.decoded and time.monotonic() - began > self.patience:
                    break
                continue
            self.decoded += 1
            # Not of every frame: one whose side data was looked at refers to itself, and stays in memory for long.
            if frame.rotation != rotation:
                rotation, matrix = frame.rotation, _matrix(frame)
            yield partial(_pixels, reformatter, frame, matrix)
        if self.cut:
            expected = f" of {self.stream.frames}" if self.stream.frames > self.decoded else ""
            self.notes.append(f"'{self.name}' is cut short: it ends after {self.decoded}{expected} frames")
        elif lost:
            self.notes.append(f"'{self.name}' is damaged: {lost} packets could not be decoded and were left out")

    def _decode(self) -> Iterator[Any]:
        """Yield decoded frames, and None for each packet that cannot be decoded."""
        packets = self.container.demux(self.stream)
        last_is_half = False
        while True:
            try:
                began = time.monotonic()
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                self.cut = True
                break
            if time.monotonic() - began > _FILE_PATIENCE[1]:  # some formats then still hand out what they hold
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


def _matrix(frame: Any) -> list[int] | None:
    try:
        found = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:
        # PyAV up to 18.1 gives none of a frame's data where one kind has no name for it, as EXIF of a JPEG. The angle
        # it reads apart; whether the picture is mirrored it does not say.
        turn = {90: (0, -1, 0, 1, 0), -90: (0, 1, 0, -1, 0), 180: (-1, 0, 0, 0, -1), -180: (-1, 0, 0, 0, -1)}
        return list(turn[frame.rotation]) if frame.rotation in turn else None
    return None if found is None else np.frombuffer(bytes(found), np.int32, 5).tolist()


def _pixels(reformatter: Any, frame: Any, matrix: list[int] | None) -> np.ndarray:
    rgb: np.ndarray = reformatter.reformat(frame, format="rgb24").to_ndarray()
    return rgb if matrix is None else _upright(rgb, matrix)


def _upright(rgb: np.ndarray, matrix: list[int]) -> np.ndarray:
    """A picture turned by a multiple of 90 degrees and mirrored, as a container's matrix says.

    It takes (x, y) to (a x + c y, b x + d y), and begins with a, b, u, c, d (ISO/IEC 14496-12, section 6.2.2).
    """
    across, b, _, c, down = matrix
    if abs(across) + abs(down) < abs(b) + abs(c):
        rgb, across, down = rgb.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(rgb[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
