"""One `x,y,w,h` text a sequence: GOT-10k, LaSOT, TrackingNet, and one's own."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from siamtrack.formats.training.base import (
    VIDEOS,
    Entry,
    Problem,
    ReportProblem,
    Source,
    frames_of,
    numbers,
    relative,
    sequence_entries,
)

__all__ = ["GOT10K", "LASOT", "SEQUENCES", "TRACKINGNET"]

_NAMES = ("groundtruth.txt", "groundtruth_rect.txt", "gt.txt")


def _got10k_units(root: Path) -> list[Path]:
    """Sequences of the training set; the validation set is left to evaluation."""
    return sorted(path.parent for path in (root / "train").glob("GOT-10k_Train_*/groundtruth.txt"))


def _read_got10k(root: Path, folder: Path, note: ReportProblem) -> Iterator[Entry]:
    rows = numbers(folder / "groundtruth.txt", note, 4)
    images = frames_of(root, folder, note, ("",))
    if rows is None or not images:
        return
    hidden = _flags(folder / "absence.label", note) if (folder / "absence.label").is_file() else None
    category = _got10k_category(folder / "meta_info.ini")
    track = relative(folder, root)
    yield from sequence_entries(images, rows, folder / "groundtruth.txt", track, category, note, hidden)


def _got10k_category(path: Path) -> str:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(path, encoding="utf-8")
        return parser.get("METAINFO", "object_class", fallback="").strip()
    except (configparser.Error, UnicodeDecodeError):
        return ""


def _lasot_units(root: Path) -> list[Path]:
    """Sequences of the training set: all but those of `testing_set.txt`, which lies in the root."""
    listed = root / "testing_set.txt"
    testing = set(listed.read_text(encoding="utf-8").split()) if listed.is_file() else set()
    found = sorted([*root.glob("*/full_occlusion.txt"), *root.glob("*/*/full_occlusion.txt")])
    return [path.parent for path in found if path.parent.name not in testing]


def _read_lasot(root: Path, folder: Path, note: ReportProblem) -> Iterator[Entry]:
    rows = numbers(folder / "groundtruth.txt", note, 4)
    images = frames_of(root, folder, note, ("img",))
    if rows is None or not images:
        return
    hidden = np.zeros(len(rows), bool)
    for name in ("full_occlusion.txt", "out_of_view.txt"):
        flags = _flags(folder / name, note)
        if flags is not None and len(flags) == len(rows):
            hidden |= flags
        else:
            note(Problem("wrong length", str(folder / name), f"expected {len(rows)} flags, one a frame"))
    category = folder.name.rpartition("-")[0]
    track = relative(folder, root)
    yield from sequence_entries(images, rows, folder / "groundtruth.txt", track, category, note, hidden, origin=1)


def _trackingnet_units(root: Path) -> list[Path]:
    return sorted(root.glob("TRAIN_*/anno/*.txt"))


def _read_trackingnet(root: Path, path: Path, note: ReportProblem) -> Iterator[Entry]:
    rows = numbers(path, note, 4)
    images = frames_of(root, path.parents[1] / "frames" / path.stem, note, ("",))
    if rows is not None and images:
        track = relative(path.with_suffix(""), root)
        yield from sequence_entries(images, rows, path, track, "", note)


def _own_units(root: Path) -> list[Path]:
    """`name.txt` beside a folder or video `name`, or a ground truth inside the sequence's folder."""
    # Level by level: `**` does not follow links, and data sets are often linked together.
    texts = [path for depth in ("", "*/", "*/*/", "*/*/*/") for path in root.glob(f"{depth}*.txt")]
    inner = [path for path in texts if path.name in _NAMES and path.parent.name != "gt"]
    beside = [path for path in texts if path.name not in _NAMES and _has_frames(path)]
    return sorted({*inner, *beside})


def _has_frames(path: Path) -> bool:
    base = path.with_suffix("")
    return base.is_dir() or any(base.with_name(base.name + ext).is_file() for ext in VIDEOS)


def _read_own(root: Path, path: Path, note: ReportProblem) -> Iterator[Entry]:
    base = path.parent if path.name in _NAMES else path.with_suffix("")
    rows = numbers(path, note, 4)
    images = frames_of(root, base, note)
    if rows is None or not images:
        return
    if rows.shape[1] > 4:
        note(Problem("unreadable annotation", str(path), f"{rows.shape[1]} columns; expected x,y,w,h"))
        return
    yield from sequence_entries(images, rows, path, relative(base, root), "", note)


def _flags(path: Path, note: ReportProblem) -> npt.NDArray[np.bool_] | None:
    """0 or 1 a frame, on lines or separated by commas."""
    rows = numbers(path, note, 1)
    return None if rows is None else rows.reshape(-1) == 1


GOT10K = Source("got10k", "GOT-10k: train/GOT-10k_Train_*/groundtruth.txt", _got10k_units, _read_got10k)
LASOT = Source("lasot", "LaSOT: airplane/airplane-1/{img,groundtruth.txt,...}", _lasot_units, _read_lasot)
TRACKINGNET = Source(
    "trackingnet", "TrackingNet: TRAIN_*/{anno/*.txt,frames/*/}", _trackingnet_units, _read_trackingnet
)
SEQUENCES = Source("sequences", "own: name.txt of x,y,w,h beside images in name/ or name.mp4", _own_units, _read_own)
