"""Masks as DAVIS and YouTube-VOS have them: `Annotations/<seq>/00000.png`, `JPEGImages/<seq>/00000.jpg`.

A pixel's value, a palette index or a grey value, is the number of its object; 0 is the background. A box bounds an
object's pixels. 255 beside other numbers marks ignored pixels; alone it is the object, as in DAVIS 2016.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from siamtrack.errors import DataError, reason
from siamtrack.formats.archive import Archive, image_names, join
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem

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
        except (DataError, ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            report_problem(Problem("unreadable annotation", archive.where(member), f"expected a mask: {reason(error)}"))
            continue
        candidates = [join(images, candidate) for candidate in image_names(name.removesuffix(".png"))]
        image = next((candidate for candidate in candidates if archive.has(candidate)), candidates[0])
        found = [int(n) for n in np.flatnonzero(np.bincount(numbers.ravel(), minlength=256)) if n != 0]
        for number in found if found == [_VOID] else [n for n in found if n != _VOID]:
            seen = numbers == number
            xs, ys = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
            box = float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)
            yield ObjectBox(image, f"{place}/{number}", frame, box, "")


def _numbers(data: bytes) -> npt.NDArray[np.uint8]:
    """The objects' numbers (H, W) of a PNG with a palette or of grey values; ValueError where it is neither."""
    with Image.open(io.BytesIO(data)) as image:
        if image.mode not in ("1", "L", "P"):
            raise ValueError("not a PNG of grey values or with a palette, of 8 bits at most")
        return np.array(image.convert("L") if image.mode == "1" else image)


MASKS = ObjectLayout("masks", "DAVIS: Annotations/<seq>/*.png with a number an object, JPEGImages/", _find, _read)
