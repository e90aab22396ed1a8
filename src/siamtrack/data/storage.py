"""Where shards lie: a local folder, or anything that http(s) and file URLs reach; listed, opened and written.

A folder of shards holds `shards.json`, written by `siamtrack data pack`: {"version": 1, "sources": [names], "shards":
[{"name", "crops", "bytes"}]}. Local folders do without it; from afar it takes the place of a listing, and so does a
pattern like `https://host/train-{00..09}.tar`.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from siamtrack.errors import DataError

__all__ = ["MANIFEST", "Listing", "ShardFile", "is_url", "list_shards", "open_storage", "put", "write_manifest"]

MANIFEST = "shards.json"
_TIMEOUT = 60.0
_PATTERN = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class ShardFile:
    """One shard: its name, its path or URL, and, where known, how many crops and bytes it holds."""

    name: str
    place: str
    crops: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Listing:
    """The shards of a place in the order of their names, and the sources of their crops where known."""

    shards: tuple[ShardFile, ...]
    sources: tuple[str, ...] | None = None


def is_url(place: str | Path) -> bool:
    """Whether a place is a http, https or file URL, not a path."""
    return str(place).lower().startswith(("http://", "https://", "file://"))


def list_shards(place: str | Path) -> Listing:
    """List the shards of a folder, a URL of a folder, one `.tar`, or a pattern `name-{00..09}.tar`.

    Raises:
        DataError: nothing there, or a broken `shards.json`.
    """
    text = str(place)
    if text.endswith(".tar"):
        return Listing(tuple(_local(name) for name in _expanded(text)))
    if is_url(text):
        return _listed(text.rstrip("/"))
    folder = Path(text)
    if (folder / MANIFEST).is_file():
        return _listed(text)
    shards = sorted(folder.glob("*.tar"))
    if not shards:
        raise DataError(f"expected a folder with WebDataset shards (*.tar); found none in {place}")
    return Listing(tuple(_local(str(path)) for path in shards))


def _local(place: str) -> ShardFile:
    size = None
    if not is_url(place):
        if not Path(place).is_file():
            raise DataError(f"no shard {place}")
        size = Path(place).stat().st_size
    return ShardFile(place.rpartition("/")[2], place, None, size)


def _expanded(pattern: str) -> list[str]:
    found = _PATTERN.search(pattern)
    if found is None:
        return [pattern]
    first, last = found.groups()
    numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
    names = [pattern[: found.start()] + number + pattern[found.end() :] for number in numbers]
    if not names:
        raise DataError(f"the pattern {pattern} names no shard; write it as name-{{00..09}}.tar")
    return names


def _listed(folder: str) -> Listing:
    where = f"{folder}/{MANIFEST}"
    try:
        with open_storage(where) as stored:
            table = json.loads(stored.read())
        shards = tuple(
            ShardFile(row["name"], f"{folder}/{row['name']}", int(row["crops"]), int(row["bytes"]))
            for row in table["shards"]
        )
        listing = Listing(tuple(sorted(shards, key=lambda shard: shard.name)), tuple(map(str, table["sources"])))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where} is no list of shards as `siamtrack data pack` writes it: {error!r}") from None
    if not listing.shards:
        raise DataError(f"{where} lists no shards")
    return listing


@contextmanager
def open_storage(place: str | Path) -> Iterator[IO[bytes]]:
    """Open a path or URL for reading.

    Raises:
        DataError: it cannot be opened; errors while reading are OSErrors.
    """
    text = str(place)
    try:
        if is_url(text):
            opened: Any = urllib.request.urlopen(text, timeout=_TIMEOUT)
        else:
            opened = Path(text).open("rb")  # noqa: SIM115 - closed by the block below
    except (OSError, ValueError) as error:
        raise DataError(f"{text} cannot be opened: {error}") from None
    with opened as stream:
        yield stream


def put(file: Path, place: str) -> None:
    """Move a finished file to a folder's path or file URL, or PUT it to a http(s) URL.

    Raises:
        DataError: the server refuses it, or the folder cannot be written.
    """
    try:
        if place.lower().startswith(("http://", "https://")):
            headers = {"Content-Length": str(file.stat().st_size), "Content-Type": "application/octet-stream"}
            with file.open("rb") as body:
                request = urllib.request.Request(place, data=body, headers=headers, method="PUT")
                urllib.request.urlopen(request, timeout=_TIMEOUT).close()
            file.unlink()
            return
        target = Path(urllib.request.url2pathname(urllib.parse.urlparse(place).path)) if is_url(place) else Path(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(target.name + ".part")
        shutil.move(file, beside)
        beside.replace(target)
    except OSError as error:
        raise DataError(f"{place} cannot be written: {error}") from None


def write_manifest(path: Path, shards: list[ShardFile], sources: list[str]) -> None:
    """Write `shards.json` to a local file."""
    rows = [{"name": shard.name, "crops": shard.crops, "bytes": shard.size} for shard in shards]
    path.write_text(json.dumps({"version": 1, "sources": sorted(sources), "shards": rows}, indent=1), encoding="utf-8")
