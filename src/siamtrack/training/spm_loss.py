"""The four terms of SPM's training: SiamRPN's two for the coarse stage, and two for the fine one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.geometry.boxes import box_iou, cxcywh_to_xyxy, xyxy_to_cxcywh
from siamtrack.models.fine import box_offsets
from siamtrack.models.siamese import Candidates
from siamtrack.training.distributed import joint_count

__all__ = ["FineSamples", "fine_loss", "fine_samples"]

# Proposals a pair that the fine stage learns from, one half of them positive.
_SAMPLES = 48
# A proposal is positive from this overlap with the target on.
_POSITIVE = 0.5
# Negatives are drawn from so many of the best scored proposals: those that the fine stage will meet.
_HARD = 256
# So many shaken copies of the target join the proposals, for a coarse stage that has yet to learn has no good ones;
# their centres move by up to this share of the sides, their sides by up to this share.
_COPIES = 32
_SHAKE = 0.15


@dataclass(frozen=True)
class FineSamples:
    """Proposals for the fine stage to learn from, S a pair.

    Attributes:
        boxes: (B, S, 4) centre and size in crop pixels; places left empty hold the target itself.
        positive: (B, S) bool.
        used: (B, S) bool; False where there were fewer proposals than places.
        offsets: (B, S, 4) that lead to the target, in the network's units; meaningful where positive.
    """

    boxes: Tensor
    positive: Tensor
    used: Tensor
    offsets: Tensor


def fine_samples(
    found: Candidates, boxes: Tensor, present: Tensor, rng: torch.Generator, count: int = _SAMPLES
) -> FineSamples:
    """Draw proposals, one half that overlap the target by at least 0.5, one half that overlap it less.

    The paper draws 48 a pair, 1 : 1; that negatives come from the 256 best scored ones, and that shaken copies of
    the target stand in for good proposals, are choices of this project.

    Args:
        found: B x P decoded proposals of the coarse stage, with sizes; no gradient flows into them.
        boxes: (B, 4) xyxy of the search crop's own object.
        present: (B,) bool; a negative pair has no positives.
        rng: on the CPU.
        count: S.
    """
    if found.sizes is None:
        raise ValueError("proposals need sizes")
    target = xyxy_to_cxcywh(boxes)
    proposals = torch.cat([found.centres, found.sizes], -1).detach()
    pool = torch.cat([proposals, _shaken(target, rng)], 1)
    overlap = box_iou(cxcywh_to_xyxy(pool), boxes[:, None])
    positive = (overlap >= _POSITIVE) & present[:, None]
    best = found.scores.detach().topk(min(_HARD, found.scores.shape[1]), dim=1).indices
    hard = torch.zeros_like(positive).scatter(1, best, True)
    negative = (overlap < _POSITIVE) & hard | ~present[:, None] & hard
    drawn = [_draw(mask, count // 2, rng) for mask in (positive, negative)]
    index = torch.cat([places for places, _ in drawn], 1)
    used = torch.cat([valid for _, valid in drawn], 1)
    chosen = pool.gather(1, index[..., None].expand(-1, -1, 4))
    chosen = torch.where(used[..., None], chosen, target[:, None])
    return FineSamples(
        chosen, positive.gather(1, index) & used, used, box_offsets(chosen, target[:, None].expand_as(chosen))
    )


def _shaken(target: Tensor, rng: torch.Generator) -> Tensor:
    """(B, 4) centre and size -> (B, copies, 4) moved and scaled at random."""
    noise = (torch.rand(len(target), _COPIES, 4, generator=rng) * 2 - 1).to(target) * _SHAKE
    centres = target[:, None, :2] + noise[..., :2] * target[:, None, 2:]
    return torch.cat([centres, target[:, None, 2:] * noise[..., 2:].exp()], -1)


def _draw(mask: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B, P) bool -> (B, count) indices of True places drawn at random, and which of them really are True."""
    keys = torch.rand(mask.shape, generator=rng).to(mask.device)
    values, index = keys.masked_fill(~mask, -1.0).topk(count, dim=1)
    return index, values >= 0


def fine_loss(logits: Tensor, offsets: Tensor, samples: FineSamples) -> dict[str, Tensor]:
    """Cross-entropy over the samples, and smooth L1 of the positive ones' offsets, summed over the four.

    Where several processes train, samples are counted over all of them.

    Args:
        logits: (B, S, 2) of background and target.
        offsets: (B, S, 4) in the network's units.
        samples: what they should be.

    Returns:
        `fine_cls` and `fine_loc`, scalars; 0 where there is nothing to learn from.
    """
    surprise = F.cross_entropy(
        logits.float().flatten(0, 1), samples.positive.long().flatten(), reduction="none"
    ).reshape(samples.used.shape)
    error = F.smooth_l1_loss(offsets.float(), samples.offsets, reduction="none").sum(-1)
    return {
        "fine_cls": (surprise * samples.used).sum() / joint_count(samples.used.sum()),
        "fine_loc": (error * samples.positive).sum() / joint_count(samples.positive.sum()),
    }
