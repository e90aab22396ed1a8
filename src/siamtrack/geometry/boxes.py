"""Boxes as people write them (x, y, w, h) and as tensors hold them (x0, y0, x1, y1).

Coordinates are continuous pixels: pixel i covers [i, i + 1), so a whole frame is the box (0, 0, W, H), and an area is
the product of the sides, with no +1 anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from siamtrack.errors import InputError

__all__ = ["Box", "as_boxes", "box_iou", "cxcywh_to_xyxy", "nms", "xywh_to_xyxy", "xyxy_to_cxcywh", "xyxy_to_xywh"]

# Sides with which every result in single precision stays finite and above 0.
_MIN_SIDE, _MAX_SIDE = 0.01, 1e6
# Suppression looks only at this many of the best boxes.
_POOL = 256


class Box(NamedTuple):
    """An upright box in continuous pixels: left, top, width and height."""

    x: float
    y: float
    w: float
    h: float


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) left, top, width, height -> (..., 4) left, top, right, bottom."""
    return torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """(..., 4) left, top, right, bottom -> (..., 4) left, top, width, height."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) centre and size -> (..., 4) left, top, right, bottom."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) left, top, right, bottom -> (..., 4) centre and size."""
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], dim=-1)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of xyxy boxes, element by element with broadcasting: (..., 4), (..., 4) -> (...).

    Boxes of no area have overlap 0 with everything.
    """
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inter
    return inter / union.clamp(min=1e-9)


def nms(boxes: Tensor, scores: Tensor, count: int, overlap: float = 0.5) -> Tensor:
    """Greedy non-maximum suppression, batched: the best box, then the best that overlaps none of those before.

    Args:
        boxes: (B, P, 4) xyxy.
        scores: (B, P), finite.
        count: boxes to return for each row, at most P.
        overlap: boxes that overlap a chosen one by more are dropped.

    Returns:
        (B, count) indices, best first; filled with the best of the dropped boxes if too few are left.
    """
    pool = min(_POOL, boxes.shape[1])
    top, order = scores.topk(pool, dim=1)
    near = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    # Dropped boxes keep their order, below all others.
    below = top.amax(1, keepdim=True) - top.amin(1, keepdim=True) + 1
    chosen = []
    for _ in range(count):
        best = top.argmax(1, keepdim=True)
        chosen.append(best)
        box = near.gather(1, best[..., None].expand(-1, -1, 4))
        top = torch.where(box_iou(near, box) > overlap, top - below, top)
        top = top.scatter(1, best, -torch.inf)
    return order.gather(1, torch.cat(chosen, 1))


def as_boxes(boxes: Sequence[float] | Sequence[Sequence[float]] | np.ndarray | Tensor, size: tuple[int, int]) -> Tensor:
    """Check boxes that a person gave and return them as a float32 tensor.

    Args:
        boxes: one (x, y, w, h) or N of them, continuous pixels.
        size: (width, height) of the frame that they belong to.

    Returns:
        (N, 4) xyxy on the CPU.

    Raises:
        InputError: not four finite numbers a box, no area, sides out of range, or wholly outside the frame.
    """
    try:
        rows = np.asarray(boxes.detach().cpu() if isinstance(boxes, Tensor) else boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"a box is four numbers x,y,w,h; got {boxes!r}") from error
    if rows.ndim == 1:
        rows = rows[None]
    if rows.ndim != 2 or rows.shape[1] != 4 or len(rows) == 0:
        raise InputError(f"a box is four numbers x,y,w,h; got an array of shape {tuple(np.shape(boxes))}")
    width, height = size
    for x, y, w, h in rows.tolist():
        text = f"{x:g},{y:g},{w:g},{h:g}"
        if not all(map(math.isfinite, (x, y, w, h))):
            raise InputError(f"a box is four finite numbers x,y,w,h; got {text}")
        if w <= 0 or h <= 0:
            raise InputError(f"a box needs a width and a height above 0; got {text}")
        if min(w, h) < _MIN_SIDE or max(w, h) > _MAX_SIDE:
            raise InputError(f"a box has sides of {_MIN_SIDE:g} to {_MAX_SIDE:g} pixels; got {text}")
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            raise InputError(f"the box {text} lies outside the frame of {width}x{height} pixels")
    return xywh_to_xyxy(torch.from_numpy(rows)).float()
