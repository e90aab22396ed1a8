"""Counting the pixels of rasterised regions without drawing them, from the runs of each scan line.

The VOT scorers fill two masks and count. A region's mask has at most two runs of pixels on a row, so the counts
follow from the runs' ends; all rows of many frames are computed at once. Coordinates are whole numbers (as float64)
relative to the raster's origin; everything outside `width` x `height` is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray

_NONE = 1e9  # where a scan line does not meet an edge: right of every raster
_CHUNK = 1 << 15  # rows computed together: their arrays stay in the processor's cache


@dataclass(frozen=True)
class Shapes:
    """Regions of N frames: `corners` (N, 4, 2) of polygons, `box` (N, 4) first x, last x, first y and last y of boxes.

    `is_box` (N,) says which of the two counts. A box that ends before it begins is empty.
    """

    corners: FloatArray
    box: FloatArray
    is_box: BoolArray

    def take(self, rows: IntArray | BoolArray) -> Shapes:
        """Return the shapes of some frames."""
        return Shapes(self.corners[rows], self.box[rows], self.is_box[rows])

    def rows(self) -> tuple[FloatArray, FloatArray]:
        """Return the first and last row (N,) that each shape may touch."""
        ys = self.corners[:, :, 1]
        return (
            np.where(self.is_box, self.box[:, 2], ys.min(axis=1)),
            np.where(self.is_box, self.box[:, 3], ys.max(axis=1)),
        )


@dataclass(frozen=True)
class Raster:
    """The rasters of N frames: `width`, `height` (N,) in pixels, and the scorer's treatment of special rows.

    With `flat_edges` (vot-toolkit) a horizontal edge adds its corner to the row's nodes, and a run of one pixel at
    the row's end is drawn; PySOT's region.c does neither.
    """

    width: FloatArray
    height: FloatArray
    flat_edges: bool


Intervals = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def _polygon_nodes(corners: FloatArray, counts: IntArray, y: FloatArray, flat_edges: bool) -> FloatArray:
    """Return where each frame's polygon meets each scan line: (4, R), sorted, `_NONE` where it does not."""
    start, end = corners, np.roll(corners, 1, axis=1)  # the edge of corner i runs from the corner before it
    x0, y0 = start[:, :, 0].T, start[:, :, 1].T
    rise, run = end[:, :, 1].T - y0, end[:, :, 0].T - x0
    low, high = np.minimum(y0, y0 + rise), np.maximum(y0, y0 + rise)
    flat = rise == 0
    if flat_edges:
        run = np.where(flat, 0.0, run)
    else:
        low = np.where(flat, _NONE, low)
    rise = np.where(flat, 1.0, rise)
    x0, y0, rise, run, low, high = (np.repeat(a, counts, axis=1) for a in (x0, y0, rise, run, low, high))
    # the scorers' order of operations: a node that falls on a whole number must fall on the same side of it
    nodes = np.trunc((y - y0) / rise * run + x0)
    nodes[(y < low) | (y > high)] = _NONE
    for a, b in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):  # a sorting network: each column by itself
        smaller = np.minimum(nodes[a], nodes[b])
        np.maximum(nodes[a], nodes[b], out=nodes[b])
        nodes[a] = smaller
    return nodes


def _runs(nodes: FloatArray, flat_edges: bool) -> Intervals:
    """Return the (at most) two runs of pixels that the scorers fill between a row's sorted nodes.

    Both skip the first of two equal nodes; vot-toolkit does not where they are the last two.
    """
    n0, n1, n2, n3 = nodes
    two, three, four = n1 < _NONE, n2 < _NONE, n3 < _NONE
    if flat_edges:
        skip0 = three & (n0 == n1)
        draw0 = two & ~skip0
        skip1 = skip0 & four & (n1 == n2)
        draw1 = skip0 & ~skip1
        draw2 = four & (draw0 | skip1)
    else:
        draw0 = two & (n0 < n1)
        skip0 = two & ~draw0
        draw1 = skip0 & three & (n1 < n2)
        skip1 = skip0 & three & ~draw1
        draw2 = four & (n2 < n3) & (draw0 | skip1)
    first = np.where(draw0, n0, np.where(draw1, n1, _NONE))
    last = np.where(draw0, n1, np.where(draw1, n2, -_NONE))
    first2, last2 = np.where(draw2, n2, _NONE), np.where(draw2, n3, -_NONE)
    return first, last, np.maximum(first2, np.where(draw0, last + 1, first2)), last2


def _box_runs(box: FloatArray, counts: IntArray, y: FloatArray) -> Intervals:
    x0, x1, y0, y1 = (np.repeat(column, counts) for column in box.T)
    inside = (y >= y0) & (y <= y1)
    nothing = np.full(len(y), _NONE)
    return np.where(inside, x0, _NONE), np.where(inside, x1, -_NONE), nothing, -nothing


def _shape_runs(shapes: Shapes, counts: IntArray, y: FloatArray, limit: FloatArray, flat_edges: bool) -> Intervals:
    """Return the runs of all rows, cut to the raster whose last column is `limit`."""
    if shapes.is_box.all():
        runs = _box_runs(shapes.box, counts, y)
    else:
        runs = _runs(_polygon_nodes(shapes.corners, counts, y, flat_edges), flat_edges)
        if shapes.is_box.any():
            boxed = np.repeat(shapes.is_box, counts)
            boxes = _box_runs(shapes.box, counts, y)
            first, last, first2, last2 = (np.where(boxed, box, run) for box, run in zip(boxes, runs, strict=True))
            runs = first, last, first2, last2
    first, last, first2, last2 = runs
    return np.maximum(first, 0), np.minimum(last, limit), np.maximum(first2, 0), np.minimum(last2, limit)


def _length(first: FloatArray, last: FloatArray) -> FloatArray:
    return np.maximum(last - first + 1, 0)


def _count_boxes(first: Shapes, second: Shapes, raster: Raster) -> tuple[FloatArray, FloatArray, FloatArray]:
    def cut(box: FloatArray) -> FloatArray:
        low, high = np.maximum(box[:, 0::2], 0), box[:, 1::2]
        high = np.minimum(high, np.stack([raster.width, raster.height], axis=1) - 1)
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)

    def area(box: FloatArray) -> FloatArray:
        return _length(box[:, 0], box[:, 1]) * _length(box[:, 2], box[:, 3])

    one, two = cut(first.box), cut(second.box)
    both = np.where([True, False, True, False], np.maximum(one, two), np.minimum(one, two))
    return area(one), area(two), area(both)


def count_pixels(first: Shapes, second: Shapes, raster: Raster) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the numbers of pixels (N,) in the first mask, in the second and in both."""
    found = _count_boxes(first, second, raster)
    drawn = np.flatnonzero(~(first.is_box & second.is_box))
    first, second = first.take(drawn), second.take(drawn)
    (low1, high1), (low2, high2) = first.rows(), second.rows()
    top = np.maximum(np.minimum(low1, low2), 0)
    bottom = np.minimum(np.maximum(high1, high2), raster.height[drawn] - 1)
    counts = np.maximum(bottom - top + 1, 0).astype(np.int64)
    for total in found:
        total[drawn[counts == 0]] = 0
    some = counts > 0
    drawn, counts, top, first, second = drawn[some], counts[some], top[some], first.take(some), second.take(some)
    chunk = (np.cumsum(counts) - 1) // _CHUNK
    for begin, end in pairwise(np.flatnonzero(np.diff(chunk, prepend=-1, append=-1)).tolist()):
        part = slice(begin, end)
        rows = counts[part]
        starts = np.cumsum(rows) - rows
        y = np.arange(int(rows.sum())) - np.repeat(starts - top[part], rows)
        limit = np.repeat(raster.width[drawn[part]] - 1, rows)
        index = np.arange(begin, end)
        a0, a1, a2, a3 = _shape_runs(first.take(index), rows, y, limit, raster.flat_edges)
        b0, b1, b2, b3 = _shape_runs(second.take(index), rows, y, limit, raster.flat_edges)
        both = _length(np.maximum(a0, b0), np.minimum(a1, b1)) + _length(np.maximum(a2, b2), np.minimum(a3, b3))
        both += _length(np.maximum(a0, b2), np.minimum(a1, b3)) + _length(np.maximum(a2, b0), np.minimum(a3, b1))
        sums = (_length(a0, a1) + _length(a2, a3), _length(b0, b1) + _length(b2, b3), both)
        for total, values in zip(found, sums, strict=True):
            total[drawn[part]] = np.add.reduceat(values, starts)
    return found
