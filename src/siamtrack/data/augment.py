"""From pairs of crops to a training batch: jittered regions, the one `cut()`, pasted pieces and colours.

A few random numbers per pair are drawn on the CPU, from one generator, ahead of the batch's turn; pixels are made on
the device that holds the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from siamtrack.config import Crops, Data, Jitter
from siamtrack.data.pairs import NAMELESS, Pairs
from siamtrack.data.photometric import draw_photometric
from siamtrack.data.render import View, draw_paste, render
from siamtrack.data.resident import ResidentSet
from siamtrack.geometry.crop import Region, target_region
from siamtrack.models.losses import TrainingBatch

STRETCHED = 255
"""Side in pixels of the picture that siamfc-pytorch and SA-Siam's code stretch before they cut their crops from it."""


@dataclass(frozen=True, kw_only=True)
class Batch(TrainingBatch):
    """B training pairs, with the names of their crops, `template/search`, for messages of a loss that is not finite."""

    pairs: Pairs
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchPlan:
    """B training pairs, fully drawn but not rendered; all of it on the CPU.

    `boxes`, `template_boxes`, `others` and `others_alike` are as in `TrainingBatch`, `pairs` and `keys` as in `Batch`.
    """

    template: View
    search: View
    boxes: Tensor
    template_boxes: Tensor
    others: Tensor
    others_alike: Tensor
    pairs: Pairs
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """Planned pairs with what is known of their crops.

    Attributes:
        crops: that the plan's indices count.
        listed: all crops that could be drawn, without their pixels in a stream, where it is the first window; its
            tracks, sources and categories have the numbers of those of `crops`.
    """

    plan: BatchPlan
    crops: ResidentSet
    listed: ResidentSet


def render_batch(plan: BatchPlan, crops: ResidentSet) -> Batch:
    """Make the pixels of a batch, on the device of those of `crops`."""
    template, search = render(crops, (plan.template, plan.search))
    given = (plan.boxes, plan.pairs.present, plan.template_boxes, plan.pairs.alike, plan.others, plan.others_alike)
    found = [None if part is None else part.to(crops.images.device, non_blocking=True) for part in given]
    return Batch(template, search, *found, pairs=plan.pairs, keys=plan.keys)  # type: ignore[arg-type]


def plan_batch(crops: ResidentSet, pairs: Pairs, sizes: Crops, data: Data, rng: torch.Generator) -> BatchPlan:
    """Decide where `pairs` of `crops` are cut, mirrored, pasted into and how they are recoloured."""
    count = len(pairs.present)
    flip = torch.rand(count, generator=rng) < data.flip
    wide = sizes.template_side
    # A part is one of the same picture on both sides, so that it is the same part.
    share = torch.rand(count, 4, generator=rng)
    part = (torch.rand(count, generator=rng) < data.object_part_prob) & pairs.present
    index = torch.where(part, pairs.search, pairs.template)
    own = [_targets(crops, side, part, share) for side in (index, pairs.search)]
    picture = crops.images.shape[-1]
    near, inner = _regions(own[0], wide, sizes, data.template, flip, picture, rng)
    region, boxes = _regions(own[1], sizes.search, sizes, data.search, flip, picture, rng)
    others = _in_crop(region, sizes.search, crops.others[pairs.search])
    shown = (others[..., 2:] > 0).all(-1) & (others[..., :2] < sizes.search).all(-1)
    others = others.masked_fill(~shown[..., None], torch.nan)
    named = torch.tensor([name not in NAMELESS for name in crops.category_names], dtype=torch.bool)
    category = crops.categories[pairs.template][:, None]
    same_category = (crops.other_categories[pairs.search] == category) & named[category]
    alike = ~others[..., 0].isnan() & same_category & ~part[:, None]
    pasted = draw_paste(boxes, sizes.search, crops, pairs.other, data, rng)
    grey = torch.rand(count, generator=rng) < data.grey
    photometric = [draw_photometric(grey, data, rng, template) for template in (True, False)]
    views = View(index, near, wide, photometric[0]), View(pairs.search, region, sizes.search, photometric[1], pasted)
    names = zip(index.tolist(), pairs.search.tolist(), strict=True)
    keys = tuple(f"{crops.keys[t]}/{crops.keys[s]}" for t, s in names)
    return BatchPlan(*views, boxes, inner, others, alike, pairs, keys)


def jittered(region: Region, size: int, jitter: Jitter, u: Tensor) -> Region:
    """Change N regions at random: squares that show `size` crop pixels, in which the jitter's shift is stated.

    `u` (N, 4), uniform between -1 and 1, decides the shift in x and y, and with two numbers scale and aspect.
    """
    if jitter.law == "uniform":
        # PySOT's augmentation: a factor each for width and height, and a shift that does not know of them.
        return Region(
            region.centre + u[:, :2] * jitter.shift * (region.side[:, None] / size),
            region.side,
            1 + u[:, 2:] * jitter.scale,
        )
    if jitter.law in ("siamfc", "sa_siam"):
        # One factor for both sides, then two cuts that take 2 * shift pixels off each: the first from the middle, the
        # second anywhere. siamfc-pytorch (siamfc/transforms.py) rounds halves to even and reaches both ends;
        # SA-Siam's TensorFlow (datasets/transforms.py) rounds towards 0 and stops one pixel before the last.
        margin, whole = 2 * jitter.shift, jitter.law == "siamfc"
        stretched = (STRETCHED * (1 + u[:, 2:3] * jitter.scale)).round()
        spare = (stretched - STRETCHED + margin) / 2
        first = spare.round() if whole else spare.trunc()
        places = margin + 1 if whole else max(margin, 1)
        second = ((u[:, :2] + 1) / 2 * places).floor().clamp(max=places - 1)
        side = region.side * STRETCHED / stretched[:, 0]
        away = stretched / 2 - first - second - (STRETCHED - 2 * margin) / 2
        return Region(region.centre - away * (side[:, None] / size), side, torch.ones(len(u), 2))
    side = region.side * torch.exp(u[:, 2] * math.log1p(jitter.scale))
    stretch = torch.exp(u[:, 3:] * math.log1p(jitter.aspect) / 2)
    # Spatial-aware sampling (SiamRPN++, section 3.1): the target lies anywhere within the shift.
    centre = region.centre + u[:, :2] * jitter.shift * (side[:, None] / size)
    return Region(centre, side, torch.cat([stretch, 1 / stretch], 1))


def _targets(crops: ResidentSet, index: Tensor, part: Tensor, share: Tensor) -> Tensor:
    """(B, 4) boxes of the crops `index`; where `part` holds, of a part of the object that `share` (B, 4) names."""
    boxes = crops.boxes[index]
    size = boxes[:, 2:] - boxes[:, :2]
    smaller = size * (0.4 + 0.5 * share[:, :2])
    low = boxes[:, :2] + share[:, 2:] * (size - smaller)
    return torch.where(part[:, None], torch.cat([low, low + smaller], 1), boxes)


def _regions(
    boxes: Tensor, size: int, sizes: Crops, jitter: Jitter, flip: Tensor, picture: int, rng: torch.Generator
) -> tuple[Region, Tensor]:
    """Jittered regions of pictures of `picture` pixels around `boxes`, and these boxes (B, 4) in crops of `size`."""
    u = torch.rand(len(boxes), 5, generator=rng) * 2 - 1
    region = jittered(target_region(boxes, sizes.context, size / sizes.template), size, jitter, u[:, :4])
    assert region.stretch is not None
    # A negative stretch runs from right to left: a mirrored crop costs nothing more than a plain one.
    mirror = torch.stack([1 - 2 * flip.float(), torch.ones(len(flip))], 1)
    turn = u[:, 4] * math.radians(jitter.turn) if jitter.turn else None
    region = Region(region.centre, region.side, region.stretch * mirror, turn)
    if jitter.inside:
        # Shrunk where need be, then moved, to lie inside the picture.
        shrink = (picture / 2 / _reach(region).amax(1)).clamp(max=1)
        region = replace(region, side=region.side * shrink)
        reach = _reach(region)
        region = replace(region, centre=torch.minimum(torch.maximum(region.centre, reach), picture - reach))
    return region, _in_crop(region, size, boxes)


def _reach(region: Region) -> Tensor:
    """(N, 2) how far each region, which may be turned, reaches from its centre along x and y."""
    half = region.extent().abs() / 2
    if region.turn is None:
        return half
    cos, sin = region.turn.cos().abs()[:, None], region.turn.sin().abs()[:, None]
    return half * cos + half.flip(1) * sin


def shows_fill(region: Region, picture: int) -> Tensor:
    """(N,) bool: the region shows something beyond its picture, a square of that side: flat fill, by half a pixel."""
    reach = _reach(region)
    return ((region.centre - reach < -0.5) | (region.centre + reach > picture + 0.5)).any(1)


def _in_crop(region: Region, size: int, boxes: Tensor) -> Tensor:
    """Boxes (N, 4) or (N, K, 4) of the pictures, xyxy in the pixels of crops of `size`."""
    ends = region.to_crop(boxes, size)
    # A mirrored region swaps left and right.
    return torch.cat([torch.minimum(ends[..., :2], ends[..., 2:]), torch.maximum(ends[..., :2], ends[..., 2:])], -1)
