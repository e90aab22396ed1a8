"""Writing h264 video that plays in a browser and survives a full disk or an interrupted run.

While frames come, the file is a *fragmented* mp4: a few times a second a piece is finished that plays
without what follows. Closing rewrites it, without encoding again, as an ordinary mp4 with its index in front
("faststart"), and moves it to its name. When the disk is full, only the finished pieces are kept.
"""

from __future__ import annotations

import contextlib
import math
import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from siamtrack.arguments import checked
from siamtrack.errors import InputError, reason
from siamtrack.io import move_draft, open_draft, real_path
from siamtrack.video.ahead import Behind

_BT709 = 1  # the number of ITU-R BT.709 in ISO/IEC 23091-2 for primaries, transfer and matrix alike
_LIMITED = 1  # AVCOL_RANGE_MPEG: luma 16 to 235
_FRAGMENTED = {
    "movflags": "empty_moov+default_base_moof",
    "frag_duration": "200000",  # microseconds; what is lost at worst when writing must stop
    "flush_packets": "1",
}
# No B frames and a short look ahead: frames are written soon after they come, for the same reason.
_X264 = {"preset": "veryfast", "crf": "21", "bf": "0", "rc-lookahead": "5"}
_LARGEST = 1 << 25
"""Pixels of a picture, as 8192x4096: what h264 has levels for. Several wait in memory while it is encoded."""
_LONGEST_SIDE = 16384


class VideoWriter(contextlib.AbstractContextManager["VideoWriter"]):
    """Writes RGB frames as h264 (yuv420p, BT.709) mp4; a context manager.

    A thread encodes them, a few frames behind. What goes wrong there is raised by one of the next calls.
    The file appears under its name when the writer is closed, also after an error, with the frames up to it. Without
    any frame no file is written, and an earlier file of that name stays.
    """

    @checked
    def __init__(self, path: str | Path, size: tuple[int, int], fps: float) -> None:
        """Start a file.

        Args:
            path: ends in .mp4; its folder must exist.
            size: (width, height) of the frames; odd sides are made even by repeating the last column or row.
            fps: frames a second, finite and above 0.

        Raises:
            InputError: another suffix, no such folder, a folder without permission, a rate that is none, or pictures
                that are too large for h264.
            DataError: a pipe or a device is there.
        """
        self.path = Path(path)
        self.frames = 0
        self._at = -1
        self._size = size
        self._closed = False
        if self.path.suffix.lower() != ".mp4":
            raise InputError(f"video is written as .mp4; got '{self.path}'")
        if not self.path.parent.is_dir():
            raise InputError(f"no such folder to write the video into: '{self.path.parent}'")
        try:
            taken = self.path.is_dir()
        except OSError as error:  # a name that is too long
            raise InputError(f"cannot write '{self.path}': {reason(error)}") from error
        if taken:
            raise InputError(f"cannot write the video: '{self.path}' is a folder")
        if not math.isfinite(fps) or fps <= 0:
            raise InputError(f"expected a frame rate above 0; got {fps}")
        if len(size) != 2 or min(size) < 1:
            raise InputError(f"expected a size of (width, height), each 1 pixel or more; got {size}")
        if size[0] * size[1] > _LARGEST or max(size) > _LONGEST_SIDE:
            raise InputError(
                f"cannot write '{self.path}': a video in h264 has at most {_LARGEST} pixels, and sides of at most "
                f"{_LONGEST_SIDE}; got {size[0]}x{size[1]}"
            )
        # Absolute, because FFmpeg takes what stands before a colon for a protocol.
        self._place = real_path(self.path.absolute())
        self._draft = contextlib.ExitStack()
        try:
            # Made here, as FFmpeg opens its file with the first packet, some frames late for the news that it cannot.
            self._part = self._draft.enter_context(open_draft(self._place))
        except OSError as error:
            raise InputError(f"cannot write '{self.path}': {reason(error)}") from error
        try:
            self._container: Any = av.open(str(self._part), "w", format="mp4", options=_FRAGMENTED)
            self._stream = _add_stream(self._container, size, fps)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            with contextlib.suppress(OSError), self._draft:
                self._part.unlink(missing_ok=True)
            raise InputError(f"cannot write '{self.path}': {reason(error)}") from error
        self._encoding = Behind(self._encode)

    @checked
    def write(self, frame: np.ndarray, at: int | None = None) -> None:
        """Append one frame, RGB uint8 (H, W, 3) of the size given at the start.

        It is shown from frame time `at` on, which grows from call to call; from the next one if left out. With the
        numbers of the frames, a video without some of them runs at the pace of the whole.

        Raises:
            InputError: another size or type; or the disk is full: then the frames up to there are kept.
        """
        width, height = self._size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise InputError(f"expected a frame of {width}x{height} RGB uint8; got {frame.shape} {frame.dtype}")
        if self._closed:
            raise InputError(f"'{self.path}' is closed: no frame can be added")
        if width % 2 or height % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")  # a copy
        picture.pts = self._at = self.frames if at is None else max(at, self._at + 1)
        self._encoding.put(picture)
        self.frames += 1

    def close(self) -> None:
        """Finish the file and move it to its name; a second call does nothing.

        Raises:
            InputError: the disk is full; the frames that could be written are kept.
        """
        with self._draft:
            if not self._closed:
                self._closed = True
                self._encoding.close()
            if self._container is not None:
                self._finish()

    def _finish(self) -> None:
        if self.frames == 0:
            self._abandon()
            self._part.unlink(missing_ok=True)
            return
        self._mux(None)
        container, self._container = self._container, None
        try:
            container.close()
        except (av.error.FFmpegError, OSError) as error:
            self._keep_fragments(error)
        # Move the finished file to its name: index in front, or where that does not fit, as it is.
        ready = self._part.with_suffix(".ready")
        try:
            _remux(self._part, ready)
            ready.replace(self._part)
        except (av.error.FFmpegError, OSError):
            ready.unlink(missing_ok=True)
        try:
            move_draft(self._part, self._place)
        except OSError as error:
            self._part.unlink(missing_ok=True)
            raise InputError(f"cannot write '{self.path}': {reason(error)}") from error

    def __exit__(self, *error: object) -> None:
        self.close()

    def _encode(self, picture: Any) -> None:
        self._mux(picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG))

    def _mux(self, picture: Any) -> None:
        """Encode and write one picture; None for what the encoder still holds."""
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            self._abandon()
            self._keep_fragments(error)

    def _abandon(self) -> None:
        container, self._container = self._container, None
        with contextlib.suppress(av.error.FFmpegError, OSError):
            container.close()

    def _keep_fragments(self, error: Exception) -> None:
        """Save what was written before `error`, and raise it as an InputError."""
        kept = "no frame of it could be kept"
        with contextlib.suppress(OSError):
            try:
                if _trim_fragments(self._part):
                    with av.open(str(self._part)) as container:
                        frames = sum(1 for packet in container.demux(video=0) if packet.size)
                    move_draft(self._part, self._place)
                    kept = f"it holds the first {frames} frames"
            except (av.error.FFmpegError, OSError):
                pass
            self._part.unlink(missing_ok=True)  # if it was not moved
        raise InputError(f"cannot write '{self.path}' any further: {reason(error)}; {kept}") from error


def _add_stream(container: Any, size: tuple[int, int], fps: float) -> Any:
    rate = Fraction(fps).limit_denominator(1001)
    # Builds of FFmpeg without x264 have another h264 encoder, which does not know x264's options.
    with_x264 = "libx264" in av.codecs_available
    stream = container.add_stream("libx264" if with_x264 else "h264", rate=rate, options=_X264 if with_x264 else {})
    stream.width, stream.height = (side + side % 2 for side in size)
    stream.pix_fmt = "yuv420p"
    codec = stream.codec_context
    codec.gop_size = max(1, round(fps))  # a key frame a second: players can jump there
    codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
    codec.color_range = _LIMITED
    return stream


def _remux(source: Path, target: Path) -> None:
    """Copy the packets of one mp4 into another whose index comes first."""
    with av.open(str(source)) as old, av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


class Atom(NamedTuple):
    """One box of an ISO base media file: its four-letter kind and the bytes [start, end) that it claims."""

    kind: str
    start: int
    end: int


def top_atoms(path: Path) -> list[Atom]:
    """List the outermost boxes of an mp4 or mov file (ISO/IEC 14496-12, section 4.2); empty for other files.

    The last box may claim more bytes than the file has: then the file was cut.
    """
    atoms: list[Atom] = []
    if not path.is_file():
        return atoms
    total = path.stat().st_size
    with path.open("rb") as file:
        start = 0
        while start + 8 <= total:
            file.seek(start)
            head = file.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            elif size == 0:
                size = total - start
            if size < 8 or not kind.isascii() or (not atoms and kind not in (b"ftyp", b"moov", b"wide", b"mdat")):
                break
            atoms.append(Atom(kind.decode("ascii"), start, start + size))
            start += size
    return atoms


def is_cut(path: Path) -> bool:
    """Whether the file is an mp4 or mov whose last box claims bytes that are not there."""
    atoms = top_atoms(path)
    return bool(atoms) and atoms[-1].end > path.stat().st_size


def _trim_fragments(path: Path) -> bool:
    """Drop what follows the last whole fragment (`moof` box and `mdat` box) of an mp4; return whether one is left."""
    total = path.stat().st_size
    whole = 0
    for index, data in pairwise(top_atoms(path)):
        if index.kind == "moof" and data.kind == "mdat" and data.end <= total:
            whole = data.end
    if whole:
        os.truncate(path, whole)
    return whole > 0
