"""Shards: WebDataset tars of `key.jpg` and `key.json`, a crop of one object and what is known of it; and lists of them.

The annotation is {track_id, frame, box [x0, y0, x1, y1] in crop pixels, category, source}; with several objects in a
video or image also its name, `video`; and, where other labelled objects lie in the crop, `others`: up to 6 of them,
nearest first, each [x0, y0, x1, y1, category] in crop pixels. A crop is centred on its object with room for a shifted
search region.

A folder of shards holds `shards.json`, written by `siamtrack data pack`: {"version": 1, "sources": [names], "videos":
{source: how many videos and stills}, "shards": [{"name", "crops", "bytes"}]}. Local folders and buckets do without it.
A web server cannot be asked what it holds: it needs the list, or a pattern such as `https://host/train-{00..09}.tar`.
"""

from __future__ import annotations

import json
import re
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from siamtrack import storage
from siamtrack.errors import DataError, InputError, reason
from siamtrack.geometry.inputs import Image
from siamtrack.io import first_names
from siamtrack.video.images import decode_image

_FIELDS = ("track_id", "frame", "box", "category", "source")
_TRIES = 3
_PATIENCE = 10.0  # seconds after which nothing is tried again

MANIFEST = "shards.json"
UNFINISHED = "unfinished.json"
"""Beside shards while they are made; it tells what is done."""
_PATTERN = re.compile(r"\{(\d{1,12})\.\.(\d{1,12})\}")
_MOST_SHARDS = 100_000
_LARGEST_CROP = 256 << 20  # bytes of a member
FARTHEST = 1e7  # pixels; no image is as wide
_LARGEST_FRAME = 10**15 - 1  # the digits that a frame's number in a file's name may have

Corners = tuple[float, float, float, float]
"""Left, top, right and bottom of a box, in pixels."""

MOST_OTHERS = 6
"""How many other objects an annotation lists at most."""


@dataclass(frozen=True)
class OtherObject:
    """A labelled object beside a crop's own: `box` is xyxy in crop pixels and may reach beyond the crop."""

    box: Corners
    category: str


@dataclass(frozen=True)
class CropLabel:
    """What a shard says of one crop.

    Attributes:
        track: name of the object; crops with one name show the same object.
        frame: its number within the video, 0 for stills.
        box: of the object, xyxy in crop pixels.
        source: the data set that it comes from.
        others: other labelled objects in the crop, nearest first, at most `MOST_OTHERS`.
        video: name of the video or still that the object was taken from; "" if the track is the whole of it.
    """

    track: str
    frame: int
    box: Corners
    category: str
    source: str
    others: tuple[OtherObject, ...] = ()
    video: str = ""

    def as_json(self) -> bytes:
        """The annotation as a shard stores it."""
        values = (self.track, self.frame, [round(v, 3) for v in self.box], self.category, self.source)
        fields: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
        if self.video:
            fields["video"] = self.video
        if self.others:
            fields["others"] = [[*(round(v, 3) for v in other.box), other.category] for other in self.others]
        return json.dumps(fields).encode()


Rows = list[tuple[str, bytes, CropLabel]]
"""Crops as shards hold them: key, image file, annotation."""


@dataclass(frozen=True)
class ShardFile:
    """One shard: its name, its path or URL, and, where known, how many crops and bytes it holds."""

    name: str
    place: storage.Place
    crops: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Listing:
    """The shards of a place in the order of their names, and, where known, the sources of all crops.

    `videos` are the numbers of videos and stills of each source.
    """

    shards: tuple[ShardFile, ...]
    sources: tuple[str, ...] | None = None
    videos: Mapping[str, int] = field(default_factory=dict)


def decode(jpeg: bytes) -> Image | None:
    """Decode an image to RGB (H, W, 3), or None where that is not possible.

    A JPEG that was cut short counts as unreadable, also where a decoder would fill the rest.
    """
    if jpeg[:2] == b"\xff\xd8" and not _has_end(jpeg):
        return None
    try:
        return decode_image(jpeg, "")
    except InputError:
        return None


def _has_end(jpeg: bytes) -> bool:
    """Whether a JPEG's picture goes on to its end marker; phones append whole videos behind it.

    The segments before the picture are passed over: the thumbnail that they may hold has an end marker of its own.
    """
    at = 2
    while jpeg[at : at + 1] == b"\xff" and (marker := jpeg[at + 1 : at + 2]) not in (b"\xda", b""):
        at += 1 if marker == b"\xff" else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg.find(b"\xff\xd9", at) >= 0


def iterate_shard(shard: IO[bytes], name: str) -> Iterator[tuple[str, bytes, CropLabel]]:
    """Read one shard from its beginning to its end, without seeking: (key, image file, annotation).

    The image file is empty where the shard has none for an annotation; images without one are left out.

    Raises:
        DataError: no tar, cut short, or an annotation that is not of the format.
    """
    pictures: dict[str, bytes] = {}
    labels: dict[str, CropLabel] = {}
    counted = _Counted(shard)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", counted), mode="r|") as tar:  # it is only read
            for member in tar:
                stored = tar.extractfile(member)
                if stored is None:
                    continue
                if member.size > _LARGEST_CROP:
                    raise ValueError(f"{first_names([member.name])} has {member.size} bytes")
                key, _, kind = member.name.rpartition(".")
                if kind in ("jpg", "jpeg", "png"):
                    pictures[key] = stored.read()
                elif kind == "json":
                    labels[key] = _label(json.loads(stored.read()), f"{name}: the annotation {key}.json")
                if key in pictures and key in labels:
                    yield key, pictures.pop(key), labels.pop(key)
            if counted.bytes <= tar.offset:  # tarfile takes a file that was cut between two members for a whole one
                raise ValueError("it ends without a tar's end: it was cut off")
    except (tarfile.TarError, OSError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{name} is no readable WebDataset shard: {reason(error)}") from error
    for key, label in labels.items():
        yield key, b"", label


class _Counted:
    """A stream, and how many bytes of it were read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.bytes = 0
        self._stream = stream

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.bytes += len(data)
        return data


def _label(fields: Any, what: str) -> CropLabel:
    if not isinstance(fields, Mapping):
        raise DataError(f"{what}: expected a JSON object; got {json.dumps(fields)[:40]}")
    if missing := [name for name in _FIELDS if name not in fields]:
        raise DataError(f"{what} lacks {', '.join(missing)}")
    try:
        frame = int(fields["frame"])
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{what}: expected a whole frame number; got {fields['frame']!r:.80}") from None
    if abs(frame) > _LARGEST_FRAME:
        raise DataError(f"{what}: expected a frame number of at most {_LARGEST_FRAME}; got {fields['frame']!r:.40}")
    box, rows = _box(fields["box"], what), fields.get("others", [])
    if not isinstance(rows, list) or len(rows) > MOST_OTHERS:
        raise DataError(f"{what}: expected others as a list of at most {MOST_OTHERS} objects")
    others = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 5 or not isinstance(row[4], str):
            raise DataError(f"{what}: each of others is [x0, y0, x1, y1, category]; got {row!r:.80}")
        others.append(OtherObject(_box(row[:4], f"{what}: others"), row[4]))
    track, category, source = (str(fields[name]) for name in ("track_id", "category", "source"))
    return CropLabel(track, frame, box, category, source, tuple(others), str(fields.get("video", "")))


def _box(values: Any, what: str) -> Corners:
    try:
        x0, y0, x1, y1 = (float(v) for v in values)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{what}: expected a box of 4 numbers; got {values!r:.80}") from None
    if not (all(abs(v) <= FARTHEST for v in (x0, y0, x1, y1)) and x1 > x0 and y1 > y0):
        raise DataError(
            f"{what}: a box is [x0, y0, x1, y1], x0 < x1 and y0 < y1, none beyond {FARTHEST:.0f}; got {values!r:.80}"
        )
    return x0, y0, x1, y1


def read_shard(shard: ShardFile) -> Rows:
    """Read one shard whole, as `iterate_shard`; one that is not local up to three times, since connections break."""
    stem, began = shard.name.removesuffix(".tar"), time.monotonic()
    for left in reversed(range(_TRIES if storage.is_url(shard.place) else 1)):
        try:
            with storage.open_for_reading(shard.place) as stream:
                return [(f"{stem}/{key}", jpeg, label) for key, jpeg, label in iterate_shard(stream, str(shard.place))]
        except DataError:
            if not left or time.monotonic() - began > _PATIENCE:
                raise
    raise AssertionError("unreachable")


def list_shards(text: str | Path) -> Listing:
    """List the shards of a folder or bucket, one `.tar`, or a pattern `name-{00..09}.tar`; paths or URLs.

    Raises:
        DataError: nothing there, or a broken `shards.json`.
    """
    place = storage.parse_place(str(text))
    if str(place).endswith(".tar"):
        return Listing(tuple(_unlisted(storage.parse_place(name)) for name in _expanded(str(place))))
    if storage.is_url(place) and str(place).lower().startswith("http"):
        return _listed(place)
    if storage.exists(storage.join(place, UNFINISHED)):
        raise DataError(f"{place} is half made; give the same `siamtrack data pack` again, and it goes on")
    if storage.exists(storage.join(place, MANIFEST)):
        return _listed(place)
    shards = sorted(name for name in storage.list_names(place) if name.endswith(".tar"))
    if not shards:
        raise DataError(
            f"expected a folder with WebDataset shards (*.tar); found none in {place}: "
            f"`siamtrack data pack {place} -o SHARDS` makes them from annotated videos or pictures"
        )
    return Listing(tuple(_unlisted(storage.join(place, name)) for name in shards))


def _unlisted(place: storage.Place) -> ShardFile:
    """A shard of which no list tells how many crops it has."""
    size = None
    if not storage.is_url(place):
        if not Path(place).is_file():
            raise DataError(f"no shard {place}")
        size = Path(place).stat().st_size
    return ShardFile(str(place).rpartition("/")[2], place, None, size)


def _expanded(pattern: str) -> list[str]:
    found = _PATTERN.search(pattern)
    if found is None:
        return [pattern]
    first, last = found.groups()
    count = int(last) - int(first) + 1
    if not 0 < count <= _MOST_SHARDS:
        raise DataError(
            f"the pattern {pattern} names {max(count, 0)} shards; write it as name-{{00..09}}.tar, "
            f"with at most {_MOST_SHARDS} of them"
        )
    numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
    return [pattern[: found.start()] + number + pattern[found.end() :] for number in numbers]


def _listed(folder: storage.Place) -> Listing:
    where = storage.join(folder, MANIFEST)
    try:
        table = json.loads(storage.read_from(where))
        shards = [
            ShardFile(str(row["name"]), storage.join(folder, str(row["name"])), int(row["crops"]), int(row["bytes"]))
            for row in table["shards"]
        ]
        sources = tuple(map(str, table["sources"]))
        videos = {str(name): int(count) for name, count in table.get("videos", {}).items()}
        if wrong := [shard.name for shard in shards if "/" in shard.name or not shard.name.endswith(".tar")]:
            raise ValueError(f"expected names of tar files in the same folder, got {first_names(wrong)}")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{where} is no list of shards as `siamtrack data pack` writes it: {reason(error)}") from None
    if not shards:
        raise DataError(f"{where} lists no shards")
    return Listing(tuple(sorted(shards, key=lambda shard: shard.name)), sources, videos)


def write_manifest(folder: storage.Place, shards: Iterable[ShardFile], videos: Mapping[str, int]) -> None:
    """Write the list of a folder's shards, `shards.json`, or raise `DataError`; `videos` are numbers by source."""
    rows = [{"name": shard.name, "crops": shard.crops, "bytes": shard.size} for shard in shards]
    table = {"version": 1, "sources": sorted(videos), "videos": dict(sorted(videos.items())), "shards": rows}
    text = json.dumps(table, indent=1)
    storage.write_whole_to(storage.join(folder, MANIFEST), text)
