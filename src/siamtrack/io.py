"""Files: written whole or not at all, read with errors that name them. The only module that writes final paths."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from siamtrack.errors import DataError, reason

__all__ = ["file_sha256", "first_names", "read_bytes", "read_json", "sweep_drafts", "whole_file", "write_whole"]

_DRAFT = re.compile(r"^\.part-(\d+)-(.+)-[a-z0-9_]+(\.\w+)?$")
_LONGEST_NAME = 160


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the path of a draft beside `path`, which takes its place when the block ends without an error.

    The draft has the suffix of `path`, since some libraries choose a format by it. If the block raises, or the program
    is killed, `path` stays as it was; a killed program's draft is removed by `sweep_drafts`.

    Raises:
        DataError: the draft cannot be made, written or moved.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".part-{os.getpid()}-{socket.gethostname()}-"
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        draft = Path(name)
        try:
            yield draft
            draft.chmod(0o644)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from error


def write_whole(path: Path, data: str | bytes | memoryview) -> None:
    """Write a file so that it is there whole or not at all, even if the program is killed; text is UTF-8.

    Raises:
        DataError: it cannot be written.
    """
    with whole_file(path) as draft:
        draft.write_bytes(data.encode() if isinstance(data, str) else data)


def sweep_drafts(folder: Path) -> None:
    """Remove the drafts below a folder that processes of this machine left behind when they were killed."""
    for path in folder.rglob(".part-*"):
        found = _DRAFT.match(path.name)
        if found and found.group(2) == socket.gethostname() and not _alive(int(found.group(1))):
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def read_bytes(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        DataError: it cannot be read; the message names it.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        DataError: it cannot be read, is no JSON, or holds something other than an object; the message names it.
    """
    try:
        found = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; raises `DataError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None


def first_names(names: Iterable[str], limit: int = 6) -> str:
    """The first names of a list, and how many more there are, on one line for an error message.

    A name may be any text that a file holds: what cannot be printed is escaped, what is too long is cut.
    """
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(_shown(name) for name in listed[:limit]) + more


def _shown(name: str) -> str:
    text = name if name.isprintable() else repr(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."
