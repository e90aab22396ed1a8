"""One's own clips: `walk/img/*.jpg` with `walk/groundtruth.txt`, or `walk.txt` beside `walk/` or `walk.mp4`.

A line is x,y,w,h, and nan where the target is absent; names of images are in natural order (`2.jpg` before `10.jpg`).
"""

from __future__ import annotations

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive
from siamtrack.formats.lasot import LASOT_TEST
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, frame_names, read_regions
from siamtrack.io import VIDEO_SUFFIXES

_INSIDE = ("groundtruth.txt", "groundtruth_rect.txt", "gt.txt")


def _places(archive: Archive) -> dict[str, str]:
    """Annotations by the sequences' places, up to three folders down, through links too."""
    found: dict[str, str] = {}
    for member in archive.paths("*.txt", depth=3):
        at, _, name = member.rpartition("/")
        base = member.removesuffix(".txt")
        if name in _INSIDE:
            if at.rpartition("/")[2] != "gt":  # that is MOT's
                found.setdefault(at or ".", member)
        elif base.rpartition("/")[2] in archive.folders(at) or any(archive.has(base + ext) for ext in VIDEO_SUFFIXES):
            found.setdefault(base, member)
    return dict(sorted(found.items()))


def _find(archive: Archive) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, member in _places(archive).items():
        name = place.rpartition("/")[2] if place != "." else (archive.path / archive.below).resolve().stem
        if name in found:
            raise DataError(f"{archive.where(member)}: another sequence is called {name}; names must differ")
        found[name] = member
    return dict(sorted(found.items()))


def _trained(archive: Archive) -> dict[str, str]:
    """All but the test sequences of public data sets, which may lie in a folder of one's own."""
    found = {}
    for place, member in _places(archive).items():
        name = place.rpartition("/")[2]
        of_lasot = name in LASOT_TEST and archive.has(f"{place}/full_occlusion.txt")
        if not of_lasot and not name.startswith(("GOT-10k_Val_", "GOT-10k_Test_")):
            found[place] = member
    return found


def _read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    at, _, file = member.rpartition("/")
    frames = frame_names(archive, at if file in _INSIDE else member.removesuffix(".txt"))
    return Annotated(name, archive.where(member), read_regions(archive, member), frames)


FOLDER = Layout("folder", "walk/img/*.jpg and walk/groundtruth.txt, or walk.txt beside walk/", _find, _read, _trained)
