"""ImageNet VID and DET: Pascal VOC's XML, one file a frame.

Boxes there are the indices of the first and last pixel, counted from 0; here they end where the last pixel ends.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from siamtrack.formats.training.base import Entry, Problem, ReportProblem, Source, relative, xml_root

__all__ = ["DET", "VID"]


def _vid_units(root: Path) -> list[Path]:
    """Folders of one snippet each, in Annotations/VID/{train/*,val}/."""
    base = root / "Annotations" / "VID"
    return sorted({path.parent for path in base.glob("*/*/*.xml")} | {path.parent for path in base.glob("*/*/*/*.xml")})


def _det_units(root: Path) -> list[Path]:
    """Folders of annotations of stills, one a synset in the training set."""
    base = root / "Annotations" / "DET"
    return sorted({path.parent for depth in ("*", "*/*", "*/*/*") for path in base.glob(f"{depth}/*.xml")})


def _read(root: Path, folder: Path, note: ReportProblem, video: bool) -> Iterator[Entry]:
    """The objects of a folder's frames: followed by their track numbers in a video, each for itself in stills."""
    place = folder.relative_to(root / "Annotations")
    for path in sorted(folder.glob("*.xml")):
        if (tree := xml_root(path, note)) is None:
            continue
        image = relative(root / "Data" / place / f"{path.stem}.JPEG", root)
        for number, thing in enumerate(tree.iter("object")):
            if (box := _box(thing, path, note)) is not None:
                name = thing.findtext("trackid", "0") if video else f"{path.stem}/{number}"
                frame = int(path.stem) if video else 0
                yield Entry(image, f"{place.as_posix()}/{name}", frame, box, thing.findtext("name", ""))


def _box(thing: ET.Element, path: Path, note: ReportProblem) -> tuple[float, float, float, float] | None:
    try:
        x0, y0, x1, y1 = (float(thing.findtext(f"bndbox/{name}", "?")) for name in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        note(Problem("unreadable annotation", str(path), "an object without four numbers in its bndbox"))
        return None
    return x0, y0, x1 + 1, y1 + 1


VID = Source("vid", "ILSVRC2015 VID: Annotations/VID/..., Data/VID/...", _vid_units, partial(_read, video=True))
DET = Source("det", "ILSVRC DET: Annotations/DET/..., Data/DET/...", _det_units, partial(_read, video=False))
