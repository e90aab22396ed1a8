"""YOLO: a text an image with lines `class cx cy w h`, shares of the image; `data.yaml` or `classes.txt` with names.

Labels lie in `labels/` (and folders in it) with the images in `images/` or `frames/` in its place, or beside the
images. A sixth number that is whole is the number of a track, as trackers write it; polygons
`class x1 y1 x2 y2 x3 y3 ..` count by their bounds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial

from siamtrack.errors import DataError, reason
from siamtrack.formats.archive import Archive, image_names, join
from siamtrack.formats.layout import (
    ObjectBox,
    ObjectLayout,
    Problem,
    ReportProblem,
    frame_number,
    picture_size,
    text_lines,
)
from siamtrack.io import parse_number

_LISTS = ("classes.txt", "obj.names", "classes.names")
_FRACTION = re.compile(r"0?\.0*[1-9]\d*|[1-9](\.\d+)?e-\d+")
_NAMES = re.compile(r"^names:", re.MULTILINE)
_ENTRY = re.compile(r"-|\d{1,9}:")
_TABLES = ("data.yaml", "data.yml", "dataset.yaml")


def _find(archive: Archive) -> dict[str, str]:
    """Folders of labels; each text in them has an image of its name."""
    named = any(archive.has(name) for name in (*_LISTS, *_TABLES))
    found: dict[str, str] = {}
    for member in archive.paths("*.txt", depth=3):
        folder, _, name = member.rpartition("/")
        if (folder or ".") in found or name in _LISTS:
            continue
        if "labels" in folder.split("/") or (named and archive.has(_image(archive, folder, name[:-4]))):
            found[folder or "."] = folder
    return dict(sorted(found.items()))


def _read(archive: Archive, place: str, folder: str, report_problem: ReportProblem, video: bool) -> Iterator[ObjectBox]:
    """The boxes of a folder: tracks if they have numbers, else stills.

    In a `video`, a folder is a sequence, and a class that no frame has twice is one track.
    """
    classes = _classes(archive, report_problem)
    labels: dict[str, list[list[str]]] = {}
    for name in archive.files(folder):
        member = join(folder, name)
        if not name.endswith(".txt") or name in _LISTS:
            continue
        try:
            labels[member] = [line.split() for line in text_lines(archive, member)]
        except DataError as error:
            report_problem(Problem("unreadable annotation", archive.where(member), str(error)))
    several = {c for rows in labels.values() for c, n in Counter(row[0] for row in rows).items() if n > 1}
    lines = [row for rows in labels.values() for row in rows]
    polygons = any(len(row) > 7 or (len(row) == 7 and _FRACTION.fullmatch(row[-1])) for row in lines)
    for member, rows in labels.items():
        stem = member.rpartition("/")[2].removesuffix(".txt")
        image = _image(archive, folder, stem)
        if not rows:
            continue
        if (size := picture_size(archive, image)) is None:
            report_problem(
                Problem("missing file", archive.where(image), f"no image for {member}, or none that decodes")
            )
            continue
        for number, row in enumerate(rows):
            try:
                kind, shares = int(row[0]), [parse_number(v) for v in row[1:]]
                # three points, not a box, a confidence and a track: of other folders a last 0 or 1 is a track
                points = len(shares) == 6 and (not shares[5].is_integer() or (polygons and shares[5] in (0, 1)))
                box = _box(shares, size, points)
            except (ValueError, OverflowError):
                wrong = f"line {number + 1}: expected `class cx cy w h`, got '{' '.join(row)[:60]}'"
                report_problem(Problem("unreadable annotation", archive.where(member), wrong))
                continue
            category = classes.get(kind, f"class {kind}")
            track, frame = f"{stem}/{number}", 0
            if len(row) in (6, 7) and row[-1].isdecimal() and not points:
                track, frame = row[-1], frame_number(stem)
            elif video and row[0] not in several:
                track, frame = category, frame_number(stem)
            yield ObjectBox(image, f"{place}/{track}", frame, box, category)


def _box(shares: list[float], size: tuple[int, int], points: bool) -> tuple[float, float, float, float]:
    """Xyxy in pixels, six numbers being three `points` or not; ValueError for neither a box nor a polygon."""
    width, height = size
    if len(shares) in (4, 5, 6) and not points:
        cx, cy, w, h = shares[:4]
        return (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height
    if len(shares) < 6 or len(shares) % 2:
        raise ValueError("neither a box nor a polygon")
    xs, ys = shares[0::2], shares[1::2]
    return min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height


def _image(archive: Archive, folder: str, stem: str) -> str:
    """The image of a label: in `images/` or `frames/` in place of `labels/`, beside `labels/`, or beside the text."""
    parts = folder.split("/")
    places = []
    if "labels" in parts:
        at = len(parts) - 1 - parts[::-1].index("labels")
        swaps: tuple[list[str], ...] = (["images"], ["frames"], ["img"], ["imgs"], [])
        places = ["/".join([*parts[:at], *swap, *parts[at + 1 :]]) for swap in swaps]
    candidates = [join(place, name) for place in [*places, folder] for name in image_names(stem)]
    return next((name for name in candidates if archive.has(name)), candidates[0])


def _classes(archive: Archive, report_problem: ReportProblem) -> dict[int, str]:
    """Names of classes: a list with one a line, or `names` of a data.yaml as a list or as numbered lines."""
    try:
        for name in _LISTS:
            if archive.has(name):
                return dict(enumerate(text_lines(archive, name)))
        table = next((name for name in _TABLES if archive.has(name)), None)
        text = "\n".join(archive.read(table).decode("utf-8").splitlines()) if table else ""
    except (DataError, UnicodeDecodeError) as error:
        report_problem(Problem("unreadable annotation", archive.where(), f"the names of classes: {reason(error)}"))
        return {}
    start = _NAMES.search(text)
    told = text[start.end() :].lstrip() if start else ""
    if told.startswith("["):
        inline, closed, _ = told[1:].partition("]")
        return {i: name.strip().strip("'\"") for i, name in enumerate(inline.split(","))} if closed else {}
    names: dict[int, str] = {}
    for entry in map(str.strip, told.splitlines()):
        if not _ENTRY.match(entry):
            break
        number, _, name = ("", "", entry[1:]) if entry.startswith("-") else entry.partition(":")
        names[int(number) if number else len(names)] = name.strip().strip("'\"")
    return names


YOLO = ObjectLayout("yolo", "YOLO: images/, labels/*.txt, data.yaml or classes.txt", _find, partial(_read, video=False))
YOLO_VIDEO = ObjectLayout("yolo-video", "YOLO, a video a folder: VIDEO/labels/*.txt", _find, partial(_read, video=True))
