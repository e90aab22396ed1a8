"""Where frames come from: a video, a folder of images, a camera. `reader.open_source` chooses."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from siamtrack.errors import InputError, reason
from siamtrack.video.mp4 import is_cut, top_atoms

__all__ = ["DEFAULT_FPS", "IMAGE_SUFFIXES", "Feed", "camera_feed", "folder_feed", "natural_key", "video_feed"]

DEFAULT_FPS = 30.0
"""The rate assumed where none is known: folders of images and cameras that do not tell theirs."""

IMAGE_SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})

_TEXT_FORMATS = frozenset({"tty", "ass", "srt", "webvtt", "microdvd", "bin", "xbin", "adf", "idf"})
_LAST_CAMERA = 99  # from 100 on, OpenCV takes hundreds as the choice of an interface
_STREAM_TIMEOUT = (10.0, 10.0)  # seconds to open, seconds to wait for the next packet


@dataclass
class Feed:
    """Frames as they come from one place: what `FrameSource` numbers, limits and checks.

    `count` is the number of all frames, those before the start included. `notes` grows while frames are read.
    """

    name: str
    fps: float
    count: int | None
    frames: Iterator[np.ndarray]
    close: Callable[[], None]
    notes: list[str] = field(default_factory=list)


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts `2.jpg` before `10.jpg`: runs of digits compare as numbers."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts]


def folder_feed(folder: Path, start: int) -> Feed:
    """Images of a folder in natural order, hidden files and other files left out.

    Raises:
        InputError: no image in the folder; on reading, a file that is not an image or has an unknown depth.
    """
    paths = sorted(_images(folder), key=natural_key)
    if not paths:
        inner = next((sub for sub in sorted(folder.iterdir()) if sub.is_dir() and _images(sub)), None)
        hint = f"; did you mean '{inner}'?" if inner else "; expected .jpg, .png, .bmp, .tif or .webp files"
        raise InputError(f"no images in the folder '{folder}'{hint}")
    frames = (_read_image(path) for path in paths[start:])
    return Feed(folder.resolve().name, DEFAULT_FPS, len(paths), frames, lambda: None)


def camera_feed(index: int, start: int) -> Feed:
    """Live frames of a local camera; `start` frames are thrown away first.

    Raises:
        InputError: no such camera.
    """
    with _quiet_opencv():
        camera = cv2.VideoCapture(index) if 0 <= index <= _LAST_CAMERA else None
    if camera is None or not camera.isOpened():
        raise InputError(f"cannot open camera {index}: no such camera, or another program holds it")
    rate = camera.get(cv2.CAP_PROP_FPS)
    fps = rate if math.isfinite(rate) and 0 < rate <= 1000 else DEFAULT_FPS
    return Feed(f"camera {index}", fps, None, _grab(camera, start), camera.release)


def video_feed(source: str, start: int, *, live: bool = False) -> Feed:
    """Frames of a video file, or with `live` of a URL, decoded by FFmpeg and turned upright.

    Frames before `start` are decoded and dropped rather than sought: a seek by time is not exact to the
    frame.

    Raises:
        InputError: not a video, or one whose index is lost.
    """
    notes: list[str] = []
    container = _open_container(source, live)
    stream = next((s for s in container.streams.video if s.codec_context is not None), None)
    if stream is None or container.format.name in _TEXT_FORMATS:
        container.close()
        raise InputError(
            f"'{source}' is not a video: no picture stream in it (FFmpeg reads it as {container.format.name})"
        )
    # Frame threads add a delay of several frames, which a live picture should not have.
    stream.thread_type = "SLICE" if live else "AUTO"
    rate = stream.average_rate or stream.guessed_rate
    fps = float(rate) if rate else DEFAULT_FPS
    name = source if live else Path(source).name
    decoder = _Decoder(container, stream, name, not live and is_cut(Path(source)), notes)
    return Feed(name, fps, stream.frames or None, decoder.frames(start), container.close, notes)


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


def _grab(camera: cv2.VideoCapture, start: int) -> Iterator[np.ndarray]:
    for _ in range(start):
        camera.grab()
    while True:
        ok, image = camera.read()
        if not ok:
            return
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _open_container(source: str, live: bool) -> Any:
    # Over UDP, RTSP loses packets, and a lost packet is a smeared frame.
    options = {"rtsp_transport": "tcp"} if source.startswith("rtsp://") else {}
    try:
        # A path is given with its protocol, so that a colon in a file's name is not taken for one.
        return av.open(source if live else f"file:{source}", options=options, timeout=_STREAM_TIMEOUT if live else None)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if live:
            raise InputError(f"cannot open the stream '{source}': {reason(error)}") from error
        kinds = {atom.kind for atom in top_atoms(Path(source))}
        if "ftyp" in kinds and "moov" not in kinds:
            raise InputError(
                f"'{source}' was cut before its index (moov) was written, so nothing in it can be decoded"
            ) from error
        raise InputError(
            f"'{source}' is not a video that can be read ({reason(error)}); "
            "expected a video file, a folder of images, a camera number or a URL"
        ) from error


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
