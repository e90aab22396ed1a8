"""SiamCAR's three losses (section 3.2): classification, centre-ness, and overlap weighted by centre-ness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.models.heads.car import SideTargets, decode_sides, side_iou
from siamtrack.models.siamese import Maps
from siamtrack.training.distributed import joint_count

__all__ = ["car_loss"]


def car_loss(maps: Maps, targets: SideTargets) -> dict[str, Tensor]:
    """The unweighted terms `cls`, `cen` and `loc`.

    `cls` is half the mean cross-entropy over positive cells plus half that over negative ones, so that
    neither drowns the other; a batch without positives has the negative half only. `loc` is
    -log((I + 1) / (U + 1)), as the reference has it, weighted by the target's centre-ness; `cen` is binary
    cross-entropy. Both look at positive cells alone and are 0 where there are none. Where several processes
    train, cells are counted over all of them.

    Args:
        maps: `cls` (B, 2, R, R), `cen` (B, 1, R, R) and `loc` (B, 4, R, R), as `CarHead` gives them.
        targets: of the same R, as `SidesCoder.encode` gives them.

    Returns:
        Three scalars.
    """
    logits = maps["cls"].float().log_softmax(1).flatten(2)
    positive = targets.positive
    negative = ~positive
    count = joint_count(positive.sum())
    cls_positive = -(logits[:, 1] * positive).sum() / count
    cls_negative = -(logits[:, 0] * negative).sum() / joint_count(negative.sum())
    weight = targets.centreness * positive
    inter, union = side_iou(decode_sides(maps), targets.sides.clamp(min=0))
    overlap = -torch.log((inter + 1) / (union + 1))
    cen = F.binary_cross_entropy_with_logits(
        maps["cen"].float().flatten(1), targets.centreness, weight=positive.float(), reduction="sum"
    )
    return {
        "cls": 0.5 * cls_positive + 0.5 * cls_negative,
        "cen": cen / count,
        "loc": (overlap * weight).sum() / joint_count(weight.sum(), floor=1e-6),
    }
