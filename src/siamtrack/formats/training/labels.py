"""What labelling tools write: MOT's gt.txt and CVAT's XML, of images in a folder or of a video."""

from __future__ import annotations

import configparser
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from siamtrack.formats.training.base import (
    Entry,
    Problem,
    ReportProblem,
    Source,
    frames_of,
    numbers,
    relative,
    xml_root,
)

__all__ = ["CVAT", "MOT"]


def _mot_units(root: Path) -> list[Path]:
    return sorted([*root.glob("gt/gt.txt"), *root.glob("*/gt/gt.txt"), *root.glob("*/*/gt/gt.txt")])


def _read_mot(root: Path, path: Path, note: ReportProblem) -> Iterator[Entry]:
    """Rows frame, id, x, y, w, h, considered, class, visibility; frames and pixels are counted from 1."""
    rows = numbers(path, note, 6)
    sequence = path.parents[1]
    images = frames_of(root, sequence, note, (_image_folder(sequence), "img1", ""))
    if rows is None or not images:
        return
    beyond = 0
    for row in rows.tolist():
        frame = int(row[0]) - 1
        if len(row) > 6 and row[6] == 0:
            continue  # MOT's own mark for boxes that are not to be used
        if not 0 <= frame < len(images):
            beyond += 1
            continue
        x, y, w, h = row[2] - 1, row[3] - 1, row[4], row[5]
        track = f"{relative(sequence, root)}/{int(row[1])}"
        category = f"class {int(row[7])}" if len(row) > 7 and row[7] > 0 else ""
        yield Entry(images[frame], track, frame, (x, y, x + w, y + h), category)
    if beyond:
        note(Problem("wrong length", str(path), f"{beyond} boxes of frames beyond the {len(images)} that are there"))


def _image_folder(sequence: Path) -> str:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(sequence / "seqinfo.ini", encoding="utf-8")
        return parser.get("Sequence", "imDir", fallback="img1")
    except (configparser.Error, UnicodeDecodeError):
        return "img1"


def _cvat_units(root: Path) -> list[Path]:
    found = sorted([*root.glob("*.xml"), *root.glob("*/annotations.xml")])
    return [path for path in found if b"<annotations" in path.read_bytes()[:4096]]


def _read_cvat(root: Path, path: Path, note: ReportProblem) -> Iterator[Entry]:
    """CVAT for images 1.1 (a box is an object of its own) and CVAT for video 1.1 (tracks)."""
    if (tree := xml_root(path, note)) is None:
        return
    where = relative(path.with_suffix(""), root)
    for image in tree.iter("image"):
        name = image.get("name", "")
        folder = next((f for f in (path.parent, path.parent / "images") if (f / name).is_file()), path.parent)
        for number, box in enumerate(image.iter("box")):
            if (corners := _corners(box, path, note)) is not None:
                track = f"{where}/{name}/{number}"
                yield Entry(relative(folder / name, root), track, 0, corners, box.get("label", ""))
    tracks = list(tree.iter("track"))
    images = _cvat_frames(root, path, tree, note) if tracks else []
    if not images:
        return
    for track_node in tracks:
        for box in track_node.iter("box"):
            frame = int(box.get("frame", "-1"))
            if box.get("outside") == "1" or (corners := _corners(box, path, note)) is None:
                continue
            if not 0 <= frame < len(images):
                note(Problem("wrong length", str(path), f"a box of frame {frame}; there are {len(images)}"))
                continue
            track = f"{where}/{track_node.get('id', '')}"
            yield Entry(images[frame], track, frame, corners, track_node.get("label", ""))


def _cvat_frames(root: Path, path: Path, tree: ET.Element, note: ReportProblem) -> list[str]:
    """The video that the XML names, or else the images of the folder of its name, or of `images/`."""
    source = path.parent / (tree.findtext(".//source") or "?")
    for base in (source, path.with_suffix(""), path.parent / "images", path.parent):
        found = frames_of(root, base, lambda problem: None)
        if found:
            return found
    note(Problem("missing file", str(source), f"the frames of {path.name}: no such video, and no folder of images"))
    return []


def _corners(box: ET.Element, path: Path, note: ReportProblem) -> tuple[float, float, float, float] | None:
    try:
        x0, y0, x1, y1 = (float(box.get(name, "?")) for name in ("xtl", "ytl", "xbr", "ybr"))
    except ValueError:
        note(Problem("unreadable annotation", str(path), "a box without xtl, ytl, xbr and ybr"))
        return None
    return x0, y0, x1, y1


MOT = Source("mot", "own: MOT, name/{gt/gt.txt,img1/} or a video in name/", _mot_units, _read_mot)
CVAT = Source("cvat", "own: CVAT for images or video 1.1, an XML beside images or a video", _cvat_units, _read_cvat)
