"""Folders and zip files read in the same way: the listing of a folder and the bytes of a member.

Archives are untrusted: absolute paths, `..` and null bytes are refused, members of a zip file are never unpacked to the
disk, and sizes are bounded.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from siamtrack.errors import DataError, reason
from siamtrack.io import IMAGE_SUFFIXES, check_regular, image_size, natural_key, read_bytes

_TEXT = frozenset({".txt", ".json", ".ini", ".label", ".tag", ".value", ".csv", ".xml", ".yaml", ".yml", ""})

# Folders of frames hold hundreds of thousands of files, none of which is an annotation.
_FRAME_FOLDERS = frozenset({"img", "imgs", "images", "frames", "depth", "ir", "data_seq", "zips"})

_LARGEST = 2 << 30  # bytes of one file
_LARGEST_TEXT = 64 << 20  # bytes of one file that is read whole
_LARGEST_LINES = 16 << 20  # bytes of one text of boxes: some 500,000 frames
_MOST_PACKED = 200  # times that a member of a zip file may be larger than packed
_SMALL = 8192  # bytes, from which on that is looked at
_ALL_ZIPPED = 2 << 30  # bytes of all text read from one zip file
_HEADER = 1 << 20  # bytes of an image that hold its size
_DEEPEST = 32
_LONGEST = 1024  # characters of a member's name, which messages show
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
BROKEN_ZIP: tuple[type[Exception], ...] = (
    OSError, zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, NotImplementedError, ValueError, EOFError,
    OverflowError, LookupError,
    getattr(getattr(zipfile, "lzma", None), "LZMAError", EOFError),
)  # fmt: skip
"""What zipfile raises for damaged files; some Pythons are built without lzma."""


class Archive(AbstractContextManager["Archive"]):
    """A folder, a zip file or a single file as a tree of members named with `/`; a context manager.

    Only the folder `below` in it is looked at, which member names are relative to. `shared` is the same archive for
    those who read from it after this one is closed.

    Raises:
        DataError: there is no such folder or file, or the zip file is damaged.
    """

    def __init__(self, path: Path, below: str = "") -> None:
        self.path = path
        self.below = below
        self.shared = SharedArchive(path, below)
        self._listings: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
        self._zip: zipfile.ZipFile | None = None
        self._read_bytes = 0
        try:
            if path.is_dir():
                self._root: Path | None = path / below
            elif not path.is_file():
                raise DataError(f"{path}: expected a folder or a zip file; nothing of that name is there")
            elif _is_zip(path):
                self._root = None
                self._zip = zipfile.ZipFile(path)
                self._members = _tree(self._zip, below)
                self._listings = _listings(self._members)
            else:
                self._root = path.parent
                self._listings = {"": ({}, {path.name: None})}
        except BROKEN_ZIP as error:
            raise DataError(f"{path}: expected a folder or a zip file; {reason(error)}") from None

    def __exit__(self, *error: object) -> None:
        if self._zip is not None:
            self._zip.close()

    @property
    def is_zip(self) -> bool:
        """Whether this is a zip file, whose members have no path on the disk."""
        return self._zip is not None

    @property
    def is_file(self) -> bool:
        """Whether this is a single file other than a zip file."""
        return self._root is not None and self._root != self.path / self.below

    def where(self, member: str = "") -> str:
        """Return the name of a member for messages."""
        return str(self.path if self.is_file else self.path / self.below / member)

    def folders(self, at: str = "") -> list[str]:
        """Return the sorted names of the folders in a folder, without hidden ones."""
        return list(self._list(at)[0])

    def files(self, at: str = "") -> list[str]:
        """Return the sorted names of the files in a folder, without hidden ones."""
        return list(self._list(at)[1])

    def paths(self, pattern: str, depth: int = 0) -> list[str]:
        """Return the members that match a pattern such as `*/anno/*.txt`, in which `*` is part of one name.

        With a `depth`, in folders up to that many levels further down too, the upper ones first.
        """
        if depth:
            return [member for level in range(depth + 1) for member in self.paths("*/" * level + pattern)]
        found = [""]
        parts = pattern.split("/")
        for depth, part in enumerate(parts, start=1):
            matches = re.compile(".*".join(map(re.escape, part.split("*")))).fullmatch
            kind = 1 if depth == len(parts) else 0  # files at the end, folders before
            found = [join(at, name) for at in found for name in self._list(at)[kind] if matches(name)]
        return found

    def names(self) -> list[str]:
        """Return the sorted members at any depth that may be annotations or results, without frames."""
        if self.is_file:
            return [self.path.name]
        members = (join(at, name) for at in self._walk("", 0) for name in self._list(at)[1])
        return sorted(member for member in members if PurePosixPath(member).suffix.lower() in _TEXT)

    def has_files_on_top(self) -> bool:
        """Whether there is a file at the top other than a readme or license: a possible annotation."""
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
            DataError: it is missing, cannot be read, is larger than `largest` bytes (by default more than any text of
                one sequence has), or its path leaves the archive.
        """
        structured = PurePosixPath(member).suffix.lower() in (".json", ".xml", ".csv")
        largest = largest or (_LARGEST_TEXT if structured else _LARGEST_LINES)
        self._check_inside(member)
        try:
            if self._zip is not None:
                return self._unzip(self._zip, member, largest)
            return read_bytes(self._path(member), largest)
        except BROKEN_ZIP as error:
            raise DataError(f"{self.where(member)}: cannot be read: {reason(error)}") from None

    def open(self, member: str) -> IO[bytes]:
        """Open a member as a stream of bytes; raises `DataError` if it cannot be."""
        self._check_inside(member)
        try:
            if self._zip is not None:
                return self._zip.open(self._checked(member))
            check_regular(self._path(member))
            return self._path(member).open("rb")
        except BROKEN_ZIP as error:
            raise DataError(f"{self.where(member)}: cannot be read: {reason(error)}") from None

    def read_image(self, member: str) -> bytes:
        """Return the bytes of an image, with the bounds of images instead of text; raises like `read`."""
        self._read_bytes = 0
        return self.read(member, _LARGEST)

    def image_size(self, member: str) -> tuple[int, int] | None:
        """Return (width, height) from an image's header; None if the header does not tell or there is no image."""
        if self._zip is None:
            return image_size(self._path(member)) if _is_inside(member) else None
        if not self.has(member):
            return None
        try:
            with self._zip.open(self._members[member]) as stream:
                return image_size(stream.read(_HEADER))
        except BROKEN_ZIP:
            return None

    def images(self, at: str) -> list[str]:
        """Return the images in a folder as members, in natural order: `2.jpg` before `10.jpg`."""
        names = [name for name in self._list(at)[1] if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
        return [join(at, name) for name in sorted(names, key=natural_key)]

    def _check_inside(self, member: str) -> None:
        if not _is_inside(member):
            raise DataError(f"{self.where()}: expected a path inside of it, got {member[:80]!r}")

    def _path(self, member: str) -> Path:
        assert self._root is not None  # a zip file has no paths
        return self._root / member

    def _unzip(self, packed: zipfile.ZipFile, member: str, largest: int) -> bytes:
        with packed.open(self._checked(member)) as stream:
            data = stream.read(largest + 1)  # the size in the zip file's directory need not be true
        self._read_bytes += len(data)
        if len(data) > largest or self._read_bytes > max(_ALL_ZIPPED, largest):
            raise DataError(f"{self.where(member)}: unpacks to more than any annotation has; expected a data set")
        return data

    def _checked(self, member: str) -> zipfile.ZipInfo:
        """A member of the zip file that is no bomb: of one that unpacks to a multiple of text, nothing is read."""
        info = self._members.get(member)
        if info is None:
            raise DataError(f"{self.where(member)}: no such file or directory")
        if info.file_size > _MOST_PACKED * max(info.compress_size, _SMALL):
            raise DataError(f"{self.where(member)}: unpacks to more than any annotation has; expected a data set")
        return info

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
                        (folders if _is_folder(entry) else files).append(entry.name)
        except OSError as error:  # what is there and cannot be looked into is not taken for nothing
            if error.errno not in _NOT_THERE:
                raise DataError(f"{self.where(at)}: cannot be listed: {reason(error)}") from None
        found = dict.fromkeys(sorted(folders)), dict.fromkeys(sorted(files))
        if len(self._listings) > 64:  # data sets have up to a hundred thousand folders; readers visit one at a time
            self._listings.pop(next(iter(self._listings)))
        self._listings[at] = found
        return found

    def _walk(self, at: str, depth: int) -> Iterator[str]:
        yield at
        for name in self._list(at)[0]:
            place = join(at, name)
            if name.lower() in _FRAME_FOLDERS or depth == _DEEPEST:
                continue
            if self.is_zip or not self._path(place).is_symlink():  # a link may lead up again
                yield from self._walk(place, depth + 1)


@dataclass(frozen=True)
class SharedArchive:
    """An archive that is opened once for all who hold this, when one of them needs it, and closed when nobody holds it.

    Threads may share it. It is sent to other processes closed, and a forked one opens it anew: with one open file they
    would move each other's place in it.
    """

    path: Path
    below: str
    _opened: dict[int, Archive] = field(default_factory=dict, compare=False, repr=False)

    def open(self) -> Archive:
        """Return the open archive; raises `DataError` if it cannot be opened."""
        archive = self._opened.get(os.getpid())
        if archive is None:
            archive = Archive(self.path, self.below)
            self._opened.clear()
            self._opened[os.getpid()] = archive
        return archive

    def __reduce__(self) -> tuple[type[SharedArchive], tuple[Path, str]]:
        return SharedArchive, (self.path, self.below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # a link that leads to itself
        if error.errno not in _NOT_THERE:
            raise
        return False


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:  # of a path that cannot be opened, zipfile says that it is none
        return zipfile.is_zipfile(file)


def _tree(packed: zipfile.ZipFile, below: str) -> dict[str, zipfile.ZipInfo]:
    """The members below a folder, without those that are hidden or lie outside of it."""
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


def join(at: str, name: str) -> str:
    """Return the member of that name in a folder; the top is the folder ""."""
    return f"{at}/{name}".strip("/")


def image_names(stem: str) -> list[str]:
    """Return the names that an image of a stem may have, its suffix in small letters or capitals."""
    return [stem + suffix for suffix in (*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES))]


def _is_inside(member: str) -> bool:
    parts = member.split("/")
    usable = "\0" not in member and len(parts) <= _DEEPEST and len(member) <= _LONGEST
    return usable and not member.startswith("/") and ".." not in parts


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "lost+found")


def sequence_key(name: str) -> str:
    """Return the common spelling of a sequence's names: lower case, one kind of separator.

    Public results write Jogging-1 as jogging_1, jogging.1 or Jogging-1, and Human4-2 as Human4.
    """
    key = name.lower().replace("-", "_").replace(".", "_").replace(" ", "_")
    return "human4_2" if key == "human4" else key
