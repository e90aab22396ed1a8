"""Regions as benchmarks write them: arrays of rectangles and polygons in continuous pixels, one row a frame.

An (N, 4) array holds rectangles `x, y, w, h`; an (N, 8) array holds polygons of four corners `x1, y1, .., x4, y4`, and
a row whose last four numbers are nan is a rectangle. A row of nan is a frame without a region.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def is_rectangle(regions: FloatArray) -> BoolArray:
    """Return the (N,) mask of the rows that are rectangles (rows of nan count as such)."""
    if regions.shape[1] == 4:
        return np.ones(len(regions), dtype=np.bool_)
    return np.asarray(np.isnan(regions[:, 4:]).all(axis=1), dtype=np.bool_)


def missing(regions: FloatArray) -> BoolArray:
    """Return the (N,) mask of the rows without a usable region: some number of it is nan or infinite."""
    found = ~np.isfinite(regions[:, :4]).all(axis=1)
    if regions.shape[1] == 8:
        found |= ~(np.isfinite(regions[:, 4:]).all(axis=1) | is_rectangle(regions))
    return np.asarray(found, dtype=np.bool_)


def widen(regions: FloatArray) -> FloatArray:
    """Return the same regions as an (N, 8) array, rectangles padded with nan."""
    if regions.shape[1] == 8:
        return regions
    wide = np.full((len(regions), 8), np.nan)
    wide[:, :4] = regions
    return wide


def corners(regions: FloatArray) -> FloatArray:
    """Return the (N, 4, 2) corners of all regions; a rectangle's go x, x + w, x + w, x."""
    boxes = is_rectangle(regions)
    points = np.empty((len(regions), 4, 2))
    if regions.shape[1] == 8:
        points[~boxes] = regions[~boxes].reshape(-1, 4, 2)
    x, y, w, h = regions[boxes, :4].T
    points[boxes] = np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1).reshape(-1, 4, 2)
    return points


def as_rectangles(regions: FloatArray) -> FloatArray:
    """Return (N, 4) rectangles: as they are, or the axis-aligned bounds of polygons."""
    if regions.shape[1] == 4:
        return regions
    rectangles = regions[:, :4].copy()
    polygons = ~is_rectangle(regions)
    xs, ys = regions[polygons, 0::2], regions[polygons, 1::2]
    left, top = xs.min(axis=1, initial=np.inf), ys.min(axis=1, initial=np.inf)
    width, height = xs.max(axis=1, initial=-np.inf) - left, ys.max(axis=1, initial=-np.inf) - top
    rectangles[polygons] = np.stack([left, top, width, height], axis=1)
    return rectangles
