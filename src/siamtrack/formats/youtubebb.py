"""YouTube-BoundingBoxes: the published CSV, and frames that were decoded at its time stamps.

The data set is published as time stamps in videos; the frames of a segment are looked for, as JPEG, in
`{train,validation}/<youtube_id>+<class_id>+<object_id>/<timestamp_ms>.jpg`, the same under `<class_id>/`, or as
`{train,validation}/<youtube_id>_<timestamp_ms>.jpg`. Boxes are shares of the frame, hence its size is read.

Annotations are 1000 ms apart: `frame` counts these steps, so that a gap of 3 means 3 annotated frames, as in the
published training code of SiamRPN++.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import cv2
import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem

__all__ = ["YOUTUBEBB", "picture_size"]

_COLUMNS = 10
_STEP = 1000  # milliseconds between annotations
_MOST_REFUSED = 10_000


def _find(archive: Archive) -> dict[str, str]:
    members = archive.paths("yt_bb_detection_*.csv")
    return {member.removeprefix("yt_bb_detection_").removesuffix(".csv"): member for member in members}


def _read(archive: Archive, split: str, member: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
    where = archive.where(member)

    refused = 0

    def refuse(detail: str) -> None:
        nonlocal refused
        refused += 1
        report_problem(Problem("unreadable annotation", where, detail))

    image, size = "", None
    try:
        with archive.open(member) as stream:
            lines = csv.reader(io.TextIOWrapper(stream, encoding="utf-8", newline=""))
            for number, row in enumerate(lines, 1):
                if number == 1 and row[:1] == ["youtube_id"]:
                    continue
                if refused > _MOST_REFUSED:
                    refuse(f"line {number} and the rest are not read: this is no table of YouTube-BB")
                    return
                if len(row) != _COLUMNS:
                    refuse(f"line {number}: {len(row)} columns, not {_COLUMNS}")
                    continue
                video, stamp, kind, name, thing, presence = row[:6]
                if presence == "absent":
                    continue
                try:
                    frame, shares = int(stamp[:15]) // _STEP, [float(v) for v in row[6:]]
                except ValueError:
                    refuse(f"line {number}: a time stamp of {stamp[:20]!r} and a box of {row[6:]}")
                    continue
                here = _frame(archive, split, video, stamp, kind, thing)
                if here != image:  # rows of one frame follow each other
                    image, size = here, picture_size(archive, here)
                    if size is None:
                        detail = "no frame for a row of the CSV, or not an image"
                        report_problem(Problem("missing file", archive.where(image), detail))
                if size is not None:
                    x0, x1, y0, y1 = (share * size[i // 2] for i, share in enumerate(shares))
                    yield ObjectBox(image, f"{split}/{video}+{kind}+{thing}", frame, (x0, y0, x1, y1), name)
    except (csv.Error, UnicodeDecodeError, DataError, OSError) as error:
        refuse(str(error))


def _frame(archive: Archive, split: str, video: str, stamp: str, kind: str, thing: str) -> str:
    segment = f"{video}+{kind}+{thing}"
    places = (f"{split}/{segment}/{stamp}.jpg", f"{split}/{kind}/{segment}/{stamp}.jpg", f"{split}/{video}_{stamp}.jpg")
    return next((place for place in places if archive.has(place)), places[0])


def picture_size(archive: Archive, member: str) -> tuple[int, int] | None:
    """Return (width, height) of an image in pixels, or None where it is missing or no image."""
    if not archive.has(member):
        return None
    try:
        if (told := archive.image_size(member)) is not None:
            return told
        image = cv2.imdecode(np.frombuffer(archive.read_image(member), np.uint8), cv2.IMREAD_COLOR)
    except (DataError, OSError, cv2.error):
        return None
    return None if image is None else (image.shape[1], image.shape[0])


YOUTUBEBB = ObjectLayout("youtubebb", "YouTube-BB: yt_bb_detection_*.csv and decoded frames", _find, _read)
