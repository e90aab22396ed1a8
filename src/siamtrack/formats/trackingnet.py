"""TrackingNet: `TEST/frames/<seq>/0.jpg` and `TEST/anno/<seq>.txt`, the test set's with one line."""

from __future__ import annotations

from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, read_regions

__all__ = ["TRACKINGNET"]


def _find(archive: Archive) -> dict[str, str]:
    """The test set; a folder that holds `anno` and `frames` itself is read as it is, as one of a training chunk."""
    place = "TEST/" if "TEST" in archive.folders() else ""
    return {_stem(member): member for member in archive.paths(f"{place}anno/*.txt")}


def _trained(archive: Archive) -> dict[str, str]:
    return {member.removesuffix(".txt"): member for member in archive.paths("TRAIN_*/anno/*.txt")}


def _stem(member: str) -> str:
    return member.rpartition("/")[2].removesuffix(".txt")


def _read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    """Read one sequence; frames are in the order of their numbers, which have no leading zeros."""
    place = member.rpartition("/")[0].removesuffix("anno")
    frames = tuple(archive.images(f"{place}frames/{_stem(member)}"))
    return Annotated(name, archive.where(member), read_regions(archive, member), frames, first_only=True)


TRACKINGNET = Layout("trackingnet", "TEST/anno/<sequence>.txt and TEST/frames/<sequence>/0.jpg", _find, _read, _trained)
