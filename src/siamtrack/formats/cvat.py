"""What CVAT exports as "CVAT for images 1.1" and "CVAT for video 1.1": an XML beside images or a video."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem, frame_names, read_xml
from siamtrack.io import parse_number


def _find(archive: Archive) -> dict[str, str]:
    members = [*archive.paths("*.xml"), *archive.paths("*/annotations.xml")]
    return {m.removesuffix(".xml"): m for m in members if b"<annotations" in archive.read(m)[:4096]}


def _read(archive: Archive, place: str, member: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
    """Boxes of images, each an object of its own, and of tracks."""
    if (tree := read_xml(archive, member, report_problem)) is None:
        return
    at = f"{member.rpartition('/')[0]}/".lstrip("/")
    where = archive.where(member)
    for image in tree.iter("image"):
        name = image.get("name", "")
        folder = next((f for f in (at, f"{at}images/") if archive.has(f"{f}{name}")), at)
        for number, box in enumerate(image.iter("box")):
            if (corners := _corners(box, where, report_problem)) is not None:
                yield ObjectBox(f"{folder}{name}", f"{place}/{name}/{number}", 0, corners, box.get("label", ""))
    tracks = list(tree.iter("track"))
    if not tracks:
        return
    # the video that the XML names, or else the images of the folder of its name, or of `images/`
    source = f"{at}{tree.findtext('.//source') or '?'}"
    bases = (source, place, f"{at}images", at.rstrip("/"))
    images: tuple[str, ...] = next((found for base in bases if (found := frame_names(archive, base))), ())
    if not images:
        report_problem(Problem("missing file", archive.where(source), f"the frames of {member}: no such video"))
        return
    for track in tracks:
        name = f"{place}/{track.get('id', '')}"
        for box in track.iter("box"):
            if box.get("outside") == "1" or (corners := _corners(box, where, report_problem)) is None:
                continue
            told = box.get("frame", "")
            frame = int(told) if told.isdecimal() and len(told) < 16 else -1
            if not 0 <= frame < len(images):
                beyond = f"a box of frame {told[:20]}; there are {len(images)}"
                report_problem(Problem("wrong length", where, beyond))
                continue
            yield ObjectBox(images[frame], name, frame, corners, track.get("label", ""))


def _corners(box: ET.Element, where: str, report_problem: ReportProblem) -> tuple[float, float, float, float] | None:
    try:
        x0, y0, x1, y1 = (parse_number(box.get(name, "?")) for name in ("xtl", "ytl", "xbr", "ybr"))
    except ValueError:
        report_problem(Problem("unreadable annotation", where, "a box without xtl, ytl, xbr and ybr"))
        return None
    return x0, y0, x1, y1


CVAT = ObjectLayout("cvat", "CVAT for images or video 1.1: an XML beside images or a video", _find, _read)
