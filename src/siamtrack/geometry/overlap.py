"""Overlaps and distances of regions: pure functions of (N, 4) rectangles `x, y, w, h` or (N, 8) polygons, in pixels.

`rectangle_iou` compares continuous areas, as most scorers do, and `polygon_iou` exact areas of quadrilaterals;
`pysot_overlaps` and `toolkit_overlaps` count pixels as the two VOT scorers do, inside an image of (width, height), or
without a bound for None. Nothing here warns or raises on nan or empty boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray, corners, is_rectangle, missing

_NONE = 1e9  # where a scan line does not meet an edge: right of every raster
_CHUNK = 1 << 15  # rows computed together: their arrays stay in the processor's cache


def rectangle_iou(first: FloatArray, second: FloatArray, *, eps: float = 0.0) -> FloatArray:
    """Return the intersection over union of each pair of rectangles, in [0, 1].

    `first` and `second` are (N, 4); the result is (N,), nan where a box is nan or both are empty. `eps` is added to
    the union (the GOT-10k toolkit adds the machine epsilon, the others nothing). The OTB, LaSOT and PySOT scorers
    use this continuous area too: their +1 and -1 cancel.
    """
    x1, y1, w1, h1 = first[:, 0], first[:, 1], first[:, 2], first[:, 3]
    x2, y2, w2, h2 = second[:, 0], second[:, 1], second[:, 2], second[:, 3]
    with np.errstate(all="ignore"):
        wide = np.minimum(x1 + w1, x2 + w2) - np.maximum(x1, x2)
        high = np.minimum(y1 + h1, y2 + h2) - np.maximum(y1, y2)
        inter = np.maximum(wide, 0) * np.maximum(high, 0)
        return np.asarray(np.clip(inter / (w1 * h1 + w2 * h2 - inter + eps), 0, 1))


def clip_rectangles(boxes: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Return the (N, 4) boxes bounded by an image of `size` (width, height), as the GOT-10k toolkit does.

    The corner is clipped first, then the size, so a box that starts left of the image moves into it and keeps its
    width.
    """
    width, height = size
    x, y = np.clip(boxes[:, 0], 0, width), np.clip(boxes[:, 1], 0, height)
    w, h = np.clip(boxes[:, 2], 0, width - x), np.clip(boxes[:, 3], 0, height - y)
    return np.stack([x, y, w, h], axis=1)


def centers(boxes: FloatArray) -> FloatArray:
    """Return the (N, 2) centres of the boxes by the scorers' pixel convention, `x + (w - 1) / 2`."""
    return boxes[:, :2] + (boxes[:, 2:4] - 1) / 2


def center_distance(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the (N,) Euclidean distances between the points of two (N, 2) arrays, nan where one is nan."""
    with np.errstate(all="ignore"):
        # np.power agrees with the scorers to the last bit
        return np.asarray(np.sqrt(np.sum(np.power(first - second, 2), axis=1)))


def _pysot_bounds(points: FloatArray, size: tuple[int, int] | None) -> FloatArray:
    """Return (N, 4) left, top, right, bottom, rounded outwards and cut by the image."""
    low, high = np.floor(points.min(axis=1)), np.ceil(points.max(axis=1))
    if size is not None:
        low, high = np.maximum(low, 0), np.minimum(high, np.asarray(size, dtype=np.float64))
    return np.concatenate([low, high], axis=1)


def _area(bounds: FloatArray) -> FloatArray:
    return (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])


def _pysot_shapes(points: FloatArray, origin: FloatArray, boxes: BoolArray) -> _Shapes:
    moved = (points.astype(np.float32) - origin[:, None, :].astype(np.float32)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(moved) + 0.5), moved)  # half away from zero, as C's round()
    low, high = rounded.min(axis=1), rounded.max(axis=1)
    box = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
    # a box without width or height has no two nodes on any row
    box[(box[:, 0] == box[:, 1]) | (box[:, 2] == box[:, 3]), 1] = -np.inf
    return _Shapes(rounded, box, boxes)


def pysot_overlaps(first: FloatArray, second: FloatArray, size: tuple[int, int] | None) -> FloatArray:
    """Return the (N,) overlaps of PySOT's `region.c`, in [0, 1]: those behind most published VOT tables.

    Coordinates are single precision; a rectangle is the polygon x .. x + w with both ends filled; the bounds
    are cut by `size`, and two regions whose bounds do not overlap score 0 without being drawn. A region that
    is not finite scores 0; two regions without a pixel give nan.
    """
    overlaps = np.zeros(len(first))
    rows = np.flatnonzero(~missing(first) & ~missing(second))
    # single precision from here on, held in double: the C code stores floats
    one, two = (corners(r[rows]).astype(np.float32).astype(np.float64) for r in (first, second))
    b1, b2 = _pysot_bounds(one, size), _pysot_bounds(two, size)
    low, high = np.minimum(b1[:, :2], b2[:, :2]), np.maximum(b1[:, 2:], b2[:, 2:])
    extent = np.trunc(high - low) + 1
    a1, a2 = _area(b1), _area(b2)
    shared = np.concatenate([np.maximum(b1[:, :2], b2[:, :2]), np.minimum(b1[:, 2:], b2[:, 2:])], axis=1)
    with np.errstate(all="ignore"):
        tiny = (a1 / a2 < 1e-10) | (a2 / a1 < 1e-10) | (extent < 1).any(axis=1)
        ratio = _area(shared) / (a1 + a2 - _area(shared))
        apart = ~((ratio > 0) | np.isnan(ratio))
    drawn = np.flatnonzero(~tiny & ~apart)
    rows, low, extent = rows[drawn], low[drawn], extent[drawn]
    shape1 = _pysot_shapes(one[drawn], low, is_rectangle(first[rows]))
    shape2 = _pysot_shapes(two[drawn], low, is_rectangle(second[rows]))
    n1, n2, both = _count_pixels(shape1, shape2, extent, flat_edges=False)
    with np.errstate(all="ignore"):
        overlaps[rows] = (both.astype(np.float32) / (n1 + n2 - both).astype(np.float32)).astype(np.float64)
    return overlaps


def toolkit_overlaps(first: FloatArray, second: FloatArray, size: tuple[int, int] | None) -> FloatArray:
    """Return the (N,) overlaps of vot-toolkit 0.9 (`region/raster.py`), in [0, 1].

    Coordinates are rounded half to even in single precision; a rectangle is w pixels wide, a polygon includes
    its ends; the masks are cut by `size`. Two regions in one row or column, and two missing ones, score 1; a
    missing region and another score 0.
    """
    overlaps = np.zeros(len(first))
    lost1, lost2 = missing(first), missing(second)
    ready = []
    for regions, lost in ((first, lost1), (second, lost2)):
        filled = np.where(lost[:, None], np.nan, regions)
        points = np.round(corners(filled).astype(np.float32)).astype(np.float64)
        boxes = is_rectangle(filled)
        # first column and row, last column and row; zeros for a missing region
        bounds = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        rounded = np.round(filled[boxes, :4].astype(np.float32)).astype(np.float64)
        bounds[boxes] = np.concatenate([rounded[:, :2], rounded[:, :2] + rounded[:, 2:] - 1], axis=1)
        bounds[np.isnan(bounds).any(axis=1)] = 0
        ready.append((bounds, points, boxes))
    (bounds1, *_), (bounds2, *_) = ready
    low, high = np.minimum(bounds1[:, :2], bounds2[:, :2]), np.maximum(bounds1[:, 2:], bounds2[:, 2:])
    same = (low >= high).any(axis=1)
    overlaps[same] = 1.0
    if size is not None:
        low, high = np.maximum(low, 0), np.minimum(high, np.asarray(size, dtype=np.float64) - 1)
    drawn = np.flatnonzero(~same & ~(low >= high).any(axis=1) & ~lost1 & ~lost2)
    origin, extent = low[drawn], high[drawn] - low[drawn] + 1
    shapes = []
    for bounds, points, boxes in ready:
        box = (bounds[drawn] - np.concatenate([origin, origin], axis=1))[:, [0, 2, 1, 3]]
        shapes.append(_Shapes(points[drawn] - origin[:, None, :], box, boxes[drawn]))
    n1, n2, both = _count_pixels(shapes[0], shapes[1], extent, flat_edges=True)
    union = n1 + n2 - both
    overlaps[drawn] = np.where(union > 0, both / np.maximum(union, 1), 0.0)
    return overlaps


def _polygon_area(points: FloatArray) -> FloatArray:
    """Return the (N,) areas of polygons (N, K, 2) by the shoelace formula."""
    # relative to the first corner, so that far-away polygons keep their digits
    local = points - points[:, :1]
    following = np.roll(local, -1, axis=1)
    cross = local[:, :, 0] * following[:, :, 1] - local[:, :, 1] * following[:, :, 0]
    return np.asarray(np.abs(cross.sum(axis=1)) / 2)


def _clip(points: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
    """Cut polygons (N, K, 2) by the half-planes left of lines (N, 2): the step of Sutherland and Hodgman.

    Every edge gives the point where it crosses the line, and its end if that is kept. These points move to the
    front; the rest is filled with the last of them, which adds no area.
    """
    following = np.roll(points, -1, axis=1)
    way, origin = (end - start)[:, None, :], start[:, None, :]

    def side(p: FloatArray) -> FloatArray:
        return np.asarray(way[..., 0] * (p[..., 1] - origin[..., 1]) - way[..., 1] * (p[..., 0] - origin[..., 0]))

    here, there = side(points), side(following)
    kept, crossed = there >= 0, (here >= 0) != (there >= 0)
    step = np.where(crossed, here, 0.0) / np.where(crossed, here - there, 1.0)
    crossing = points + step[..., None] * (following - points)
    n, k = here.shape
    given = np.stack([crossed, kept], axis=2).reshape(n, 2 * k)
    found = np.stack([crossing, following], axis=2).reshape(n, 2 * k, 2)
    count = given.sum(axis=1)
    order = np.argsort(~given, axis=1, kind="stable")[:, : max(int(count.max(initial=0)), 1)]
    order = np.take_along_axis(order, np.minimum(np.arange(order.shape[1]), np.maximum(count - 1, 0)[:, None]), axis=1)
    return np.where((count > 0)[:, None, None], np.take_along_axis(found, order[..., None], axis=1), 0.0)


def _intersection(points: FloatArray, convex: FloatArray) -> FloatArray:
    following = np.roll(convex, -1, axis=1)
    signed = (convex[:, :, 0] * following[:, :, 1] - convex[:, :, 1] * following[:, :, 0]).sum(axis=1)
    # in the order that keeps the inside to the left of every edge
    window = np.where(signed[:, None, None] < 0, convex[:, ::-1], convex)
    for i in range(window.shape[1]):
        points = _clip(points, window[:, i], window[:, (i + 1) % window.shape[1]])
    return points


def polygon_iou(first: FloatArray, second: FloatArray, size: tuple[int, int] | None) -> FloatArray:
    """Return the (N,) exact intersection over union of regions, as the GOT-10k toolkit's `poly_iou`.

    Regions are (N, 4) or (N, 8), bounded first by an image of `size` (width, height) if given. One of each pair must
    be convex: the second if it is a rectangle, else the first. A region that is not finite gives nan.
    """
    one, two = corners(first), corners(second)
    swap = is_rectangle(second)[:, None, None]
    subject, window = np.where(swap, one, two), np.where(swap, two, one)
    finite = np.isfinite(subject).all(axis=(1, 2)) & np.isfinite(window).all(axis=(1, 2))
    subject, window = subject[finite], window[finite]
    inside = _intersection(subject, window)
    if size is not None:
        width, height = size
        frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
        image = np.broadcast_to(frame, (len(subject), 4, 2))
        subject, window, inside = (_intersection(p, image) for p in (subject, window, inside))
    inter = _polygon_area(inside)
    union = _polygon_area(subject) + _polygon_area(window) - inter
    overlaps = np.full(len(first), np.nan)
    overlaps[finite] = np.clip(inter / (union + np.finfo(np.float64).eps), 0, 1)
    return overlaps


# Counting the pixels of rasterised regions without drawing them, from the runs of each scan line
#
# The VOT scorers fill two masks and count. A region's mask has at most two runs of pixels on a row, so the counts
# follow from the runs' ends; all rows of many frames are computed at once. Coordinates are whole numbers (as float64)
# relative to the raster's origin; everything outside the raster is cut off.


@dataclass(frozen=True)
class _Shapes:
    """Regions of N frames: `corners` (N, 4, 2) of polygons, `box` (N, 4) first x, last x, first y and last y of boxes.

    `is_box` (N,) says which of the two counts. A box that ends before it begins is empty.
    """

    corners: FloatArray
    box: FloatArray
    is_box: BoolArray

    def take(self, rows: IntArray | BoolArray | slice) -> _Shapes:
        """Return the shapes of some frames."""
        return _Shapes(self.corners[rows], self.box[rows], self.is_box[rows])

    def rows(self) -> tuple[FloatArray, FloatArray]:
        """Return the first and last row (N,) that each shape may touch."""
        ys = self.corners[:, :, 1]
        return (
            np.where(self.is_box, self.box[:, 2], ys.min(axis=1)),
            np.where(self.is_box, self.box[:, 3], ys.max(axis=1)),
        )


_Runs = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


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


def _runs(nodes: FloatArray, flat_edges: bool) -> _Runs:
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


def _box_runs(box: FloatArray, counts: IntArray, y: FloatArray) -> _Runs:
    x0, x1, y0, y1 = (np.repeat(column, counts) for column in box.T)
    inside = (y >= y0) & (y <= y1)
    nothing = np.full(len(y), _NONE)
    return np.where(inside, x0, _NONE), np.where(inside, x1, -_NONE), nothing, -nothing


def _shape_runs(shapes: _Shapes, counts: IntArray, y: FloatArray, limit: FloatArray, flat_edges: bool) -> _Runs:
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


def _count_boxes(first: _Shapes, second: _Shapes, extent: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    def cut(box: FloatArray) -> FloatArray:
        low, high = np.maximum(box[:, 0::2], 0), box[:, 1::2]
        high = np.minimum(high, extent - 1)
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)

    def area(box: FloatArray) -> FloatArray:
        return _length(box[:, 0], box[:, 1]) * _length(box[:, 2], box[:, 3])

    one, two = cut(first.box), cut(second.box)
    both = np.where([True, False, True, False], np.maximum(one, two), np.minimum(one, two))
    return area(one), area(two), area(both)


def _count_pixels(
    first: _Shapes, second: _Shapes, extent: FloatArray, flat_edges: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the numbers of pixels (N,) in the first mask, in the second and in both.

    The masks of a frame are rasters of `extent` (N, 2), width and height. With `flat_edges` (vot-toolkit) a horizontal
    edge adds its corner to the row's nodes, and a run of one pixel at the row's end is drawn; PySOT's region.c does
    neither.
    """
    found = _count_boxes(first, second, extent)
    drawn = np.flatnonzero(~(first.is_box & second.is_box))
    first, second = first.take(drawn), second.take(drawn)
    (low1, high1), (low2, high2) = first.rows(), second.rows()
    top = np.maximum(np.minimum(low1, low2), 0)
    bottom = np.minimum(np.maximum(high1, high2), extent[drawn, 1] - 1)
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
        limit = np.repeat(extent[drawn[part], 0] - 1, rows)
        a0, a1, a2, a3 = _shape_runs(first.take(part), rows, y, limit, flat_edges)
        b0, b1, b2, b3 = _shape_runs(second.take(part), rows, y, limit, flat_edges)
        both = _length(np.maximum(a0, b0), np.minimum(a1, b1)) + _length(np.maximum(a2, b2), np.minimum(a3, b3))
        both += _length(np.maximum(a0, b2), np.minimum(a1, b3)) + _length(np.maximum(a2, b0), np.minimum(a3, b1))
        sums = (_length(a0, a1) + _length(a2, a3), _length(b0, b1) + _length(b2, b3), both)
        for total, values in zip(found, sums, strict=True):
            total[drawn[part]] = np.add.reduceat(values, starts)
    return found
