"""Three data sets with simple layouts: Temple Color 128, Need for Speed and DTB70."""

from __future__ import annotations

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, read_regions
from siamtrack.formats.parse import parse_column
from siamtrack.geometry.regions import FloatArray

__all__ = ["DTB70", "NFS30", "NFS240", "TC128"]

_ORIGIN = 1
_NFS_RATIO = 8  # annotations at 240 fps for frames at 30


def _find_tc128(archive: Archive) -> dict[str, str]:
    return {name: f"{name}/{name}_gt.txt" for name in archive.folders() if archive.has(f"{name}/{name}_gt.txt")}


def _read_tc128(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    """Read `<seq>/<seq>_gt.txt`; `<seq>_frames.txt` holds the first and last number of `<seq>/img/0001.jpg`."""
    regions = read_regions(archive, member)
    folder = member.rpartition("/")[0]
    images, span = (f"{folder}/{name}".lstrip("/") for name in ("img", f"{name}_frames.txt"))
    frames = tuple(archive.images(images))
    if archive.has(span):
        text = archive.read(span).replace(b",", b"\n").replace(b" ", b"\n").strip()
        numbers = [int(n) for n in parse_column(text, archive.where(span)).tolist() if abs(n) < 1e9]
        if len(numbers) != 2 or numbers[1] - numbers[0] + 1 != len(regions):
            expected = f"the numbers of the first and the last of {len(regions)} frames"
            raise DataError(f"{archive.where(span)}: expected {expected}; got {numbers[:4]}")
        frames = tuple(f"{images}/{number:04d}.jpg" for number in range(numbers[0], numbers[1] + 1))
    return Annotated(name, archive.where(member), regions, frames, origin=_ORIGIN)


def _find_dtb70(archive: Archive) -> dict[str, str]:
    members = {name: f"{name}/groundtruth_rect.txt" for name in archive.folders()}
    return {name: member for name, member in members.items() if archive.has(member)}


def _read_dtb70(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    """Read `<seq>/groundtruth_rect.txt` with frames `<seq>/img/00001.jpg`."""
    frames = tuple(archive.images(f"{member.rpartition('/')[0]}/img".lstrip("/")))
    return Annotated(name, archive.where(member), read_regions(archive, member), frames, origin=_ORIGIN)


def _nfs(rate: str) -> Layout:
    def find(archive: Archive) -> dict[str, str]:
        members = {name: f"{name}/{rate}/{name}.txt" for name in archive.folders() if rate in archive.folders(name)}
        return {name: member for name, member in members.items() if archive.has(member)}

    def read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
        """Read `<seq>/<rate>/<seq>.txt` with frames `<seq>/<rate>/<seq>/00001.jpg`.

        Of an annotation at 240 frames a second for frames at 30 every eighth line is taken; one frame or one line
        too many is dropped.
        """
        regions = _nfs_regions(archive, member)
        frames = tuple(archive.images(member.removesuffix(".txt")))
        fast = member.replace("/30/", "/240/")
        if frames:
            dense = abs(len(regions) / len(frames) - _NFS_RATIO) < 1
        else:  # without frames the annotation at 240 frames a second tells it, of which this is a copy
            dense = rate == "30" and fast != member and archive.has(fast)
            dense = dense and len(_nfs_regions(archive, fast)) == len(regions)
        if dense:
            regions = regions[::_NFS_RATIO]
        if abs(len(regions) - len(frames)) == 1:
            count = min(len(regions), len(frames))
            regions, frames = regions[:count], frames[:count]
        return Annotated(name, archive.where(member), regions, frames)

    return Layout(f"nfs{rate}", f"airboard_1/{rate}/airboard_1.txt", find, read)


def _nfs_regions(archive: Archive, member: str) -> FloatArray:
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


TC128 = Layout("tc128", "Ball_ce1/Ball_ce1_gt.txt", _find_tc128, _read_tc128)
DTB70 = Layout("dtb70", "Animal1/groundtruth_rect.txt", _find_dtb70, _read_dtb70)
NFS30 = _nfs("30")
NFS240 = _nfs("240")
