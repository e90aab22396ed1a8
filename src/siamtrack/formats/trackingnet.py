"""TrackingNet: `TEST/frames/<seq>/0.jpg` and `TEST/anno/<seq>.txt`, the test set's with one line."""

from __future__ import annotations

from pathlib import PurePosixPath

from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, read_regions


def _find(archive: Archive) -> dict[str, str]:
    """The test set, or a folder that holds `anno` and `frames` itself, such as a training chunk."""
    place = "TEST/" if "TEST" in archive.folders() else ""
    return {PurePosixPath(member).stem: member for member in archive.paths(f"{place}anno/*.txt")}


def _trained(archive: Archive) -> dict[str, str]:
    return {member.removesuffix(".txt"): member for member in archive.paths("TRAIN_*/anno/*.txt")}


def _read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    place = member.rpartition("/")[0].removesuffix("anno")
    frames = tuple(archive.images(f"{place}frames/{PurePosixPath(member).stem}"))
    return Annotated(name, archive.where(member), read_regions(archive, member), frames, first_only=True)


TRACKINGNET = Layout("trackingnet", "TEST/anno/<sequence>.txt and TEST/frames/<sequence>/0.jpg", _find, _read, _trained)
