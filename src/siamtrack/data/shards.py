"""Shards: WebDataset tars of `key.jpg` and `key.json`, a crop of one object and what is known of it.

The annotation is {track_id, frame, box [x0, y0, x1, y1] in crop pixels, category, source} and, where other labelled
objects lie in the crop, `others`: up to 6 of them, nearest first, each [x0, y0, x1, y1, category] in crop pixels. A
crop is centred on its object with room for a shifted search region.
"""

from __future__ import annotations

import json
import math
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt

from siamtrack.data.storage import ShardFile, open_storage
from siamtrack.errors import DataError

__all__ = ["MOST_OTHERS", "CropLabel", "Image", "OtherObject", "Rows", "decode", "iterate_shard", "read_shard"]

Image = npt.NDArray[np.uint8]
_FIELDS = ("track_id", "frame", "box", "category", "source")
_TRIES = 3

Box = tuple[float, float, float, float]

MOST_OTHERS = 6
"""How many other objects an annotation lists at most."""


@dataclass(frozen=True)
class OtherObject:
    """A labelled object beside a crop's own: `box` is xyxy in crop pixels and may reach beyond the crop."""

    box: Box
    category: str


@dataclass(frozen=True)
class CropLabel:
    """What a shard says of one crop.

    Attributes:
        track: name of the object; crops with one name show the same object.
        frame: its number within the video, 0 for stills.
        box: of the object, xyxy in crop pixels.
        category: of the object.
        source: the data set that it comes from.
        others: other labelled objects in the crop, nearest first, at most `MOST_OTHERS`.
    """

    track: str
    frame: int
    box: Box
    category: str
    source: str
    others: tuple[OtherObject, ...] = ()

    def as_json(self) -> bytes:
        """The annotation as a shard stores it."""
        values = (self.track, self.frame, [round(v, 3) for v in self.box], self.category, self.source)
        fields: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
        if self.others:
            fields["others"] = [[*(round(v, 3) for v in other.box), other.category] for other in self.others]
        return json.dumps(fields).encode()


Rows = list[tuple[str, bytes, CropLabel]]
"""Crops as shards hold them: key, image file, annotation."""


def decode(jpeg: bytes) -> Image | None:
    """Decode an image to RGB (H, W, 3), or None where that is not possible.

    Some releases of OpenCV fill the rest of a JPEG that was cut short; here it counts as unreadable.
    """
    if not jpeg or (jpeg[:2] == b"\xff\xd8" and b"\xff\xd9" not in jpeg[-1024:]):
        return None
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def iterate_shard(shard: IO[bytes], name: str) -> Iterator[tuple[str, bytes, CropLabel]]:
    """Read one shard from its beginning to its end, without seeking: (key, image file, annotation).

    The image file is empty where the shard has none for an annotation; images without one are left out.

    Raises:
        DataError: no tar, cut short, or an annotation that is not of the format.
    """
    pictures: dict[str, bytes] = {}
    notes: dict[str, CropLabel] = {}
    try:
        with tarfile.open(fileobj=shard, mode="r|") as tar:
            for member in tar:
                stored = tar.extractfile(member)
                if stored is None:
                    continue
                key, _, kind = member.name.rpartition(".")
                if kind in ("jpg", "jpeg", "png"):
                    pictures[key] = stored.read()
                elif kind == "json":
                    notes[key] = _label(json.loads(stored.read()), f"{name}: the annotation {key}.json")
                if key in pictures and key in notes:
                    yield key, pictures.pop(key), notes.pop(key)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{name} is no readable WebDataset shard: {error}") from error
    for key, note in notes.items():
        yield key, b"", note


def _label(fields: Any, what: str) -> CropLabel:
    if not isinstance(fields, Mapping):
        raise DataError(f"{what}: expected an object, got {type(fields).__name__}")
    if missing := [name for name in _FIELDS if name not in fields]:
        raise DataError(f"{what} lacks {', '.join(missing)}")
    try:
        frame = int(fields["frame"])
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{what}: expected a whole frame number; got {fields['frame']!r}") from None
    return CropLabel(
        str(fields["track_id"]), frame, _box(fields["box"], what), str(fields["category"]), str(fields["source"]),
        _others(fields.get("others", []), what),
    )  # fmt: skip


def _box(values: Any, what: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(v) for v in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{what}: expected a box of 4 numbers; {error}") from None
    if not (math.isfinite(x0 + y0 + x1 + y1) and x1 > x0 and y1 > y0):
        raise DataError(f"{what}: a box is [x0, y0, x1, y1] with x0 < x1 and y0 < y1; got {values}")
    return x0, y0, x1, y1


def _others(rows: Any, what: str) -> tuple[OtherObject, ...]:
    if not isinstance(rows, list) or len(rows) > MOST_OTHERS:
        raise DataError(f"{what}: expected others as a list of at most {MOST_OTHERS} objects")
    found = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 5 or not isinstance(row[4], str):
            raise DataError(f"{what}: each of others is [x0, y0, x1, y1, category]; got {row!r:.80}")
        found.append(OtherObject(_box(row[:4], f"{what}: others"), row[4]))
    return tuple(found)


def read_shard(shard: ShardFile) -> Rows:
    """Read one shard whole, again where a connection breaks.

    Raises:
        DataError: see `iterate_shard`.
    """
    stem = shard.name.removesuffix(".tar")
    for left in reversed(range(_TRIES)):
        try:
            with open_storage(shard.place) as stream:
                return [(f"{stem}/{key}", jpeg, note) for key, jpeg, note in iterate_shard(stream, shard.place)]
        except DataError:
            if not left:
                raise
    raise AssertionError("unreachable")
