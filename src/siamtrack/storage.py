"""Whole files on this machine and on object storage by the same calls.

A place is a path, or a URL that fsspec understands, such as `s3://bucket/folder`. Paths need nothing but the standard
library; URLs need the extra `remote`. Credentials and endpoints are found as the storage's own tools find them
(for S3: `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, `AWS_ENDPOINT_URL`, ..).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from siamtrack.errors import ConfigError, DataError, missing_package, reason
from siamtrack.io import alone_in, check_regular, parse_json, read_bytes, utf8, write_whole

PATIENCE = 15.0
"""Seconds to wait for a web server before the next byte comes; for S3 its own library has 60."""
_SLOWEST = 1000
"""Bytes a second on average that a web server sends at least; one that sends fewer would be waited for for days."""
_LARGEST = 4 << 30  # bytes that are fetched at once

Place = str | Path
"""A `Path` on this machine, or the text of a URL."""


def is_url(place: Place) -> bool:
    """Whether a place is a URL, as `s3://bucket/folder`, and not a path."""
    return isinstance(place, str) and "://" in place


def parse_place(text: str) -> Place:
    """Return the place that a person means: the URL without a slash at its end, or the path, also of a file URL."""
    if text.lower().startswith("file://"):
        return Path(url2pathname(urlsplit(text).path))
    return text.rstrip("/") if is_url(text) else Path(text)


def join(place: Place, *names: str) -> Place:
    """Return the place of a file or folder below a place."""
    return "/".join([str(place).rstrip("/"), *names]) if is_url(place) else Path(place, *names)


@contextmanager
def open_for_reading(place: Place) -> Iterator[IO[bytes]]:
    """Open a file as a stream of bytes; one that is not local is fetched first, in one request.

    Raises:
        DataError: it cannot be opened or fetched; errors while reading a local one are the system's own.
        ConfigError: a URL, and the library that reads it is not installed.
    """
    if is_url(place):
        yield BytesIO(read_from(place))
        return
    check_regular(Path(place))
    try:
        stream = Path(place).open("rb")  # noqa: SIM115 - closed by the block below
    except OSError as error:
        raise DataError(f"{place}: {reason(error)}") from None
    with stream:
        yield stream


def read_from(place: Place) -> bytes:
    """Return a file's content; raises `DataError` that names it where it cannot be read."""
    if not is_url(place):
        return read_bytes(Path(place))
    system, path = _connect(place)
    with _told(place, "cannot be read"):
        return _fetched(system, path) if str(place).lower().startswith("http") else bytes(system.cat_file(path))


def _fetched(system: Any, path: str) -> bytes:
    """Return what a web server answers, in one request, as long as it comes at some speed and to an end."""
    began, content = time.monotonic(), bytearray()
    with system.open(path, "rb", block_size=0, size=1) as stream:  # a stream; nothing asks for the size first
        while part := stream.read(1 << 20):
            content += part
            if len(content) > _LARGEST:
                raise OSError(f"more than {_LARGEST >> 30} GB came")
            check_pace(len(content), began)
    return bytes(content)


def check_pace(received: int, began: float) -> None:
    """Raise `TimeoutError` where a server sent too few bytes since `began` (of `time.monotonic`), after 15 s."""
    waited = time.monotonic() - began
    if waited > PATIENCE and received < _SLOWEST * waited:
        raise TimeoutError(f"{received} bytes came in {waited:.0f} s; expected {_SLOWEST} a second or more")


def read_json_from(place: Place) -> dict[str, Any]:
    """Return the JSON object that a file holds; raises `DataError` that names it where it holds none."""
    return parse_json(read_from(place), str(place))


def write_whole_to(place: Place, data: str | bytes | memoryview) -> None:
    """Write a file so that it is there whole or not at all, text as `io.utf8` has it. Raises `DataError` else."""
    if not is_url(place):
        write_whole(Path(place), data)
        return
    system, path = _connect(place)
    with _told(place, "cannot be written"):
        system.pipe_file(path, utf8(data) if isinstance(data, str) else bytes(data))


def alone_at(place: Place) -> AbstractContextManager[None]:
    """`alone_in` for a folder on this machine; object storage locks nothing."""
    return nullcontext() if is_url(place) else alone_in(Path(place))


def exists(place: Place) -> bool:
    """Whether there is a file; raises `DataError` where the storage does not answer."""
    if not is_url(place):
        try:
            return Path(place).is_file()
        except OSError as error:
            raise DataError(f"{place} cannot be looked for: {reason(error)}") from None
    system, path = _connect(place)
    with _told(place, "cannot be looked for"):
        return bool(system.isfile(path))


def list_files(place: Place) -> list[str]:
    """Return the names of all files below a folder, relative to it, sorted; none where there is no folder.

    Raises `DataError` where the storage does not answer, or a folder below it cannot be looked into.
    """
    if not is_url(place):
        root = Path(place)
        walked = os.walk(root, onerror=_refuse_folder)
        return sorted(
            (Path(folder) / name).relative_to(root).as_posix() for folder, _, names in walked for name in names
        )
    system, path = _connect(place)
    with _told(place, "cannot be listed"):
        return sorted(name.removeprefix(path.rstrip("/") + "/") for name in system.find(path))


def list_names(place: Place) -> list[str]:
    """Return the names of what lies in a folder itself, sorted; otherwise as `list_files`."""
    if is_url(place):
        return [name for name in list_files(place) if "/" not in name]
    try:
        return sorted(os.listdir(place))  # noqa: PTH208 - names, not paths
    except OSError as error:
        error.filename = place
        _refuse_folder(error)
        return []


def _refuse_folder(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise DataError(f"{error.filename}: cannot be listed: {reason(error)}") from None


def remove(place: Place) -> None:
    """Remove a file if there is one; raises `DataError` where that fails."""
    if is_url(place):
        system, path = _connect(place)
        with _told(place, "cannot be removed"):
            if system.isfile(path):
                system.rm_file(path)
        return
    try:
        Path(place).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot remove {place}: {reason(error)}") from None


def _connect(place: Place) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it."""
    if str(place).lower().startswith("memory:"):
        raise ConfigError(f"{place}: what is written there is gone at the end of the command; give a folder or a URL")
    try:
        from fsspec.core import url_to_fs

        # another process may write there: what was listed once is not taken for granted
        options: dict[str, Any] = {"use_listings_cache": False}
        if str(place).lower().startswith("http"):
            import aiohttp

            # as long as bytes come a large file may take its time
            patience = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
            options["client_kwargs"] = {"timeout": patience}
        system, path = url_to_fs(str(place), **options)
    except ImportError:
        scheme = urlsplit(str(place)).scheme.lower()
        packages = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}.get(scheme, "fsspec aiohttp")
        raise missing_package(str(place), packages, "remote") from None
    except Exception as error:  # each kind of storage has its own
        raise ConfigError(f"{place}: expected a path or a URL such as s3://bucket/folder: {reason(error)}") from None
    return system, path


@contextmanager
def _told(place: Place, what: str) -> Iterator[None]:
    """Turn whatever a storage raises, each library its own, into one line that names the place."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{place}: there is no such file or bucket") from None
    except Exception as error:
        raise DataError(f"{place} {what}: {reason(error) or type(error).__name__}") from None
