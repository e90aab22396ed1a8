"""What the page may open on the server: the given source, cameras, streams, one folder's files, and uploads."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from siamtrack.errors import InputError, printable, reason
from siamtrack.io import IMAGE_SUFFIXES, VIDEO_SUFFIXES, whole_file

_MOST_LISTED = 1000
_MOST_IMAGES = 20_000
_STREAMS = ("rtsp://", "rtsps://")


Kind = Literal["given", "camera", "stream", "file", "upload"]
"""What the page can open: a kind goes with its number, address, name or id as text."""


class Places:
    """Turns what a page wants to open into a source for `open_source`.

    It may open what is `given` on the command line, videos and folders of images in `folder`, and uploads.
    """

    def __init__(self, given: str | None, folder: Path | None, uploads: Uploads) -> None:
        self.given = given
        self.folder = folder.resolve() if folder else None
        self.uploads = uploads

    def find(self, kind: Kind, name: str = "") -> str | Path | int:
        """Return what `open_source` takes; raises `InputError` for what is not there, or a page may not open."""
        if kind == "given" and self.given is not None:
            return self.given
        if kind == "camera":
            if not name.isascii() or not name.isdecimal() or len(name) > 2:
                raise InputError(f"expected a camera's number from 0 to 99; got '{name}'")
            return int(name)
        if kind == "stream":
            # Other protocols of FFmpeg read files of the server, or pages that only the server reaches.
            if not name.startswith(_STREAMS):
                raise InputError(
                    "expected an address that begins with rtsp:// or rtsps://; give others on the command line"
                )
            return name
        if kind == "upload":
            return self.uploads.path(name)
        if kind == "file" and self.folder:
            return self._inside(name)
        raise InputError("the server was started without a source or folder: upload a video instead")

    def told(self, error: Exception) -> str:
        """What an error says to a page: without the folders of the server in which uploads and files lie."""
        text = reason(error)
        for folder in (self.uploads.folder, self.folder):
            text = text if folder is None else text.replace(f"{folder}{os.sep}", "")
        return text

    def files(self) -> list[str]:
        """Names of what `folder` offers, relative to it: videos, and folders with images.

        Names that a page cannot show, and thus not send back, are left out.
        """
        if self.folder is None:
            return []
        found = []
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            hidden = any(part.startswith(".") for part in name.parts)
            if not hidden and printable(str(name)) == str(name) and self._may_open(path):
                found.append(name.as_posix())
            if len(found) == _MOST_LISTED:
                break
        return found

    def _inside(self, name: str) -> Path:
        assert self.folder is not None
        try:
            path = (self.folder / name).resolve()
            if self._may_open(path):
                return path
        except (OSError, RuntimeError, ValueError):  # a name that is too long or holds a null, a link in a circle
            pass
        raise InputError(f"the folder that the server offers has no video or images '{name[:200]}'")

    def _may_open(self, path: Path) -> bool:
        assert self.folder is not None
        try:
            if not path.resolve().is_relative_to(self.folder):  # also where a link leads out of it
                return False
            if path.is_dir():
                return any(inner.suffix.lower() in IMAGE_SUFFIXES for inner in path.iterdir())
            return path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES
        except (OSError, RuntimeError):  # a folder that is closed to us, a link in a circle
            return False


class TooLargeError(InputError):
    """An upload beyond the limit."""


class WrongKindError(InputError):
    """An upload that is neither a video nor an image."""


@dataclass
class Uploads:
    """Files that a page sent: one video, or the images of a folder, for each id; in `folder`, under names of our own.

    All together have `limit` bytes at most; the oldest make place for new ones.
    """

    folder: Path
    limit: int
    _sizes: dict[str, int] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Return the video, or the folder of images, of an upload's id; raises `InputError` if there is none."""
        if name not in self._sizes:
            raise InputError("that upload is not there any more; send it again")
        files = sorted((self.folder / name).iterdir())
        return self.folder / name if files[0].suffix in IMAGE_SUFFIXES else files[0]

    async def take(self, chunks: AsyncIterator[bytes], into: str | None = None) -> str:
        """Store one file, given in chunks, and return the id of its upload; an image may be added to the upload `into`.

        Raises:
            TooLargeError: more bytes than the limit, or too many images.
            WrongKindError: no video or image by its first bytes, or a video that is added to something.
            InputError: no upload `into`.
        """
        if into is not None and into not in self._sizes:
            raise InputError("that upload is not there any more; send it again")
        name = into or secrets.token_urlsafe(12)
        first = await _first_bytes(chunks, 512)
        suffix = _suffix(first)
        if suffix is None or (into is not None and suffix not in IMAGE_SUFFIXES):
            raise WrongKindError("expected a video (mp4, mov, mkv, webm, avi, ts) or images (jpg, png, webp, bmp)")
        count = self._counts.get(name, 0)
        if count >= _MOST_IMAGES:
            raise TooLargeError(f"expected at most {_MOST_IMAGES} images")
        size = 0
        try:
            with whole_file(self.folder / name / f"{count:06d}{suffix}") as draft, draft.open("wb") as file:
                chunk: bytes | None = first
                while chunk is not None:
                    size += len(chunk)
                    if self._sizes.get(name, 0) + size > self.limit:
                        raise TooLargeError(f"expected at most {self.limit >> 20} MB; see --upload-limit")
                    file.write(chunk)
                    chunk = await anext(chunks, None)
        except BaseException:
            if into is None:
                shutil.rmtree(self.folder / name, ignore_errors=True)
            raise
        self._sizes[name] = self._sizes.pop(name, 0) + size  # at the end: the newest
        self._counts[name] = count + 1
        while sum(self._sizes.values()) > self.limit:
            oldest = next(iter(self._sizes))
            shutil.rmtree(self.folder / oldest, ignore_errors=True)
            del self._sizes[oldest], self._counts[oldest]
        return name


async def _first_bytes(chunks: AsyncIterator[bytes], count: int) -> bytes:
    first = b""
    while len(first) < count and (chunk := await anext(chunks, None)) is not None:
        first += chunk
    return first


def _suffix(first: bytes) -> str | None:
    """The suffix of a file by its first bytes, or None for a kind that is not taken.

    A file's own name is not believed: FFmpeg would open a list of other files and addresses by its content too.
    """
    if first[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return ".mp4"
    if first[:4] == b"\x1aE\xdf\xa3":
        return ".mkv"
    if first[:4] == b"RIFF" and first[8:12] in (b"AVI ", b"WEBP"):
        return ".avi" if first[8:12] == b"AVI " else ".webp"
    if first[:1] == first[188:189] == first[376:377] == b"\x47":
        return ".ts"
    if first[:3] == b"\xff\xd8\xff":
        return ".jpg"
    if first[:8] == b"\x89PNG\r\n\x1a\n":
        return ".png"
    if first[:2] == b"BM":
        return ".bmp"
    return None
