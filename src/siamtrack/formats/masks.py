"""Masks as DAVIS and YouTube-VOS have them: `Annotations/<seq>/00000.png`, `JPEGImages/<seq>/00000.jpg`.

A pixel's value, a palette index or a grey value, is the number of its object; 0 is the background. A box bounds an
object's pixels. 255 beside other numbers marks ignored pixels; alone it is the object, as in DAVIS 2016.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from siamtrack.errors import DataError, reason
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem

__all__ = ["MASKS"]

_VOID = 255


def _find(archive: Archive) -> dict[str, str]:
    """Folders of one sequence's masks each, in `Annotations/` or a folder of one resolution in it."""
    members = [m for depth in ("*", "*/*") for m in archive.paths(f"Annotations*/{depth}/*.png")]
    folders = sorted({member.rpartition("/")[0] for member in members})
    return {folder.partition("/")[2]: folder for folder in folders}


def _read(archive: Archive, place: str, folder: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
    images = re.sub(r"^Annotations[^/]*", "JPEGImages", folder)
    for frame, name in enumerate(name for name in archive.files(folder) if name.endswith(".png")):
        member = f"{folder}/{name}"
        try:
            numbers = _numbers(archive.read_image(member))
        except (DataError, ValueError, struct.error, cv2.error) as error:
            report_problem(Problem("unreadable annotation", archive.where(member), f"expected a mask: {reason(error)}"))
            continue
        stem = name.removesuffix(".png")
        candidates = [f"{images}/{stem}{ext}" for ext in (".jpg", ".png", ".jpeg")]
        image = next((candidate for candidate in candidates if archive.has(candidate)), candidates[0])
        found = [int(n) for n in np.flatnonzero(np.bincount(numbers.ravel(), minlength=256)) if n != 0]
        for number in found if found == [_VOID] else [n for n in found if n != _VOID]:
            seen = numbers == number
            xs, ys = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
            box = float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)
            yield ObjectBox(image, f"{place}/{number}", frame, box, "")


def _numbers(data: bytes) -> npt.NDArray[np.uint8]:
    """The objects' numbers (H, W) of a PNG with a palette or of grey values; ValueError where it is neither."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None or pixels.dtype != np.uint8:
        raise ValueError("not a PNG of 8 bits")
    if pixels.ndim == 2:
        return np.asarray(pixels, dtype=np.uint8)
    colours = pixels[..., :3].astype(np.int64) @ np.array([1, 256, 65536])  # blue, green, red
    known = {colour: index for index, colour in reversed(list(enumerate(_palette(data).tolist())))}
    shown, places = np.unique(colours, return_inverse=True)
    numbers = np.array([known.get(colour, _VOID) for colour in shown.tolist()], dtype=np.uint8)
    return numbers[places].reshape(colours.shape)


def _palette(data: bytes) -> npt.NDArray[np.int64]:
    """The colours of a PNG's palette as red << 16 | green << 8 | blue; ValueError where it has none."""
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"PLTE":
            colours = np.frombuffer(data[at + 8 : at + 8 + length // 3 * 3], np.uint8).reshape(-1, 3)
            return np.asarray(colours.astype(np.int64) @ np.array([65536, 256, 1]))
        at += 12 + length
    raise ValueError("colours without a palette")


MASKS = ObjectLayout("masks", "DAVIS: Annotations/<seq>/*.png with a number an object, JPEGImages/", _find, _read)
