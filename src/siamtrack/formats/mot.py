"""MOT: `<seq>/gt/gt.txt` with rows frame, id, x, y, w, h, considered, class, visibility, and `<seq>/img1/`.

Frames and pixels are counted from 1. A video in `<seq>/` may take the place of the images.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive, join
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem, frame_names
from siamtrack.formats.records import parse_table

_FOLDER = re.compile(rb"^[ \t]*imDir[ \t]*=[ \t]*(\S+)", re.MULTILINE)


def _find(archive: Archive) -> dict[str, str]:
    members = archive.paths("gt/gt.txt", depth=2)
    return {member.removesuffix("gt/gt.txt").rstrip("/") or ".": member for member in members}


def _read(archive: Archive, place: str, member: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
    sequence, where = "" if place == "." else place, archive.where(member)
    info = join(sequence, "seqinfo.ini")
    told = _FOLDER.search(archive.read(info)) if archive.has(info) else None
    folder = told.group(1).decode("utf-8", "replace") if told else "img1"
    images = frame_names(archive, sequence, (folder, "img1", ""))
    if not images:
        missing = "no folder of images and no video of this name"
        report_problem(Problem("missing file", archive.where(sequence), missing))
        return
    try:
        rows = parse_table(archive.read(member), where, 6)
    except DataError as error:
        report_problem(Problem("unreadable annotation", where, str(error).removeprefix(f"{where}: ")))
        return
    whole = np.isfinite(rows[:, :8]).all(axis=1) & (np.abs(rows[:, :2]) < 2**31).all(axis=1)
    if not whole.all():
        lines = f"line {int(np.argmin(whole)) + 1}: expected finite numbers"
        report_problem(Problem("unreadable annotation", where, lines))
    beyond = 0
    for row in rows[whole].tolist():
        frame = int(row[0]) - 1
        if len(row) > 6 and row[6] == 0:
            continue  # MOT's own mark for boxes that are not to be used
        if not 0 <= frame < len(images):
            beyond += 1
            continue
        x, y, w, h = row[2] - 1, row[3] - 1, row[4], row[5]
        category = f"class {int(row[7])}" if len(row) > 7 and row[7] > 0 else ""
        yield ObjectBox(images[frame], f"{place}/{int(row[1])}", frame, (x, y, x + w, y + h), category)
    if beyond:
        counts = f"{beyond} boxes of frames beyond the {len(images)} that are there"
        report_problem(Problem("wrong length", where, counts))


MOT = ObjectLayout("mot", "MOT: name/{gt/gt.txt,img1/} or a video in name/", _find, _read)
