"""Temple Color 128: `<seq>/<seq>_gt.txt`, `<seq>/<seq>_frames.txt` and `<seq>/img/0001.jpg`."""

from __future__ import annotations

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, read_regions
from siamtrack.formats.parse import parse_column

__all__ = ["TC128"]

_ORIGIN = 1


def _find(archive: Archive) -> dict[str, str]:
    return {name: f"{name}/{name}_gt.txt" for name in archive.folders() if archive.has(f"{name}/{name}_gt.txt")}


def _read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
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


TC128 = Layout("tc128", "Ball_ce1/Ball_ce1_gt.txt", _find, _read)
