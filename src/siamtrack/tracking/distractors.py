"""DaSiamRPN's memory (section 3.3): the best proposals are compared with the target and with what it was mixed up with.

The likeness of two patches is the product of their template features, each of length one: a cross-correlation at the
one place where both lie on each other. As that is linear, the memory is two running means, however many distractors
there were (equations 3 and 4).

Where the paper is silent: the likeness is added to the proposal's rank (score, penalty and window), so that motion
still counts; and the distractors of a frame have the weight alpha = 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.config import Preset
from siamtrack.geometry.boxes import cxcywh_to_xyxy, nms
from siamtrack.models.siamese import Matcher, Template
from siamtrack.tracking.select import Ranking
from siamtrack.tracking.view import View, repeated


@dataclass(frozen=True)
class Memory:
    """What N targets and their distractors looked like so far; D features each, on the network's device.

    Attributes:
        target: (N, D) weighted sum of the target's features over the frames.
        target_weight: (N,) sum of its weights.
        rivals: (N, D) weighted sum of all distractors' features.
        rival_weight: (N,) sum of their weights; 0 where there were none.
        frames: (N,) number of frames seen.
    """

    target: Tensor
    target_weight: Tensor
    rivals: Tensor
    rival_weight: Tensor
    frames: Tensor

    def rows(self, index: Tensor) -> Memory:
        """The memory of the targets `index`."""
        return Memory(*(getattr(self, f.name)[index.to(self.target.device)] for f in fields(self)))

    def replaced(self, index: Tensor, part: Memory) -> Memory:
        """The memory with `part` in place of the targets `index`."""
        at = index.to(self.target.device)
        return Memory(*(getattr(self, f.name).index_copy(0, at, getattr(part, f.name)) for f in fields(self)))

    def joined(self, other: Memory) -> Memory:
        """The memory of these targets, and after them of others."""
        return Memory(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


def remember(template: Template, rate: float) -> Memory:
    """The memory after the first frame: the target and no distractor."""
    seen = _features(template)
    none, nothing = torch.zeros(seen.shape[0], device=seen.device), torch.zeros_like(seen)
    winner = torch.zeros(seen.shape[0], 1, dtype=torch.long, device=seen.device)
    return _updated(Memory(nothing, none, nothing, none, none), seen[:, None], winner, winner.bool(), rate)


def recall(memory: Memory, seen: Tensor, weight: float) -> Tensor:
    """Likeness to the target less `weight` times that to the distractors (equation 4): (N, K, D) -> (N, K)."""
    target = memory.target / memory.target_weight[:, None]
    rivals = memory.rivals / memory.rival_weight[:, None].clamp(min=1e-6)
    return (seen * (target - weight * rivals)[:, None]).sum(-1)


def rerank(net: Matcher, preset: Preset, view: View, ranking: Ranking, memory: Memory) -> tuple[Tensor, Memory]:
    """Choose among the best proposals by rank and memory, and remember what was seen.

    Args:
        net: embeds the proposals.
        preset: for its crops and the settings of the memory.
        view: of the N search regions.
        ranking: of the N x K candidates in it.
        memory: of the frames before.

    Returns:
        (N, 1) index of the chosen candidate, and the new memory.
    """
    track, ranks = preset.track, ranking.ranks
    boxes = torch.cat([ranking.candidates.centres, ranking.sizes], -1)
    proposals = nms(cxcywh_to_xyxy(boxes), ranks, min(track.rerank, ranks.shape[1]))
    # Their template features, cut from the frame as templates are.
    count, crops = proposals.shape[1], preset.crops
    places = view.to_frame(boxes.gather(1, proposals[..., None].expand(-1, -1, 4)))
    corners = cxcywh_to_xyxy(places).flatten(0, 1)
    fill = repeated(view.fill, count)
    close = View.around(view.frame, corners, crops, crops.template_side, fill, boxes.device)
    seen = _features(net.embed(close.pixels(), close.sizes_of(corners))).reshape(-1, count, memory.target.shape[1])
    likely = ranks.gather(1, proposals) + recall(memory, seen, track.distractor_weight)
    winner = likely.argmax(1, keepdim=True)
    rivals = (ranking.scores.gather(1, proposals) > track.distractor_over).scatter(1, winner, False)
    return proposals.gather(1, winner), _updated(memory, seen, winner, rivals, track.memory_rate)


def _features(template: Template) -> Tensor:
    """(N, D): all levels in one row, of length one."""
    return F.normalize(torch.cat([level.flatten(1).float() for level in template], 1), dim=1)


def _updated(memory: Memory, seen: Tensor, winner: Tensor, rivals: Tensor, rate: float) -> Memory:
    """Add (N, K, D) features: the `winner`'s (N, 1) to the target's, those of the mask (N, K) to the rivals'.

    Features that are not finite, as those of a frame with nan, are left out.
    """
    finite = torch.isfinite(seen).all(2)
    seen, rivals = torch.where(finite[..., None], seen, torch.zeros_like(seen)), rivals & finite
    frames = memory.frames + 1
    ratio = rate / (1 - rate)
    # Sum of the powers 0 .. t - 1 of the ratio: the weight of frame t.
    beta = (1 - ratio**frames) / (1 - ratio)
    weight = beta * finite.gather(1, winner)[:, 0]
    own = seen.gather(1, winner[..., None].expand(-1, -1, seen.shape[-1]))[:, 0]
    others = (seen * rivals[..., None]).sum(1)
    return Memory(
        memory.target + weight[:, None] * own,
        memory.target_weight + weight,
        memory.rivals + beta[:, None] * others,
        memory.rival_weight + beta * rivals.sum(1),
        frames,
    )
