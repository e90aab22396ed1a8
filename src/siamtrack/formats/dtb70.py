"""DTB70: `<seq>/groundtruth_rect.txt` and `<seq>/img/00001.jpg`."""

from __future__ import annotations

from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, read_regions

__all__ = ["DTB70"]

_ORIGIN = 1


def _find(archive: Archive) -> dict[str, str]:
    members = {name: f"{name}/groundtruth_rect.txt" for name in archive.folders()}
    return {name: member for name, member in members.items() if archive.has(member)}


def _read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    """Read `<seq>/groundtruth_rect.txt` with frames `<seq>/img/00001.jpg`."""
    frames = tuple(archive.images(f"{member.rpartition('/')[0]}/img".lstrip("/")))
    return Annotated(name, archive.where(member), read_regions(archive, member), frames, origin=_ORIGIN)


DTB70 = Layout("dtb70", "Animal1/groundtruth_rect.txt", _find, _read)
