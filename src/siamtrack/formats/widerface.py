"""WIDER FACE: faces in stills, one text for all images of a split.

`wider_face_split/wider_face_{train,val}_bbx_gt.txt` has, for each image in `WIDER_{train,val}/images/`, its name, the
number of its faces, and a line for each: `x1 y1 w h blur expression illumination invalid occlusion pose`, in pixels. An
image without faces has one line of zeros, which is no face. Faces that the set itself marks as invalid are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from siamtrack.errors import DataError, reason
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem, corners_of, text_lines
from siamtrack.io import IMAGE_SUFFIXES, parse_number

_START, _END = "wider_face_split/wider_face_", "_bbx_gt.txt"
_COLUMNS, _INVALID = 10, 7


def _find(archive: Archive) -> dict[str, str]:
    return {member.removeprefix(_START).removesuffix(_END): member for member in archive.paths(f"{_START}*{_END}")}


def _read(archive: Archive, split: str, member: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
    where = archive.where(member)

    def refuse(detail: str) -> None:
        report_problem(Problem("unreadable annotation", where, detail))

    try:
        lines = text_lines(archive, member)
    except DataError as error:
        refuse(str(error).removeprefix(f"{where}: "))
        return
    # Names tell where an image begins, so that a wrong number of faces spoils that image alone.
    names = [at for at, line in enumerate(lines) if line.lower().endswith(IMAGE_SUFFIXES)]
    if names[:1] != [0]:
        refuse(f"expected the name of an image, got {''.join(lines[:1])[:60]!r}")
    for start, end in pairwise([*names, len(lines)]):
        name, told, faces = lines[start], " ".join(lines[start + 1 : start + 2]), lines[start + 2 : end]
        if told == "0" and set("".join(faces)) <= set("0 "):
            continue
        if told != str(len(faces)):
            refuse(f"{name[:80]}: {len(faces)} lines of faces; expected as many as told, {told[:40]!r}")
        for number, line in enumerate(faces):
            try:
                values = [parse_number(value) for value in line.split()]
                if len(values) != _COLUMNS:
                    raise ValueError(f"{len(values)} numbers; expected {_COLUMNS}")
                box = corners_of(values[:4])
            except ValueError as error:
                refuse(f"{name[:80]}, face {number + 1}: {reason(error)}")
                continue
            if not values[_INVALID]:
                track = f"{split}/{name.rpartition('.')[0]}/{number}"
                yield ObjectBox(f"WIDER_{split}/images/{name}", track, 0, box, "face")


WIDERFACE = ObjectLayout(
    "widerface", "WIDER FACE: wider_face_split/wider_face_*_bbx_gt.txt, WIDER_*/images/...", _find, _read
)
