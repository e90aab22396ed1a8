"""YouTube-BoundingBoxes: the published CSV, and frames that were decoded at its time stamps.

The frame of a time stamp lies in `{train,validation}/<youtube_id>+<class_id>+<object_id>/<timestamp_ms>.jpg`, the same
under `<class_id>/`, or in `{train,validation}/<youtube_id>_<timestamp_ms>.jpg`. Boxes are shares of the frame.

Annotations are 1000 ms apart: `frame` counts these steps, as the published training code of SiamRPN++ does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TextIO

from siamtrack.errors import DataError, reason
from siamtrack.formats.archive import BROKEN_ZIP, Archive
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem, picture_size
from siamtrack.io import parse_number

_BROKEN: tuple[type[Exception], ...] = (csv.Error, DataError, *BROKEN_ZIP)
_COLUMNS = 10
_STEP = 1000  # milliseconds between annotations
_MOST_REFUSED = 10_000
_LONGEST_LINE = 65_536


def _find(archive: Archive) -> dict[str, str]:
    members = archive.paths("yt_bb_detection_*.csv")
    return {member.removeprefix("yt_bb_detection_").removesuffix(".csv"): member for member in members}


def _read(archive: Archive, split: str, member: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
    where, refused = archive.where(member), 0

    def refuse(detail: str) -> None:
        nonlocal refused
        refused += 1
        report_problem(Problem("unreadable annotation", where, detail))

    image, size = "", None
    try:
        with archive.open(member) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            for number, row in enumerate(csv.reader(_lines(text)), 1):
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
                    frame, shares = int(stamp[:15]) // _STEP, [parse_number(v) for v in row[6:]]
                except ValueError:
                    refuse(f"line {number}: a time stamp of {stamp[:20]!r} and a box of {row[6:]}")
                    continue
                segment = f"{video}+{kind}+{thing}"
                places = [f"{at}/{stamp}.jpg" for at in (f"{split}/{segment}", f"{split}/{kind}/{segment}")]
                places.append(f"{split}/{video}_{stamp}.jpg")
                here = next((place for place in places if archive.has(place)), places[0])
                if here != image:  # rows of one frame follow each other
                    image, size = here, picture_size(archive, here)
                    if size is None:
                        detail = "no frame for a row of the CSV, or not an image"
                        report_problem(Problem("missing file", archive.where(image), detail))
                if size is not None:
                    x0, x1, y0, y1 = (share * size[i // 2] for i, share in enumerate(shares))
                    box = x0, y0, x1, y1
                    yield ObjectBox(image, f"{split}/{segment}", frame, box, name, f"{split}/{video}+{kind}")
    except _BROKEN as error:
        refuse(reason(error))


def _lines(text: TextIO) -> Iterator[str]:
    """The lines of a text, which may be larger than memory."""
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise DataError(f"a line of more than {_LONGEST_LINE} characters")
        yield line


YOUTUBEBB = ObjectLayout("youtubebb", "YouTube-BB: yt_bb_detection_*.csv and decoded frames", _find, _read)
