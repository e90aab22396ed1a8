"""Folders and zip files read the same way: what lies in a folder of it, and the bytes of one member.

Everything in an archive is somebody else's data. Nothing outside of it can be named (absolute paths, `..` and null
bytes are refused), a member of a zip file is never unpacked to the disk, and what is read has bounds.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO

from siamtrack.errors import DataError, reason
from siamtrack.io import image_size

__all__ = ["IMAGES", "VIDEOS", "Archive", "natural_key", "sequence_key"]

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
_TEXT = frozenset({".txt", ".json", ".ini", ".label", ".tag", ".value", ".csv", ".xml", ".yaml", ".yml", ""})

# Folders of frames hold hundreds of thousands of files, none of which is an annotation.
_FRAME_FOLDERS = frozenset({"img", "imgs", "images", "frames", "depth", "ir", "data_seq", "zips"})

_LARGEST = 2 << 30  # bytes of one file; COCO's annotations have a quarter of it
_LARGEST_ZIPPED = 64 << 20
_ALL_ZIPPED = 2 << 30  # bytes of all text that is read out of one zip file
_HEADER = 1 << 20  # bytes in which an image has told its size
_DEEPEST = 32
_BROKEN = (
    OSError, zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, NotImplementedError, ValueError, EOFError,
    OverflowError, LookupError,
)  # fmt: skip


class Archive:
    """A folder, a zip file or a single file as a tree of members named with `/`; a context manager.

    Args:
        path: the folder or file.
        below: look only at this folder of it; member names are relative to it.

    Raises:
        DataError: there is no such folder or file, or the zip file is damaged.
    """

    def __init__(self, path: Path, below: str = "") -> None:
        self.path = path
        self.below = below
        self._listings: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
        self._zip: zipfile.ZipFile | None = None
        self._read_bytes = 0
        try:
            if path.is_dir():
                self._root: Path | None = path / below
            elif not path.is_file():
                raise DataError(f"{path}: expected a folder or a zip file; there is none")
            elif zipfile.is_zipfile(path):
                self._root = None
                self._zip = zipfile.ZipFile(path)
                self._members = _tree(self._zip, below)
                self._listings = _listings(self._members)
            else:
                self._root = path.parent
                self._listings = {"": ({}, {path.name: None})}
        except _BROKEN as error:
            raise DataError(f"{path}: expected a folder or a zip file; {reason(error)}") from None

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._zip is not None:
            self._zip.close()

    @property
    def is_zip(self) -> bool:
        """Whether members are packed, so that no path on the disk leads to them."""
        return self._zip is not None

    @property
    def is_file(self) -> bool:
        """Whether this is a single file that is no zip file."""
        return self._root is not None and self._root != self.path / self.below

    def where(self, member: str = "") -> str:
        """Return how messages name a member."""
        return str(self.path if self.is_file else self.path / self.below / member)

    def folders(self, at: str = "") -> list[str]:
        """Return the names of the folders in a folder, sorted, hidden ones left out."""
        return list(self._list(at)[0])

    def files(self, at: str = "") -> list[str]:
        """Return the names of the files in a folder, sorted, hidden ones left out."""
        return list(self._list(at)[1])

    def paths(self, pattern: str) -> list[str]:
        """Return the members that match a pattern such as `*/anno/*.txt`, in which `*` is part of one name."""
        found = [""]
        *folders, last = pattern.split("/")
        for part in folders:
            matches = re.compile(_regex(part)).fullmatch
            found = [_join(at, name) for at in found for name in self._list(at)[0] if matches(name)]
        matches = re.compile(_regex(last)).fullmatch
        return [_join(at, name) for at in found for name in self._list(at)[1] if matches(name)]

    def names(self) -> list[str]:
        """Return the members at any depth that may be annotations or results, sorted; frames are not listed."""
        if self.is_file:
            return [self.path.name]
        return sorted(_join(at, name) for at in self._walk("", 0) for name in self._list(at)[1] if _is_text(name))

    def has_files_on_top(self) -> bool:
        """Whether there is more at the top than folders and what packers add: a text that may be an annotation."""
        return any(not name.lower().startswith(("readme", "license")) for name in self.files())

    def has(self, member: str) -> bool:
        """Whether there is such a file."""
        if not _is_inside(member):
            return False
        at, _, name = member.rpartition("/")
        return name in self._list(at)[1]

    def read(self, member: str, largest: int = 0) -> bytes:
        """Return the bytes of one member.

        Raises:
            DataError: it is not there, cannot be read, is larger than `largest` bytes (by default what no
                annotation reaches), or is named by a path that leaves the archive.
        """
        if not _is_inside(member):
            raise DataError(f"{self.where()}: expected a path inside of it, got {member[:80]!r}")
        try:
            if self._zip is not None:
                return self._unzip(self._zip, member, largest or _LARGEST_ZIPPED)
            path = self._path(member)
            if not path.is_file():
                raise DataError(f"{path}: no such file or directory")
            if path.stat().st_size > (largest or _LARGEST):
                raise DataError(f"{path}: {path.stat().st_size} bytes; expected at most {largest or _LARGEST}")
            return path.read_bytes()
        except _BROKEN as error:
            raise DataError(f"{self.where(member)}: cannot be read: {reason(error)}") from None

    def open(self, member: str) -> IO[bytes]:
        """Open a member as a stream of bytes; raises `DataError` where that is not possible."""
        try:
            if self._zip is not None:
                return self._zip.open(self._members[member])
            if not _is_inside(member) or not self._path(member).is_file():
                raise DataError(f"{self.where(member)}: no such file or directory")
            return self._path(member).open("rb")
        except _BROKEN as error:
            raise DataError(f"{self.where(member)}: cannot be read: {reason(error)}") from None

    def read_image(self, member: str) -> bytes:
        """Return the bytes of an image, of which a zip file may hold more than of text; raises as `read` does."""
        self._read_bytes = 0
        return self.read(member, _LARGEST)

    def image_size(self, member: str) -> tuple[int, int] | None:
        """Return (width, height) of an image from its header; None where that does not tell, or it is not there."""
        if not self.has(member):
            return None
        if self._zip is None:
            return image_size(self._path(member))
        try:
            with self._zip.open(self._members[member]) as stream:
                return image_size(stream.read(_HEADER))
        except _BROKEN:
            return None

    def images(self, at: str) -> list[str]:
        """Return the images in a folder as members, in natural order: `2.jpg` before `10.jpg`."""
        names = [name for name in self._list(at)[1] if PurePosixPath(name).suffix.lower() in IMAGES]
        return [_join(at, name) for name in sorted(names, key=natural_key)]

    def _path(self, member: str) -> Path:
        assert self._root is not None  # a zip file has no paths
        return self._root / member

    def _unzip(self, packed: zipfile.ZipFile, member: str, largest: int) -> bytes:
        if member not in self._members:
            raise DataError(f"{self.where(member)}: no such file or directory")
        with packed.open(self._members[member]) as stream:
            data = stream.read(largest + 1)  # what the directory of the file says of its size need not be true
        self._read_bytes += len(data)
        if len(data) > largest or self._read_bytes > max(_ALL_ZIPPED, largest):
            raise DataError(f"{self.where(member)}: unpacks to more than any annotation has; expected a data set")
        return data

    def _list(self, at: str) -> tuple[dict[str, None], dict[str, None]]:
        """Folders and files of a folder, sorted, as dicts: in order and fast to look up."""
        known = self._listings.get(at)
        if known is not None or self._zip is not None or self.is_file or not _is_inside(at):
            return known or ({}, {})
        folders: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(self._path(at)) as entries:
                for entry in entries:
                    if not _is_hidden(entry.name):
                        (folders if entry.is_dir() else files).append(entry.name)
        except OSError:
            pass  # no such folder: nothing in it
        found = dict.fromkeys(sorted(folders)), dict.fromkeys(sorted(files))
        if len(self._listings) > 64:  # a data set has up to a hundred thousand folders, a reader looks at one at a time
            self._listings.pop(next(iter(self._listings)))
        self._listings[at] = found
        return found

    def _walk(self, at: str, depth: int) -> Iterator[str]:
        yield at
        for name in self._list(at)[0]:
            place = _join(at, name)
            # links that lead up again would not end
            if name.lower() not in _FRAME_FOLDERS and depth < _DEEPEST and (self.is_zip or not self._linked(place)):
                yield from self._walk(place, depth + 1)

    def _linked(self, at: str) -> bool:
        return self._path(at).is_symlink()


def _tree(packed: zipfile.ZipFile, below: str) -> dict[str, zipfile.ZipInfo]:
    """The members below a folder; those that are hidden or would lie outside of it are not there."""
    prefix = f"{below}/" if below else ""
    found = {}
    for info in packed.infolist():
        name = info.filename.replace("\\", "/").removeprefix("./")
        if info.is_dir() or not name.startswith(prefix) or not _is_inside(name):
            continue
        if not any(_is_hidden(part) for part in name.split("/")):
            found[name[len(prefix) :]] = info
    return found


def _listings(members: dict[str, zipfile.ZipInfo]) -> dict[str, tuple[dict[str, None], dict[str, None]]]:
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for member in sorted(members):
        at, _, name = member.rpartition("/")
        files = found.setdefault(at, ({}, {}))[1]
        files[name] = None
        while at:
            at, _, name = at.rpartition("/")
            folders = found.setdefault(at, ({}, {}))[0]
            if name in folders:
                break
            folders[name] = None
    return {at: (dict.fromkeys(sorted(folders)), files) for at, (folders, files) in found.items()}


def _join(at: str, name: str) -> str:
    return f"{at}/{name}" if at else name


def _regex(pattern: str) -> str:
    return ".*".join(re.escape(piece) for piece in pattern.split("*"))


def _is_inside(member: str) -> bool:
    parts = member.split("/")
    return not (member.startswith("/") or ".." in parts or "\0" in member or len(parts) > _DEEPEST)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_text(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _TEXT


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `2.jpg` before `10.jpg`: runs of digits compare as numbers."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(1, int(part), part) if part.isdecimal() and len(part) < 4000 else (0, 0, part) for part in parts]


def sequence_key(name: str) -> str:
    """Return the spelling under which names of one sequence meet: lower case, one kind of separator.

    Public results write Jogging-1 as jogging_1, jogging.1 or Jogging-1, and Human4-2 as Human4.
    """
    key = name.lower().replace("-", "_").replace(".", "_").replace(" ", "_")
    return "human4_2" if key == "human4" else key
