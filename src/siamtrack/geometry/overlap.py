"""Overlaps and distances of regions: pure functions of (N, 4) rectangles `x, y, w, h` or (N, 8) polygons, in pixels.

`rectangle_iou` compares continuous areas, as most scorers do, and `polygon_iou` exact areas of quadrilaterals;
`pysot_overlaps` and `toolkit_overlaps` count pixels as the two VOT scorers do, inside an image of (width, height), or
without a bound for None. Nothing here warns or raises on nan or empty boxes.
"""

from __future__ import annotations

import numpy as np

from siamtrack.geometry.raster import Raster, Shapes, count_pixels
from siamtrack.geometry.regions import BoolArray, FloatArray, corners, is_rectangle, missing


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


def _pysot_shapes(points: FloatArray, origin: FloatArray, boxes: BoolArray) -> Shapes:
    moved = (points.astype(np.float32) - origin[:, None, :].astype(np.float32)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(moved) + 0.5), moved)  # half away from zero, as C's round()
    low, high = rounded.min(axis=1), rounded.max(axis=1)
    box = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
    # a box without width or height has no two nodes on any row
    box[(box[:, 0] == box[:, 1]) | (box[:, 2] == box[:, 3]), 1] = -np.inf
    return Shapes(rounded, box, boxes)


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
    n1, n2, both = count_pixels(shape1, shape2, Raster(extent[:, 0], extent[:, 1], flat_edges=False))
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
        shapes.append(Shapes(points[drawn] - origin[:, None, :], box, boxes[drawn]))
    n1, n2, both = count_pixels(shapes[0], shapes[1], Raster(extent[:, 0], extent[:, 1], flat_edges=True))
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
