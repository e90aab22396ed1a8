"""VOT's layouts: `list.txt`, `<seq>/groundtruth.txt`, frames in `<seq>` or `<seq>/color`, tags and anchors.

For the short-term sets from 2015 on, the long-term sets, and the multi-start sets from 2020 on. A mask (VOT-ST 2020 and
later) becomes its bounding rectangle, as in the bounding-box challenge of 2022.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive, join
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, find_listed, read_regions
from siamtrack.formats.records import parse_column, parse_flags
from siamtrack.geometry.regions import BoolArray

_CHANNEL = re.compile(rb"^[ \t]*channels\.color[ \t]*=[ \t]*(\S+)", re.MULTILINE)
_SIZE = re.compile(rb"^[ \t]*(width|height)[ \t]*=[ \t]*(\d{1,6})[ \t\r]*$", re.MULTILINE)


def _read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    regions = read_regions(archive, member)
    folder = member.rpartition("/")[0]
    properties = join(folder, "sequence")
    told = archive.read(properties) if archive.has(properties) else b""
    sides = {key: int(value) for key, value in _SIZE.findall(told)}
    # The colour frames: where the file `sequence` says, else in `color`, else in the folder itself.
    places = [join(folder, "color"), folder]
    if channel := _CHANNEL.search(told):
        pattern = PurePosixPath(channel.group(1).decode("utf-8", "replace").replace("\\", "/"))
        places.insert(0, join(folder, str(pattern.parent if pattern.suffix else pattern)).removesuffix("/."))
    frames = next((tuple(images) for place in places if (images := archive.images(place))), ())
    if 1 < len(frames) < len(regions):
        counts = f"{len(frames)} frames for {len(regions)} lines of groundtruth.txt"
        raise DataError(f"{archive.where(folder)}: {counts}")
    anchors = None
    if archive.has(anchor := join(folder, "anchor.value")):
        values = np.nan_to_num(parse_column(archive.read(anchor), archive.where(anchor)))
        if len(values) > len(regions):
            raise DataError(f"{archive.where(anchor)}: {len(values)} values for {len(regions)} frames")
        anchors = np.sign(np.pad(values, (0, len(regions) - len(values)))).astype(np.int64)
    return Annotated(
        name,
        archive.where(member),
        regions,
        frames,
        tags=_tags(archive, folder, len(regions)),
        anchors=anchors,
        size=(sides[b"width"], sides[b"height"]) if len(sides) == 2 else None,
        surplus_frames=True,
    )


def _tags(archive: Archive, folder: str, frames: int) -> dict[str, BoolArray]:
    """All per-frame tags; files may leave out zeros at the end."""
    found = {}
    for name in archive.files(folder):
        stem, _, kind = name.rpartition(".")
        if kind not in ("tag", "label"):
            continue
        where = archive.where(join(folder, name))
        on = parse_flags(archive.read(join(folder, name)), where)
        if len(on) > frames:
            raise DataError(f"{where}: {len(on)} flags for {frames} frames")
        found[stem] = np.pad(on, (0, frames - len(on)))
    return found


# In a VOT set's folder or in the `sequences` of a workspace.
VOT = Layout("vot", "list.txt and <sequence>/groundtruth.txt", partial(find_listed, folder="sequences"), _read)
