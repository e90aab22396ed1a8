"""Which proposals of a first stage go on to a second: the best apart from each other, and the one that stays put."""

from __future__ import annotations

import torch
from torch import Tensor

from siamtrack.geometry.boxes import box_iou

__all__ = ["nearest_to", "nms", "propose"]

# Among proposals that overlap the last box by more, the best scored one counts as the nearest (published code).
_NEAR = 0.8
# Suppression looks at so many proposals: more are never reached.
_POOL = 256


def nms(boxes: Tensor, scores: Tensor, count: int, overlap: float = 0.5) -> Tensor:
    """Greedy non-maximum suppression, batched: the best box, then the best that overlaps none of those before.

    Args:
        boxes: (B, P, 4) xyxy.
        scores: (B, P), finite.
        count: how many are wanted of each row, at most P.
        overlap: boxes with a higher overlap than this with a chosen one are dropped.

    Returns:
        (B, count) indices, best first. Where fewer boxes are left, the rest are those of the highest score that
        were dropped.
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


def nearest_to(boxes: Tensor, scores: Tensor, last: Tensor) -> Tensor:
    """The proposal nearest to the target's last box: (B, P, 4), (B, P) in [0, 1], (B, 4) -> (B, 1) indices.

    The best scored of those that overlap it by more than 0.8, else the one that overlaps it most (published code).
    """
    overlap = box_iou(boxes, last[:, None])
    return torch.where(overlap > _NEAR, 1 + scores, overlap).argmax(1, keepdim=True)


def propose(boxes: Tensor, scores: Tensor, last: Tensor, count: int, overlap: float = 0.5) -> Tensor:
    """SPM's proposals: the `count` - 1 best after suppression, and the one nearest to the last box, always kept.

    Args:
        boxes: (B, P, 4) xyxy.
        scores: (B, P) in [0, 1].
        last: (B, 4) xyxy, where the target was.
        count: K; 9 in the paper.
        overlap: of the suppression.

    Returns:
        (B, count) indices, the nearest one last.
    """
    near = nearest_to(boxes, scores, last)
    if count == 1:
        return near
    others = scores.scatter(1, near, -1.0)
    return torch.cat([nms(boxes, others, count - 1, overlap), near], 1)
