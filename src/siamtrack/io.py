"""Files: written whole or not at all, read with errors that name them.

Every file is written through `whole_file` or `write_whole`, but for those that must hold what was reached however a
program ends: a run's boxes and video (`siamtrack.video`) and logs of one line an event, which are appended to.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from siamtrack.errors import DataError, InputError, printable, reason

T = TypeVar("T")

IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".jp2", ".pgm", ".pnm", ".ppm")
"""Of the files that are images, the usual ones first."""

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpeg", ".mpg", ".ts")
"""Of the files that are videos, where a file's content is not looked at."""

MOST_PIXELS = 1 << 27
"""Of a picture, as 16384x8192: some files say of sizes what they like, and decoded a pixel has three bytes."""

PAGE_MARK = b'<meta name="generator" content="siamtrack">'
"""In the head of the pages that siamtrack writes."""

DEEPEST_KEY = 16
"""Dots in a key as `train.lr`, of which presets have two: for each one, TOML's reader goes through all before it."""

_LONGEST_NAME = 160
_LARGEST = 2 << 30  # bytes that are read at once
_LARGEST_JSON = 32 << 20  # bytes; in memory it may have twenty times as many
_LARGEST_TOML = 1 << 20
_MOST_MEMORY = 3 << 30  # bytes that the values of a JSON file may take
_LONGEST_LINE = 1 << 20  # bytes of a line of a log
_JSON_KINDS = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the path of a draft beside `path`, which takes its place when the block ends without an error.

    If the block raises, or the program is killed, `path` stays as it was. A killed program's draft is used again by the
    next one that writes `path`; see `open_draft`. The file has the permissions of the one that it replaces, a new one
    those that the user's mask leaves; of a symbolic link, the file that it leads to is replaced.

    Raises:
        DataError: the draft cannot be made, written or moved.
    """
    try:
        place = real_path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with open_draft(place) as draft:
            try:
                yield draft
                move_draft(draft, place)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from error


def real_path(path: Path) -> Path:
    """Where a file is to be written: for a symbolic link, what it leads to.

    Raises:
        DataError: a folder, a pipe or a device is there, which would be replaced by a file.
    """
    if path.exists():
        check_regular(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def move_draft(draft: Path, path: Path) -> None:
    """Give a draft the permissions of the file that was at `path`, if any, and its place, or raise `OSError`."""
    with suppress(FileNotFoundError):
        draft.chmod(stat.S_IMODE(path.stat().st_mode) & 0o777)
    draft.replace(path)


def utf8(text: str) -> bytes:
    """Return a text in UTF-8. Halves of characters, which JSON and names of files can hold, come escaped."""
    return text.encode(errors="backslashreplace")


def write_whole(path: Path, data: str | bytes | memoryview) -> None:
    """Write a file whole or not at all, even if the program is killed; text as `utf8` has it. Raises `DataError`."""
    with whole_file(path) as draft:
        draft.write_bytes(utf8(data) if isinstance(data, str) else data)


def check_own_page(folder: Path, others: Iterable[str], overwrite: bool) -> None:
    """Refuse a folder for a page whose files siamtrack did not write: its `index.html`, which says so, and `others`.

    Raises:
        InputError: one of the files is there, the page is none of siamtrack's, and `overwrite` is not wanted.
    """
    names = ["index.html", *others]
    found = None if overwrite else next((folder / name for name in names if (folder / name).exists()), None)
    if found is None:
        return
    try:
        check_regular(folder / "index.html")
        with (folder / "index.html").open("rb") as file:
            ours = PAGE_MARK in file.read(4096)
    except (OSError, DataError):
        ours = False
    if not ours:
        raise InputError(f"'{found}' is there already; choose another folder, or replace it with --overwrite")


def check_writable(path: Path) -> None:
    """Raise `DataError` for a file that cannot be written, before its content is computed; its folder is made."""
    try:
        place = real_path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with open_draft(place) as draft:
            draft.unlink()
    except OSError as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from None


@contextmanager
def open_draft(path: Path) -> Iterator[Path]:
    """Make an empty file beside `path`, hidden and with its suffix, by which some libraries choose a format.

    It is called after `path` and locked while the block runs: a draft that is locked by nobody was left by a program
    that was killed, and is used again, so that none pile up. Two programs that write one file have a draft each.

    Raises:
        OSError: it cannot be made.
    """
    name = path.name
    if 240 < len(os.fsencode(name)) <= 255:  # with more in front it would be too long; a longer one is refused
        name = hashlib.sha256(os.fsencode(name)).hexdigest() + path.suffix[:20]
    draft = path.with_name(f".part-{name}")
    try:
        handle = _claimed(draft, os.O_CREAT)
    except OSError:  # another user's, in a folder that all may write to, or no file
        handle = None
    if handle is None:
        draft = path.with_name(f".part-{secrets.token_hex(8)}{path.suffix[:20]}")
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        lock(handle, draft)
    try:
        os.ftruncate(handle, 0)
        yield draft
    finally:
        os.close(handle)


def sweep_drafts(folder: Path) -> None:
    """Remove the drafts below a folder that programs left behind when they were killed."""
    for path in folder.rglob(".part-*"):
        with suppress(OSError):
            if (handle := _claimed(path)) is not None:
                path.unlink(missing_ok=True)
                os.close(handle)


def _claimed(draft: Path, flags: int = 0) -> int | None:
    """Open and lock a draft; None if another program has it, or where files cannot be locked."""
    if sys.platform == "win32":
        return None
    handle = os.open(draft, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o666)
    if lock(handle, draft):
        return handle
    os.close(handle)
    return None


def lock(handle: int, path: Path) -> bool:
    """Lock the file at a path, which was opened as `handle`, until it is closed or the program ends.

    Returns:
        Whether nobody else has it locked, and `path` still leads to it: of a file that was moved or removed between the
        opening and the lock, others know nothing. True where files cannot be locked.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let one program at a time into blocks of this kind for a folder, which is made if missing; others wait.

    In it a program looks whether a file is there and else begins it, so that of two that come at once the second one
    sees what the first has begun. Where folders cannot be locked nobody waits.

    Raises:
        DataError: the folder cannot be made or opened.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {reason(error)}") from None
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def check_readable(path: Path) -> None:
    """Raise `DataError` for no file, or one that cannot be opened: some libraries then say that there is none."""
    check_regular(path)
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None


def check_regular(path: Path) -> int:
    """Return the size in bytes of a file that is no folder, pipe or device, which could be read without end.

    Raises:
        DataError: there is no such file, or it is of another kind.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise DataError(f"{path}: {reason(error)}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a device or a socket"
        raise DataError(f"{path}: expected a file; it is {kind}")
    return found.st_size


def read_bytes(path: Path, largest: int = _LARGEST) -> bytes:
    """Return a file's content; raises `DataError`, with its name, if it has more than `largest` bytes or is none."""
    if (size := check_regular(path)) > largest:
        raise DataError(f"{path}: {size} bytes; expected at most {largest}")
    try:
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        raise DataError(f"{path}: {reason(error)}") from None


def append_line(path: Path, line: str, *, sync: bool = False) -> None:
    """Append a line to a file, which is made if missing. After a half line, left by a kill, it begins on its own.

    With `sync` it is on the disk when this returns.

    Raises:
        DataError: it cannot be written.
    """
    if path.exists():
        check_regular(path)
    try:
        with path.open("ab+") as stream:
            stream.seek(max(stream.seek(0, os.SEEK_END) - 1, 0))
            gap = b"" if stream.read(1) in (b"\n", b"") else b"\n"
            stream.write(gap + line.encode() + b"\n")
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
    except OSError as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from None


def parse_number(text: str) -> float:
    """Return the number that a text holds; raises ValueError for what only Python reads as one: 1_000, other digits."""
    if "_" in text or not text.isascii():
        raise ValueError(f"expected a number, got {text[:40]!r}")
    return float(text)


def parse_json(data: bytes | str, where: str, largest: int = _LARGEST_JSON) -> dict[str, Any]:
    """Return the JSON object that a text of at most `largest` bytes holds; `where` names it in messages.

    Raises:
        DataError: no JSON, too long or nested too deep to be read, or something other than an object.
    """
    if len(data) > largest:
        raise DataError(f"{where}: {len(data)} bytes of JSON; expected at most {largest}")
    text = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    check_json_memory(text, where)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{where}: expected JSON: {reason(error)}") from None
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a JSON object, got {_JSON_KINDS.get(type(found), 'null')}")
    return found


def check_json_memory(text: bytes, where: str) -> None:
    """Raise `DataError` for a JSON text whose values take too much memory: an estimate, by what separates them."""
    values = 40 * text.count(b",") + 72 * text.count(b"[") + 232 * text.count(b"{")
    memory = values + len(text) * (2 if text.isascii() else 6)  # one wide character makes all of a text wide
    if memory > _MOST_MEMORY:
        raise DataError(f"{where}: its values would take {memory >> 20} MB of memory; at most {_MOST_MEMORY >> 20}")


_TOML_TEXT = re.compile(
    r"""\"{3}(?:\\.|[^\\])*?(?:\"{3}|\\?\Z)|'{3}.*?(?:'{3}|\Z)|"(?:\\.|[^"\\\n])*+"?|'[^'\n]*+'?|\#[^\n]*+""", re.DOTALL
)
_TOML_KEY = re.compile(r"[\w.\- \t]++")


def parse_toml(data: bytes | str, where: str) -> dict[str, Any]:
    """Return the table that a TOML text of at most 1 MiB holds; `where` names it in messages.

    Raises:
        DataError: no TOML in UTF-8, too long, or keys of more parts than can be read in reasonable time.
    """
    if len(data) > _LARGEST_TOML:
        raise DataError(f"{where}: {len(data)} bytes of TOML; expected at most {_LARGEST_TOML}")
    try:
        text = data.decode() if isinstance(data, bytes) else data
    except UnicodeDecodeError:
        raise DataError(f"{where}: not a text file in UTF-8") from None
    bare = _TOML_TEXT.sub(lambda found: "" if found[0].startswith("#") else "x", text)
    if any(key[0].count(".") > DEEPEST_KEY for key in _TOML_KEY.finditer(bare)):
        raise DataError(f"{where}: a key with more than {DEEPEST_KEY} dots; expected as few as in train.lr")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:  # ValueError: also numbers with thousands of digits
        raise DataError(f"{where}: not valid TOML: {first_names([reason(error)])}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table that a TOML file holds; raises `DataError` as `read_bytes` and `parse_toml`."""
    return parse_toml(read_bytes(path, _LARGEST_TOML), str(path))


def read_lines(path: Path, longest: int = _LONGEST_LINE) -> Iterator[bytes]:
    """Yield the lines of a file that are not empty, without their ends; the file is never held whole.

    Raises:
        DataError: it cannot be read, or a line has more than `longest` bytes.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            while line := file.readline(longest + 1):
                if len(line) > longest:
                    raise DataError(f"{path}: expected lines of at most {longest} bytes")
                if line := line.strip():
                    yield line
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds; raises `DataError` as `read_bytes` and `parse_json`."""
    return parse_json(read_bytes(path, _LARGEST_JSON), str(path))


def read_as(path: Path, kind: type[T]) -> T:
    """Return the value of a type, as a dataclass, whose fields a JSON file holds; each is checked by pydantic.

    Raises:
        DataError: as `read_json`, or a field that is missing or of another type; the message names it.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; raises `DataError` if it cannot be read."""
    check_regular(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None


def image_size(source: Path | bytes) -> tuple[int, int] | None:
    """Return (width, height) from the header of a JPEG or PNG image, which is not decoded.

    Args:
        source: a file, of which as little as possible is read, or its content (the beginning is enough).

    Returns:
        None for a missing file, a pipe, another format, a header that was cut off or says 0, and a JPEG with EXIF data,
        which may say that it is to be turned: decode it then.
    """
    if isinstance(source, bytes):
        found = _header_size(BytesIO(source))
    else:
        try:
            check_regular(source)
            with source.open("rb") as file:
                found = _header_size(file)
        except (OSError, DataError):
            return None
    return found if found and all(found) else None


def _header_size(file: BinaryIO) -> tuple[int, int] | None:
    start = file.read(24)
    if start[:8] == b"\x89PNG\r\n\x1a\n" and len(start) == 24:
        return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
    if start[:2] != b"\xff\xd8":
        return None
    file.seek(2)
    # ITU-T T.81, section B.1: segments of a marker, a length and content, up to the frame header with the size.
    while file.read(1) == b"\xff":
        while (marker := file.read(1)) == b"\xff":  # a marker may be preceded by fill bytes
            pass
        length = int.from_bytes(file.read(2), "big")
        # of C0 to CF, the three that are no frame headers define tables
        if b"\xc0" <= marker <= b"\xcf" and marker not in (b"\xc4", b"\xc8", b"\xcc"):
            body = file.read(5)
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            return (width, height) if len(body) == 5 else None
        if length < 2 or (marker == b"\xe1" and file.read(4) == b"Exif"):
            return None
        file.seek(length - (6 if marker == b"\xe1" else 2), 1)
    return None


def first_names(names: Iterable[str], limit: int = 6) -> str:
    """The first names of a list, and how many more there are, on one line for an error message.

    A name may be any text that a file holds: what cannot be printed is escaped, what is too long is cut.
    """
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(_shown(name) for name in listed[:limit]) + more


def _shown(name: str) -> str:
    text = printable(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key with `2.jpg` before `10.jpg`: runs of digits compare as numbers."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(1, int(part), part) if part.isdecimal() and len(part) < 4000 else (0, 0, part) for part in parts]
