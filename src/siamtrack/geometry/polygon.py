"""Exact overlaps of convex quadrilaterals and rectangles: areas by clipping, for many pairs at once."""

from __future__ import annotations

import numpy as np

from siamtrack.geometry.regions import FloatArray, corners, is_rectangle

__all__ = ["polygon_area", "polygon_iou"]

_EPS = float(np.finfo(np.float64).eps)


def polygon_area(points: FloatArray) -> FloatArray:
    """Return the (N,) areas of polygons (N, K, 2) by the shoelace formula, without sign."""
    # relative to the first corner, so that far-away polygons keep their digits
    local = points - points[:, :1]
    following = np.roll(local, -1, axis=1)
    cross = local[:, :, 0] * following[:, :, 1] - local[:, :, 1] * following[:, :, 0]
    return np.asarray(np.abs(cross.sum(axis=1)) / 2)


def _clip(points: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
    """Cut polygons (N, K, 2) by the half-planes left of lines (N, 2): the step of Sutherland and Hodgman.

    Every edge gives the point where it crosses the line and its end where that is kept; what is given is
    moved to the front and the rest filled with the last point given, which adds no area.
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


def _oriented(points: FloatArray) -> FloatArray:
    """Return the polygons in the order that keeps their inside to the left of every edge."""
    following = np.roll(points, -1, axis=1)
    signed = (points[:, :, 0] * following[:, :, 1] - points[:, :, 1] * following[:, :, 0]).sum(axis=1)
    return np.where(signed[:, None, None] < 0, points[:, ::-1], points)


def _intersection(points: FloatArray, convex: FloatArray) -> FloatArray:
    window = _oriented(convex)
    for i in range(window.shape[1]):
        points = _clip(points, window[:, i], window[:, (i + 1) % window.shape[1]])
    return points


def polygon_iou(first: FloatArray, second: FloatArray, size: tuple[int, int] | None) -> FloatArray:
    """Return the (N,) exact intersection over union of regions, as the GOT-10k toolkit's `poly_iou`.

    Regions are (N, 4) or (N, 8); both are bounded by an image of `size` (width, height) first where one is
    given. One of each pair must be convex: a rectangle is taken for it where there is one, else the first.
    Not finite gives nan.
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
    inter = polygon_area(inside)
    union = polygon_area(subject) + polygon_area(window) - inter
    overlaps = np.full(len(first), np.nan)
    overlaps[finite] = np.clip(inter / (union + _EPS), 0, 1)
    return overlaps
