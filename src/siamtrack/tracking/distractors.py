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
from siamtrack.errors import ConfigError
from siamtrack.geometry.boxes import cxcywh_to_xyxy, nms
from siamtrack.geometry.crop import Frame, Region, cut, target_region
from siamtrack.models.siamese import Candidates, Matcher, Template

__all__ = ["Memory", "recall", "remember", "rerank"]


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


def remember(template: Template, rate: float) -> Memory:
    """The memory after the first frame: the target and no distractor."""
    seen = _features(template)
    none = torch.zeros(len(seen), device=seen.device)
    return _updated(
        Memory(torch.zeros_like(seen), none, torch.zeros_like(seen), none, none),
        seen[:, None], torch.zeros(len(seen), 1, dtype=torch.long, device=seen.device),
        torch.zeros(len(seen), 1, dtype=torch.bool, device=seen.device), rate,
    )  # fmt: skip


def recall(memory: Memory, seen: Tensor, weight: float) -> Tensor:
    """Likeness to the target less `weight` times that to the distractors (equation 4): (N, K, D) -> (N, K)."""
    target = memory.target / memory.target_weight[:, None]
    rivals = memory.rivals / memory.rival_weight[:, None].clamp(min=1e-6)
    return (seen * (target - weight * rivals)[:, None]).sum(-1)


def rerank(
    net: Matcher, preset: Preset, frame: Frame, found: Candidates, ranked: Tensor, region: Region, size: int,
    fill: Tensor, memory: Memory,
) -> tuple[Tensor, Memory]:  # fmt: skip
    """Choose among the best proposals by rank and memory, and remember what was seen.

    Args:
        net: embeds the proposals, cut from the frame as templates are.
        preset: for its crops and the settings of the memory.
        frame: the frame.
        found: N x P candidates with sizes.
        ranked: (N, P) their scores with penalty and window.
        region: the N search regions.
        size: side of the search crops.
        fill: (N, 3) colour of what lies outside the frame.
        memory: of the frames before.

    Returns:
        (N, 1) index of the chosen candidate, and the new memory.

    Raises:
        ConfigError: the candidates have no sizes.
    """
    if found.sizes is None:
        raise ConfigError("track.rerank needs a network that predicts sizes; set it to 0 with this one")
    track = preset.track
    boxes = torch.cat([found.centres, found.sizes], -1)
    best = nms(cxcywh_to_xyxy(boxes), ranked, min(track.rerank, ranked.shape[1]))
    chosen = boxes.gather(1, best[..., None].expand(-1, -1, 4))
    seen = _look_at(net, preset, frame, chosen, region, size, fill)
    rank = ranked.gather(1, best) + recall(memory, seen, track.distractor_weight)
    winner = rank.argmax(1, keepdim=True)
    rivals = (found.scores.gather(1, best) > track.distractor_over).scatter(1, winner, False)
    return best.gather(1, winner), _updated(memory, seen, winner, rivals, track.memory_rate)


def _look_at(
    net: Matcher, preset: Preset, frame: Frame, boxes: Tensor, region: Region, size: int, fill: Tensor
) -> Tensor:
    """(N, K, 4) centre and size in search crops -> (N, K, D) template features of what is there."""
    count, crops, device = boxes.shape[1], preset.crops, boxes.device
    extent = (region.extent() / size)[:, None]
    centres = region.centre[:, None] + (boxes[..., :2].cpu() - size / 2) * extent
    sizes = boxes[..., 2:].cpu() * extent
    corners = cxcywh_to_xyxy(torch.cat([centres, sizes], -1)).flatten(0, 1)
    side = crops.template_crop or crops.template
    around = target_region(corners, crops.context, side / crops.template)
    patch = cut(frame, around, side, fill.repeat_interleave(count, 0), device, preset.crops.rounding)
    inside = sizes.flatten(0, 1) / (around.extent() / side)
    return _features(net.embed(patch.pixels, inside.to(device))).reshape(len(boxes), count, -1)


def _features(template: Template) -> Tensor:
    """(N, D): all levels in one row, of length one."""
    return F.normalize(torch.cat([level.flatten(1).float() for level in template], 1), dim=1)


def _updated(memory: Memory, seen: Tensor, winner: Tensor, rivals: Tensor, rate: float) -> Memory:
    """Add (N, K, D) features: the `winner`'s (N, 1) to the target's, those of the mask (N, K) to the rivals'."""
    frames = memory.frames + 1
    ratio = rate / (1 - rate)
    # Sum of the powers 0 .. t - 1 of the ratio: the weight of frame t.
    beta = (1 - ratio**frames) / (1 - ratio)
    own = seen.gather(1, winner[..., None].expand(-1, -1, seen.shape[-1]))[:, 0]
    others = (seen * rivals[..., None]).sum(1)
    return Memory(
        memory.target + beta[:, None] * own,
        memory.target_weight + beta,
        memory.rivals + beta[:, None] * others,
        memory.rival_weight + beta * rivals.sum(1),
        frames,
    )
