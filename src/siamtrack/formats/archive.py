"""Folders and zip files read the same way: a list of member names and the bytes of one."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from types import TracebackType

from siamtrack.errors import DataError
from siamtrack.io import image_size

__all__ = ["Archive", "sequence_key"]

# Folders of frames hold hundreds of thousands of files, none of which a scorer reads.
_FRAME_FOLDERS = frozenset({"img", "imgs", "images", "frames", "depth", "ir", "data_seq", "zips"})
_TEXT = frozenset({".txt", ".json", ".ini", ".label", ".tag", ".value", ".csv", ""})
_IMAGES = frozenset({".jpg", ".jpeg", ".png"})


class Archive:
    """A folder, a zip file or a single file as a flat set of named members; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            self._members = {name: path / name for name in _walk(path)}
        elif zipfile.is_zipfile(path):
            self._zip = zipfile.ZipFile(path)
            self._members = {i.filename: path for i in self._zip.infolist() if not i.is_dir() and _wanted(i.filename)}
        elif path.is_file():
            self._members = {path.name: path}
        else:
            raise DataError(f"{path}: expected a folder or a zip file; there is none")

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._zip is not None:
            self._zip.close()

    def names(self) -> list[str]:
        """Return the names of all members that can be read, sorted."""
        return sorted(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """Return the bytes of one member; raises `DataError` where it cannot be read."""
        try:
            return self._zip.read(name) if self._zip is not None else self._members[name].read_bytes()
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
            raise DataError(f"{self.path}: cannot read {name}: {error}") from None

    def image_size(self, folder: str) -> tuple[int, int] | None:
        """Return (width, height) of the first image in or just below a folder, None without one."""
        if self._zip is not None:
            prefix = f"{folder}/" if folder else ""
            inside = (n for n in self._zip.namelist() if n.startswith(prefix))
            first = min((n for n in inside if PurePosixPath(n).suffix.lower() in _IMAGES), default=None)
            return None if first is None else image_size(self._zip.read(first))
        for sub in ("", "color", "img", "imgs"):
            place = self.path / folder / sub
            if place.is_dir():
                images = (entry.path for entry in os.scandir(place) if Path(entry.name).suffix.lower() in _IMAGES)
                image = min(images, default=None)
                if image is not None:
                    return image_size(Path(image))
        return None


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in _TEXT


def _walk(root: Path) -> Iterable[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f.lower() not in _FRAME_FOLDERS]
        base = Path(folder).relative_to(root).as_posix()
        for name in files:
            member = name if base == "." else f"{base}/{name}"
            if _wanted(member):
                yield member


def sequence_key(name: str) -> str:
    """Return the spelling under which names of one sequence meet: lower case, one kind of separator.

    Public results write Jogging-1 as jogging_1, jogging.1 or Jogging-1, and Human4-2 as Human4.
    """
    key = name.lower().replace("-", "_").replace(".", "_").replace(" ", "_")
    return "human4_2" if key == "human4" else key
