"""Need for Speed at 30 and 240 frames a second: `<seq>/30/<seq>.txt` and `<seq>/30/<seq>/00001.jpg`."""

from __future__ import annotations

from functools import partial

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, in_each_folder, read_regions
from siamtrack.geometry.regions import FloatArray

_RATIO = 8  # annotations at 240 fps for frames at 30


def _layout(rate: str) -> Layout:
    find = partial(in_each_folder, pattern=f"{{0}}/{rate}/{{0}}.txt")

    def read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
        """Read one sequence; of an annotation at 240 frames a second for frames at 30, every eighth line.

        One surplus frame or line is dropped.
        """
        regions = _regions(archive, member)
        frames = tuple(archive.images(member.removesuffix(".txt")))
        fast = member.replace("/30/", "/240/")
        if frames:
            dense = abs(len(regions) / len(frames) - _RATIO) < 1
        else:  # without frames: is this a copy of the annotation at 240 frames a second?
            dense = rate == "30" and fast != member and archive.has(fast)
            dense = dense and len(_regions(archive, fast)) == len(regions)
        if dense:
            regions = regions[::_RATIO]
        if abs(len(regions) - len(frames)) == 1:
            count = min(len(regions), len(frames))
            regions, frames = regions[:count], frames[:count]
        return Annotated(name, archive.where(member), regions, frames)

    return Layout(f"nfs{rate}", f"airboard_1/{rate}/airboard_1.txt", find, read)


def _regions(archive: Archive, member: str) -> FloatArray:
    """Read lines `index left top right bottom frame lost occluded generated "label"`, or of plain boxes."""
    data = archive.read(member)
    if b'"' not in data:
        return read_regions(archive, member)
    rows = [line.split()[1:5] for line in data.splitlines() if line.strip()]
    try:
        corners = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    except ValueError:
        expected = 'expected lines `index left top right bottom frame .. "label"`'
        raise DataError(f"{archive.where(member)}: {expected}") from None
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


NFS30 = _layout("30")
NFS240 = _layout("240")
