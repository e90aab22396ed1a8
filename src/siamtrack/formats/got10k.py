"""GOT-10k: `<split>/list.txt`, `<split>/<seq>/00000001.jpg`, `groundtruth.txt` and labels beside it."""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from siamtrack.formats.archive import Archive, join
from siamtrack.formats.layout import Annotated, Layout, Problem, ReportProblem, find_listed, read_flags, read_regions
from siamtrack.formats.records import parse_column
from siamtrack.geometry.regions import BoolArray

_SIZE = re.compile(rb"resolution[ \t]*+[:=][ \t]*+\(?[ \t]*+(\d{1,6})[ \t]*+,[ \t]*+(\d{1,6})")
_CATEGORY = re.compile(rb"^[ \t]*object_class[ \t]*[:=](.*)$", re.MULTILINE)


def _trained(archive: Archive) -> dict[str, str]:
    """The sequences of the training set; the validation set is left to evaluation."""
    members = archive.paths("train/GOT-10k_Train_*/groundtruth.txt")
    return {member.rpartition("/")[0]: member for member in members}


def _read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    regions = read_regions(archive, member)
    folder = member.rpartition("/")[0]
    meta = join(folder, "meta_info.ini")
    told = archive.read(meta) if archive.has(meta) else b""
    size, category = _SIZE.search(told), _CATEGORY.search(told)
    return Annotated(
        name,
        archive.where(member),
        regions,
        tuple(archive.images(folder)),
        _visible(archive, folder, len(regions), report_problem),
        category=category.group(1).strip().decode("utf-8", "replace") if category else "",
        size=(int(size.group(1)), int(size.group(2))) if size else None,
        first_only=True,
    )


def _visible(archive: Archive, folder: str, frames: int, report_problem: ReportProblem) -> BoolArray | None:
    """Frames with some of the object visible by `cover.label`, like the official evaluation; else by `absence.label`.

    In the training set, both.
    """
    cover, absence = (join(folder, f"{name}.label") for name in ("cover", "absence"))
    visible: BoolArray | None = None
    if archive.has(cover):
        shares = parse_column(archive.read(cover), archive.where(cover))
        if len(shares) != frames:
            counts = f"{len(shares)} lines for {frames} frames; there must be one a frame"
            report_problem(Problem("wrong length", archive.where(cover), counts))
        else:
            visible = np.asarray(np.nan_to_num(shares) > 0, dtype=np.bool_)
    if visible is None or folder.startswith("train/"):
        absent = read_flags(archive, absence, frames, report_problem)
        if absent is not None:
            visible = ~absent if visible is None else visible & ~absent
    return visible


_EXAMPLE = "{}/list.txt and {}/GOT-10k_*/groundtruth.txt"
# In the data set's folder or the split's own.
GOT10K_VAL = Layout("got10k-val", _EXAMPLE.format("val", "val"), partial(find_listed, folder="val"), _read)
GOT10K_TEST = Layout("got10k-test", _EXAMPLE.format("test", "test"), partial(find_listed, folder="test"), _read)
GOT10K = Layout("got10k", "train/GOT-10k_Train_*/groundtruth.txt", _trained, _read, _trained)
