"""Overlaps and distances of axis-aligned rectangles: pure functions of (N, 4) arrays `x, y, w, h` in pixels.

Overlaps of rotated regions have their own modules: `raster` counts pixels as the VOT scorers do and `polygon`
computes areas exactly. No function here warns or raises on nan or empty boxes: nan goes in, nan comes out.
"""

from __future__ import annotations

import numpy as np

from siamtrack.geometry.regions import FloatArray

__all__ = ["center_distance", "centers", "clip_rectangles", "rectangle_iou"]


def rectangle_iou(first: FloatArray, second: FloatArray, *, eps: float = 0.0) -> FloatArray:
    """Return the intersection over union of each pair of rectangles, in [0, 1].

    `first` and `second` are (N, 4) with equal N; the result is (N,), nan where a box is nan or both are
    empty. `eps` is added to the union (the GOT-10k toolkit adds the machine epsilon, the others nothing).
    This is the continuous area that the OTB, LaSOT and PySOT scorers use: their +1 and -1 cancel.
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

    That rule clips the corner and then the size against what is left, so a box that starts left of the image
    is moved into it with its width kept.
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
        # np.power keeps the last bit of the scorers that this is compared with
        return np.asarray(np.sqrt(np.sum(np.power(first - second, 2), axis=1)))
