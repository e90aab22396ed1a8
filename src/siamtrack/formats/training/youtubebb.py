"""YouTube-BoundingBoxes: the published CSV, and frames that were decoded at its time stamps.

The data set is published as time stamps in videos; the frames of a segment are looked for, as JPEG, in
`{train,validation}/<youtube_id>+<class_id>+<object_id>/<timestamp_ms>.jpg`, the same under `<class_id>/`, or as
`{train,validation}/<youtube_id>_<timestamp_ms>.jpg`. Boxes are shares of the frame, hence its size is read.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from siamtrack.formats.training.base import Entry, Problem, ReportProblem, Source, relative
from siamtrack.formats.training.picture import picture_size

__all__ = ["YOUTUBEBB"]

_COLUMNS = 10


def _units(root: Path) -> list[Path]:
    return sorted(root.glob("yt_bb_detection_*.csv"))


def _read(root: Path, path: Path, note: ReportProblem) -> Iterator[Entry]:
    split = path.stem.removeprefix("yt_bb_detection_")
    sizes: dict[Path, tuple[int, int] | None] = {}
    with path.open(newline="", encoding="utf-8") as lines:
        for number, row in enumerate(csv.reader(lines), 1):
            if number == 1 and row[:1] == ["youtube_id"]:
                continue
            if len(row) != _COLUMNS:
                note(Problem("unreadable annotation", str(path), f"line {number}: {len(row)} columns, not {_COLUMNS}"))
                continue
            video, stamp, kind, name, thing, presence = row[:6]
            if presence == "absent":
                continue
            image = _frame(root / split, video, stamp, kind, thing)
            if image not in sizes:
                sizes = {image: picture_size(image)}  # rows of one frame follow each other
                if sizes[image] is None:
                    note(Problem("missing file", str(image), "no frame for a row of the CSV, or not an image"))
            if (size := sizes[image]) is None:
                continue
            try:
                x0, x1, y0, y1 = (float(v) * size[i // 2] for i, v in enumerate(row[6:10]))
            except ValueError:
                note(Problem("unreadable annotation", str(path), f"line {number}: a box of {row[6:10]}"))
                continue
            track = f"{split}/{video}+{kind}+{thing}"
            yield Entry(relative(image, root), track, int(stamp), (x0, y0, x1, y1), name)


def _frame(folder: Path, video: str, stamp: str, kind: str, thing: str) -> Path:
    segment = f"{video}+{kind}+{thing}"
    places = (
        folder / segment / f"{stamp}.jpg",
        folder / kind / segment / f"{stamp}.jpg",
        folder / f"{video}_{stamp}.jpg",
    )
    return next((place for place in places if place.is_file()), places[0])


YOUTUBEBB = Source("youtubebb", "YouTube-BB: yt_bb_detection_*.csv and decoded frames", _units, _read)
