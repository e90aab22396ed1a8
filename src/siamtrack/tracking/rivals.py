"""Other objects beside the target: where they were in the frame before tells them from the target.

Objects of one kind look alike, but do not change places between two frames. A candidate that lies on the last box of
another object rather than on the target's is that object again, however well it scores. This is not in the papers,
whose memory of distractors (`siamtrack.tracking.distractors`) compares what they look like.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from siamtrack.geometry.boxes import box_iou, cxcywh_to_xyxy, nms
from siamtrack.tracking.select import Ranking

# A candidate is another object if it scores more than this share of the winner's score ...
_SCORE = 0.3
# ... and overlaps it by less; it is that object again from this overlap on.
_OVERLAP = 0.3
# Factor on the rank of what was another object in the frame before.
_DAMPED = 0.5


def avoid(ranking: Ranking, target: Tensor, rivals: Tensor) -> Ranking:
    """Lower the ranks of candidates that overlap a rival's last box, and that by more than the target's.

    Args:
        ranking: of N x K candidates.
        target: (N, 4) xyxy last boxes of the targets in crop pixels.
        rivals: (N, R, 4) those of their rivals; boxes without area where there are fewer.
    """
    boxes = _corners(ranking)
    near = box_iou(boxes, target[:, None])
    # One rival after the other: a table of all candidates and all rivals would be the largest of a step.
    other = torch.stack([box_iou(boxes, rival[:, None]) for rival in rivals.unbind(1)]).amax(0)
    taken = (other > near) & (other > _OVERLAP)
    return replace(ranking, ranks=torch.where(taken, ranking.ranks * _DAMPED, ranking.ranks))


def spot(ranking: Ranking, winner: Tensor, count: int) -> Tensor:
    """The best other objects: (N, count, 4) centre and size in crop pixels, of size 0 where there are fewer.

    Args:
        ranking: of N x K candidates.
        winner: (N, 1) index of the candidate that is the target.
        count: R, at most K.
    """
    boxes = _corners(ranking)
    chosen = boxes.gather(1, winner[..., None].expand(-1, -1, 4))
    apart = box_iou(boxes, chosen) < _OVERLAP
    strong = ranking.scores > _SCORE * ranking.scores.gather(1, winner)
    scores = torch.where(apart & strong, ranking.scores, -1.0)
    index = nms(boxes, scores, count)
    found = torch.cat([ranking.candidates.centres, ranking.sizes], -1).gather(1, index[..., None].expand(-1, -1, 4))
    there = scores.gather(1, index)[..., None] > 0
    return torch.cat([found[..., :2], torch.where(there, found[..., 2:], 0.0)], -1)


def _corners(ranking: Ranking) -> Tensor:
    return cxcywh_to_xyxy(torch.cat([ranking.candidates.centres, ranking.sizes], -1))
