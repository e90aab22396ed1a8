"""From pairs of crops to a training batch: jittered regions, the one `cut()`, pasted pieces and colours.

Everything runs on the device that holds the images; every random number comes from one generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from siamtrack.config import Crops, Data, Jitter
from siamtrack.data.pairs import Pairs
from siamtrack.data.paste import paste
from siamtrack.data.photometric import recolour
from siamtrack.data.pixels import Pictures, cut_each, edge_colour
from siamtrack.geometry.crop import Region, target_region

__all__ = ["Batch", "jittered", "make_batch"]


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


def make_batch(crops: Pictures, pairs: Pairs, sizes: Crops, data: Data, rng: torch.Generator) -> Batch:
    """Cut, mirror, paste and recolour `pairs` of `crops`, on the crops' device."""
    device, count = crops.images.device, len(pairs.present)
    flip = torch.rand(count, generator=rng) < data.flip
    wide = sizes.wide_template or sizes.template
    # A part is one of the same picture on both sides, so that it is the same part.
    share = torch.rand(count, 4, generator=rng)
    part = (torch.rand(count, generator=rng) < data.parts) & pairs.present
    index = torch.where(part, pairs.search, pairs.template)
    own = [_targets(crops, side, part, share) for side in (index, pairs.search)]
    template, inner = _cut_side(crops, index, own[0], wide, sizes, data.template, flip, rng)
    search, boxes = _cut_side(crops, pairs.search, own[1], sizes.search, sizes, data.search, flip, rng)
    paste(search, boxes, crops, pairs.other, data, rng)
    grey = torch.rand(count, generator=rng) < data.grey
    recolour(template, grey, data, rng)
    recolour(search, grey, data, rng)
    names = zip(index.tolist(), pairs.search.tolist(), strict=True)
    keys = tuple(f"{crops.keys[t]}/{crops.keys[s]}" for t, s in names)
    return Batch(template, search, boxes, pairs.present.to(device), pairs, keys, inner)


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
    # Spatial-aware sampling (SiamRPN++, section 3.2): the target lies anywhere within the shift.
    centre = region.centre + u[:, :2] * jitter.shift * (side[:, None] / size)
    return Region(centre, side, torch.cat([stretch, 1 / stretch], 1))


def _targets(crops: Pictures, index: Tensor, part: Tensor, share: Tensor) -> Tensor:
    """(B, 4) boxes of the crops `index`; where `part` holds, of a part of the object that `share` (B, 4) names."""
    boxes = crops.boxes[index.to(crops.boxes.device)]
    part, share = part.to(boxes.device), share.to(boxes.device)
    size = boxes[:, 2:] - boxes[:, :2]
    smaller = size * (0.4 + 0.5 * share[:, :2])
    low = boxes[:, :2] + share[:, 2:] * (size - smaller)
    return torch.where(part[:, None], torch.cat([low, low + smaller], 1), boxes)


def _cut_side(
    crops: Pictures,
    index: Tensor,
    boxes: Tensor,
    size: int,
    sizes: Crops,
    jitter: Jitter,
    flip: Tensor,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Templates or search regions (B, 3, size, size) around `boxes`, and these boxes in them."""
    u = torch.rand(len(index), 5, generator=rng) * 2 - 1
    region = target_region(boxes, sizes.context, size / sizes.template)
    u = u.to(boxes.device)
    region = jittered(region, size, jitter, u[:, :4])
    assert region.stretch is not None
    mirror = torch.stack([1 - 2 * flip.float(), torch.ones(len(index))], 1).to(boxes.device)
    # A negative stretch runs from right to left: a mirrored crop costs nothing more than a plain one.
    turn = u[:, 4] * math.radians(jitter.turn) if jitter.turn else None
    region = Region(region.centre, region.side, region.stretch * mirror, turn)
    crop = cut_each(crops.images, index, region, size, edge_colour(crops.images, index))
    ends = crop.to_crop(boxes).reshape(-1, 2, 2)
    return crop.pixels, torch.cat([ends.amin(1), ends.amax(1)], 1)
