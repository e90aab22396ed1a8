"""Pascal VOC's XML, one file a frame: VOC itself, users' own, and ImageNet VID and DET.

The files hold the indices of the first and last pixel, from 1 in VOC and labelling tools, from 0 in ImageNet; here
boxes end where the last pixel ends.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

from siamtrack.formats.archive import Archive, image_names, join
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem, frame_number, read_xml
from siamtrack.io import IMAGE_SUFFIXES, parse_number

_SIDES = ("xmin", "ymin", "xmax", "ymax")

# VID's categories, which DET has too, and DET's person: their words in COCO and YouTube-BB where these have them (VID's
# devkit says cattle, domestic_cat and watercraft), so that a category has one name in all sets. DET's others stay
# numbers.
_NAMES = """
n00007846 person; n01503061 bird; n01662784 turtle; n01674464 lizard; n01726692 snake; n02062744 whale; n02084071 dog;
n02118333 fox; n02121808 cat; n02129165 lion; n02129604 tiger; n02131653 bear; n02324045 rabbit; n02342885 hamster;
n02355227 squirrel; n02374451 horse; n02391049 zebra; n02402425 cow; n02411705 sheep; n02419796 antelope;
n02484322 monkey; n02503517 elephant; n02509815 red panda; n02510455 giant panda; n02691156 airplane; n02834778 bicycle;
n02924116 bus; n02958343 car; n03790512 motorcycle; n04468005 train; n04530566 boat
"""
_NAME_OF = dict(entry.strip().split(" ", 1) for entry in _NAMES.split(";"))


def _find_imagenet(archive: Archive, kind: str, depths: tuple[str, ...]) -> dict[str, str]:
    """Folders of one snippet each, or of stills, one a synset in the training set."""
    members = [member for depth in depths for member in archive.paths(f"Annotations/{kind}/{depth}/*.xml")]
    folders = sorted({member.rpartition("/")[0] for member in members})
    return {folder.removeprefix("Annotations/"): folder for folder in folders}


def _read_imagenet(
    archive: Archive, place: str, folder: str, report_problem: ReportProblem, video: bool
) -> Iterator[ObjectBox]:
    """The objects of a folder's frames: tracks in a video, each for itself in stills."""
    for name in (name for name in archive.files(folder) if name.endswith(".xml")):
        if (tree := read_xml(archive, f"{folder}/{name}", report_problem)) is None:
            continue
        stem = name.removesuffix(".xml")
        image = f"Data/{place}/{stem}.JPEG"
        for number, thing in enumerate(tree.iter("object")):
            if (box := _box(thing, archive.where(f"{folder}/{name}"), report_problem, origin=0)) is not None:
                track = thing.findtext("trackid", "0") if video else f"{stem}/{number}"
                frame = frame_number(stem) if video else 0
                number_or_name = thing.findtext("name", "")
                category = _NAME_OF.get(number_or_name, number_or_name)
                yield ObjectBox(image, f"{place}/{track}", frame, box, category, place if video else "")


def _find_voc(archive: Archive) -> dict[str, str]:
    """Folders of XML files: `Annotations/` and the folders in it, or any folder up to three levels down."""
    found: dict[str, str] = {}
    for member in archive.paths("*.xml", depth=3):
        folder = member.rpartition("/")[0]
        if folder not in found.values() and b"<object>" in archive.read(member):
            found[folder or "."] = folder
    return found


def _read_voc(
    archive: Archive, place: str, folder: str, report_problem: ReportProblem, video: bool
) -> Iterator[ObjectBox]:
    """The objects of a folder's frames: tracks if they have a `trackid`, else stills.

    In a `video`, a folder is a sequence, and a category that no frame has twice is one track.
    """
    found: list[tuple[str, ET.Element, str, int, str]] = []
    for name in sorted(archive.files(folder)):
        member = join(folder, name)
        if name.endswith(".xml") and (tree := read_xml(archive, member, report_problem)) is not None:
            image = _image(archive, folder, name.removesuffix(".xml"), tree.findtext("filename", ""))
            things = enumerate(tree.iter("object"))
            found += [(member, thing, image, number, thing.findtext("name", "")) for number, thing in things]
    per_frame: dict[tuple[str, str], int] = {}
    for member, _, _, _, category in found:
        per_frame[member, category] = per_frame.get((member, category), 0) + 1
    several = {category for (_, category), count in per_frame.items() if count > 1}
    for member, thing, image, number, category in found:
        if (box := _box(thing, archive.where(member), report_problem, origin=1)) is None:
            continue
        stem = PurePosixPath(member).stem
        named = thing.findtext("trackid") or thing.findtext("track_id")
        if named is None and video and category not in several:
            named = category
        track, frame = (named, frame_number(stem)) if named is not None else (f"{stem}/{number}", 0)
        yield ObjectBox(image, f"{place}/{track}", frame, box, category)


def _image(archive: Archive, folder: str, stem: str, told: str) -> str:
    """The image of an XML file: in `JPEGImages/` (or `images/`) in place of `Annotations/`, or beside it."""
    places = [folder]
    for images in ("JPEGImages", "images", "Images", "img"):
        places += [re.sub(r"(^|/)(Annotations|annotations|labels|xml)(?=/|$)", rf"\1{images}", folder)]
        places += [join(folder.rpartition("/")[0], images)]
    names = [told] if PurePosixPath(told).suffix.lower() in IMAGE_SUFFIXES else []
    candidates = [join(place, name) for name in [*names, *image_names(stem)] for place in places]
    return next((name for name in candidates if archive.has(name)), candidates[0])


def _box(
    thing: ET.Element, where: str, report_problem: ReportProblem, origin: int
) -> tuple[float, float, float, float] | None:
    try:
        x0, y0, x1, y1 = (parse_number(thing.findtext(f"bndbox/{side}", "?")) for side in _SIDES)
    except ValueError:
        report_problem(Problem("unreadable annotation", where, "an object without four numbers in its bndbox"))
        return None
    return x0 - origin, y0 - origin, x1 + 1 - origin, y1 + 1 - origin


VID = ObjectLayout(
    "vid",
    "ILSVRC2015 VID: Annotations/VID/..., Data/VID/...",
    lambda archive: _find_imagenet(archive, "VID", ("*/*", "*/*/*")),
    partial(_read_imagenet, video=True),
)
DET = ObjectLayout(
    "det",
    "ILSVRC DET: Annotations/DET/..., Data/DET/...",
    lambda archive: _find_imagenet(archive, "DET", ("*", "*/*", "*/*/*")),
    partial(_read_imagenet, video=False),
)
VOC = ObjectLayout("voc", "Pascal VOC: Annotations/*.xml, JPEGImages/*.jpg", _find_voc, partial(_read_voc, video=False))
VOC_VIDEO = ObjectLayout(
    "voc-video", "Pascal VOC, a video a folder: Annotations/VIDEO/*.xml", _find_voc, partial(_read_voc, video=True)
)
