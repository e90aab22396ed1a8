"""From pairs of crops to a training batch: jittered regions, the one `cut()`, pasted pieces and colours.

What is drawn is a few numbers a pair, from one generator, and is decided on the CPU, ahead of the batch's turn; the
pixels are made where the images lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from siamtrack.config import Crops, Data, Jitter
from siamtrack.data.pairs import Pairs
from siamtrack.data.paste import draw_paste
from siamtrack.data.photometric import draw_photometric
from siamtrack.data.pixels import Pictures
from siamtrack.data.render import View, render
from siamtrack.geometry.crop import Crop, Region, target_region

__all__ = ["Batch", "Plan", "jittered", "plan_batch", "render_batch"]


@dataclass(frozen=True)
class Batch:
    """B training pairs.

    Attributes:
        template: (B, 3, T, T) float32 RGB 0..255.
        search: (B, 3, S, S) float32 RGB 0..255.
        boxes: (B, 4) xyxy of the search crop's own object, in its pixels.
        present: (B,) bool: the template shows that object.
        pairs: where they came from.
        keys: the crops' names, as `template/search`.
        template_boxes: (B, 4) xyxy of the template crop's own object, in its pixels.
    """

    template: Tensor
    search: Tensor
    boxes: Tensor
    present: Tensor
    pairs: Pairs
    keys: tuple[str, ...] = ()
    template_boxes: Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """B training pairs for which chance has decided everything, and no pixel is made yet; all of it on the CPU.

    Attributes:
        template: the templates.
        search: the search regions.
        boxes: as in `Batch`.
        template_boxes: as in `Batch`.
        pairs: as in `Batch`.
        keys: as in `Batch`.
    """

    template: View
    search: View
    boxes: Tensor
    template_boxes: Tensor
    pairs: Pairs
    keys: tuple[str, ...]


def render_batch(plan: Plan, crops: Pictures) -> Batch:
    """Make the pixels of a batch, on the device of those of `crops`."""
    template, search = render(crops, (plan.template, plan.search))
    boxes, inner, present = (
        a.to(crops.images.device, non_blocking=True) for a in (plan.boxes, plan.template_boxes, plan.pairs.present)
    )
    return Batch(template, search, boxes, present, plan.pairs, plan.keys, inner)


def plan_batch(crops: Pictures, pairs: Pairs, sizes: Crops, data: Data, rng: torch.Generator) -> Plan:
    """Decide where `pairs` of `crops` are cut, mirrored, pasted into and how they are recoloured."""
    count = len(pairs.present)
    flip = torch.rand(count, generator=rng) < data.flip
    wide = sizes.template_crop or sizes.template
    # A part is one of the same picture on both sides, so that it is the same part.
    share = torch.rand(count, 4, generator=rng)
    part = (torch.rand(count, generator=rng) < data.parts) & pairs.present
    index = torch.where(part, pairs.search, pairs.template)
    own = [_targets(crops, side, part, share) for side in (index, pairs.search)]
    near, inner = _regions(own[0], wide, sizes, data.template, flip, rng)
    region, boxes = _regions(own[1], sizes.search, sizes, data.search, flip, rng)
    pieces = draw_paste(boxes, sizes.search, crops, pairs.other, data, rng)
    grey = torch.rand(count, generator=rng) < data.grey
    looks = [draw_photometric(grey, data, rng) for _ in range(2)]
    views = View(index, near, wide, looks[0]), View(pairs.search, region, sizes.search, looks[1], pieces)
    names = zip(index.tolist(), pairs.search.tolist(), strict=True)
    keys = tuple(f"{crops.keys[t]}/{crops.keys[s]}" for t, s in names)
    return Plan(*views, boxes, inner, pairs, keys)


def jittered(region: Region, size: int, jitter: Jitter, u: Tensor) -> Region:
    """Change N regions at random.

    Args:
        region: squares that show `size` crop pixels.
        size: side of the crops in pixels; the shift is stated in these.
        jitter: how much.
        u: (N, 4) uniform in [-1, 1]: shift in x and y, and two numbers for scale and aspect.
    """
    if jitter.law == "uniform":
        # PySOT's augmentation: a factor each for width and height, and a shift that does not know of them.
        return Region(
            region.centre + u[:, :2] * jitter.shift * (region.side[:, None] / size),
            region.side,
            1 + u[:, 2:] * jitter.scale,
        )
    side = region.side * torch.exp(u[:, 2] * math.log1p(jitter.scale))
    stretch = torch.exp(u[:, 3:] * math.log1p(jitter.aspect) / 2)
    # Spatial-aware sampling (SiamRPN++, section 3.1): the target lies anywhere within the shift.
    centre = region.centre + u[:, :2] * jitter.shift * (side[:, None] / size)
    return Region(centre, side, torch.cat([stretch, 1 / stretch], 1))


def _targets(crops: Pictures, index: Tensor, part: Tensor, share: Tensor) -> Tensor:
    """(B, 4) boxes of the crops `index`; where `part` holds, of a part of the object that `share` (B, 4) names."""
    boxes = crops.boxes[index]
    size = boxes[:, 2:] - boxes[:, :2]
    smaller = size * (0.4 + 0.5 * share[:, :2])
    low = boxes[:, :2] + share[:, 2:] * (size - smaller)
    return torch.where(part[:, None], torch.cat([low, low + smaller], 1), boxes)


def _regions(
    boxes: Tensor, size: int, sizes: Crops, jitter: Jitter, flip: Tensor, rng: torch.Generator
) -> tuple[Region, Tensor]:
    """Jittered regions around `boxes` for crops of `size` pixels, and these boxes (B, 4) in them."""
    u = torch.rand(len(boxes), 5, generator=rng) * 2 - 1
    region = jittered(target_region(boxes, sizes.context, size / sizes.template), size, jitter, u[:, :4])
    assert region.stretch is not None
    # A negative stretch runs from right to left: a mirrored crop costs nothing more than a plain one.
    mirror = torch.stack([1 - 2 * flip.float(), torch.ones(len(flip))], 1)
    turn = u[:, 4] * math.radians(jitter.turn) if jitter.turn else None
    region = Region(region.centre, region.side, region.stretch * mirror, turn)
    # The way into a crop depends on its size alone: an empty one knows it before there are pixels.
    ends = Crop(torch.empty(0, 3, size, size), region).to_crop(boxes).reshape(-1, 2, 2)
    return region, torch.cat([ends.amin(1), ends.amax(1)], 1)
