"""Boxes as tensors hold them (x0, y0, x1, y1); `geometry/inputs.py` has those that people give (x, y, w, h).

Coordinates are continuous pixels: pixel i covers [i, i + 1), so a whole frame is the box (0, 0, W, H), and an area is
the product of the sides, with no +1 anywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from siamtrack.geometry.inputs import Boxes, checked_boxes

# Suppression looks only at this many of the best boxes.
_POOL = 256


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

    Of `boxes` (B, P, 4) xyxy with finite `scores` (B, P), those that overlap a chosen one by more than `overlap` are
    dropped.

    Returns:
        (B, count) indices, best first. If too few are left, dropped boxes follow: those that overlap the fewest of the
        chosen ones, of these the best.
    """
    pool = min(_POOL, boxes.shape[1])
    top, order = scores.topk(pool, dim=1)
    near = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    # Each chosen box that a box overlaps puts it below all that overlap fewer.
    below = top.amax(1, keepdim=True) - top.amin(1, keepdim=True) + 1
    chosen = []
    for _ in range(count):
        best = top.argmax(1, keepdim=True)
        chosen.append(best)
        box = near.gather(1, best[..., None].expand(-1, -1, 4))
        top = torch.where(box_iou(near, box) > overlap, top - below, top)
        top = top.scatter(1, best, -torch.inf)
    return order.gather(1, torch.cat(chosen, 1))


def as_boxes(boxes: Boxes, size: tuple[int, int]) -> Tensor:
    """Boxes that a person gave as a float32 tensor (N, 4) xyxy on the CPU; see `checked_boxes`, also for its errors."""
    return xywh_to_xyxy(torch.from_numpy(checked_boxes(boxes, size))).float()
