"""The loss of the proposal head: classification of sampled anchors and offsets of the positive ones."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from siamtrack.models.heads.anchors import AnchorTargets
from siamtrack.models.siamese import Maps
from siamtrack.training.distributed import joint_count

__all__ = ["rpn_loss"]


def rpn_loss(maps: Maps, targets: AnchorTargets, smooth: bool = False) -> dict[str, Tensor]:
    """The two terms of SiamRPN's and SiamRPN++'s training, unweighted (the published code weighs them 1 and 1.2).

    Positive and negative anchors of the batch make up one half each of the classification term, whatever
    their number. The offsets' distance is averaged over the positives of each pair, summed over the four
    offsets and averaged over the pairs. Where several processes train, anchors are counted over all of them.

    Args:
        maps: `cls` (B, 2 * A, R, R) and `loc` (B, 4 * A, R, R), as `RpnHead` gives them.
        targets: of the same A and R.
        smooth: the distance is smooth L1 with its bend at 1, as in SiamRPN's paper (section 3.2), not L1 as in
            PySOT's code.

    Returns:
        `cls` and `loc`, scalars.
    """
    labels = targets.labels
    logits = maps["cls"].float().reshape(len(labels), 2, *labels.shape[1:])
    surprise = F.cross_entropy(logits, labels.clamp(min=0), reduction="none")
    cls = 0.5 * (_mean(surprise, labels == 1) + _mean(surprise, labels == 0))
    distance = F.smooth_l1_loss if smooth else F.l1_loss
    error = distance(maps["loc"].float().reshape(targets.deltas.shape), targets.deltas, reduction="none").sum(1)
    loc = (error * targets.weights).sum() / len(error)
    return {"cls": cls, "loc": loc}


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean of the values where the mask is set; 0 where it is empty."""
    return (values * where).sum() / joint_count(where.sum())
