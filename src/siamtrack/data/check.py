"""Checks of data sets; each finding has a kind, a path and a detail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from siamtrack.data.index import Index, Progress, read_pictures
from siamtrack.data.shards import decode, iterate_shard, list_shards
from siamtrack.errors import DataError
from siamtrack.formats.datasets import read_dataset
from siamtrack.formats.layout import Problem
from siamtrack.storage import open_for_reading


def check_index(index: Index, report: Progress = lambda done, total: None) -> Iterator[Problem]:
    """Check the boxes of an index, and decode each of its frames.

    Found are "no boxes" (in all of it), "missing file", "unreadable frame", "box of no area" (or not finite), "box
    outside" (of which no part lies in the frame; one that reaches beyond an edge is usual and right) and "corners for
    sizes".
    """
    if not len(index):
        yield Problem("no boxes", str(index.root), "expected annotated boxes")
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for row, image in enumerate(index.image.tolist()):
        rows[image].append(row)
    boxes = index.boxes.astype(np.float64)
    empty = ~np.isfinite(boxes).all(1) | (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    for row in np.flatnonzero(empty).tolist():
        yield Problem("box of no area", _path(index, row), _said(index, row))
    order = sorted(rows, key=lambda image: (index.image_names[image].rpartition("#")[0], min(index.frame[rows[image]])))
    names = {index.image_names[image]: image for image in order}
    corners = _Corners()
    for done, (name, picture, wrong) in enumerate(read_pictures(index.root, names)):
        report(done, len(names))
        if picture is None:
            yield Problem(wrong, str(index.root / name), f"{len(rows[names[name]])} boxes")
            continue
        height, width = picture.shape[:2]
        for row in rows[names[name]]:
            x0, y0, x1, y1 = boxes[row]
            if not empty[row]:
                corners.add(x0, y0, x1 - x0, y1 - y0, width, height)
            if not empty[row] and (x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height):
                yield Problem("box outside", _path(index, row), f"{_said(index, row)}, of a frame {width}×{height}")
    yield from corners.found(str(index.root))
    report(len(names), len(names))


class _Corners:
    """Whether boxes look like the corners x0,y0,x1,y1 where x,y,w,h is expected: of a whole data set, a common mistake.

    As corners all of them would fit into their frames, and as sizes many reach beyond. None of the sequences that this
    was tried on is so as it is, and all but one (of 4%) are when corners are written for sizes.
    """

    _FEWEST = 5
    _SHARE = 0.2

    def __init__(self) -> None:
        self._boxes = self._fitting = self._beyond = 0

    def add(self, x: float, y: float, w: float, h: float, width: int, height: int) -> None:
        """Count a box of a frame of `width` and `height` pixels."""
        self._boxes += 1
        self._fitting += x < w <= width + 1 and y < h <= height + 1
        self._beyond += x + w > 1.05 * width or y + h > 1.05 * height

    def found(self, place: str) -> Iterator[Problem]:
        """Yield the problem, if it is one."""
        if self._fitting == self._boxes >= self._FEWEST and self._beyond >= self._SHARE * self._boxes:
            told = f"{self._beyond} of {self._boxes} boxes reach beyond their frame; as x0,y0,x1,y1 all would fit"
            yield Problem("corners for sizes", place, f"expected x,y,w,h; {told}")


def _path(index: Index, row: int) -> str:
    return str(index.root / index.image_names[index.image[row]])


def _said(index: Index, row: int) -> str:
    x0, y0, x1, y1 = index.boxes[row].tolist()
    return f"{index.track_names[index.track[row]]}: x,y,w,h = {x0:g},{y0:g},{x1 - x0:g},{y1 - y0:g}"


def check_shards(place: str, report: Progress = lambda done, total: None) -> Iterator[Problem]:
    """Read shards from end to end: "unreadable shard", "no crops", "unreadable frame", "wrong size", "box outside".

    Raises:
        DataError: there are no shards.
    """
    shards = list_shards(place).shards
    size: tuple[int, ...] = ()
    for done, shard in enumerate(shards):
        report(done, len(shards))
        count = 0
        try:
            with open_for_reading(shard.place) as stream:
                for key, jpeg, label in iterate_shard(stream, str(shard.place)):
                    count += 1
                    where = f"{shard.place}: {key}"
                    picture = decode(jpeg)
                    if picture is None:
                        yield Problem("unreadable frame", where, f"{len(jpeg)} bytes of image")
                        continue
                    size = size or picture.shape
                    if picture.shape != size:
                        yield Problem("wrong size", where, f"{picture.shape}, others {size}")
                    x0, y0, x1, y1 = label.box
                    if x1 <= 0 or y1 <= 0 or x0 >= picture.shape[1] or y0 >= picture.shape[0]:
                        yield Problem("box outside", where, f"box {label.box}")
        except DataError as error:
            yield Problem("unreadable shard", str(shard.place), str(error))
        else:
            if not count:
                yield Problem("no crops", str(shard.place), "expected crops and their annotations")
        if shard.crops is not None and count != shard.crops:
            yield Problem("wrong length", str(shard.place), f"{count} crops, {shard.crops} in the list of shards")
    report(len(shards), len(shards))


def check_benchmark(name: str, root: Path, report: Progress = lambda done, total: None) -> Iterator[Problem]:
    """Read a benchmark as `siamtrack eval` would, and decode each frame.

    Found are "unreadable annotation" (the whole data set cannot be used then), "unreadable frame", "no first box",
    without which `eval` refuses a sequence, "box outside" and "corners for sizes".
    """
    try:
        sequences = read_dataset(name, root)
    except DataError as error:
        yield Problem("unreadable annotation", str(root), str(error))
        return
    corners = _Corners()
    for done, sequence in enumerate(sequences):
        report(done, len(sequences))
        if sequence.absent(0):
            yield Problem("no first box", f"{sequence.name}, frame 0", "expected x,y,w,h with an area to start from")
        for number in range(len(sequence)):
            where = f"{sequence.name}, frame {number}"
            try:
                height, width = sequence.frames[number].shape[:2]
            except DataError as error:
                yield Problem("unreadable frame", where, str(error))
                continue
            if (number == 0 or sequence.has_truth) and not sequence.absent(number):
                x, y, w, h = sequence.box(number)
                corners.add(x, y, w, h, width, height)
                if x + w <= 0 or y + h <= 0 or x >= width or y >= height:
                    said = f"x,y,w,h = {x:g},{y:g},{w:g},{h:g}, of a frame {width}×{height}"
                    yield Problem("box outside", where, said)
    yield from corners.found(str(root))
    report(len(sequences), len(sequences))
