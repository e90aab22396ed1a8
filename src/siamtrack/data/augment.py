"""From pairs of crops to a training batch: jittered regions, the one `cut()`, and photometric changes, batched.

Everything runs on the device that holds the images, and every random number comes from one generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.config import Crops, Data, Jitter
from siamtrack.data.pairs import Pairs
from siamtrack.data.resident import ResidentSet
from siamtrack.geometry.crop import Region, cut, target_region

__all__ = ["Batch", "make_batch"]


@dataclass(frozen=True)
class Batch:
    """B training pairs.

    Attributes:
        template: (B, 3, T, T) float32 RGB 0..255.
        search: (B, 3, S, S) float32 RGB 0..255.
        boxes: (B, 4) xyxy of the search crop's own object, in its pixels.
        present: (B,) bool: the template shows that object.
        pairs: where they came from.
    """

    template: Tensor
    search: Tensor
    boxes: Tensor
    present: Tensor
    pairs: Pairs


def make_batch(crops: ResidentSet, pairs: Pairs, sizes: Crops, data: Data, rng: torch.Generator) -> Batch:
    """Cut, flip, paste and recolour `pairs` of `crops`."""
    device, count = crops.images.device, len(pairs.present)
    template, _ = _cut_side(crops, pairs.template, sizes.template, sizes, data.template, rng)
    search, boxes = _cut_side(crops, pairs.search, sizes.search, sizes, data.search, rng)
    flip = (torch.rand(count, generator=rng) < data.flip).to(device)
    template = torch.where(flip[:, None, None, None], template.flip(3), template)
    search = torch.where(flip[:, None, None, None], search.flip(3), search)
    mirrored = torch.stack([sizes.search - boxes[:, 2], boxes[:, 1], sizes.search - boxes[:, 0], boxes[:, 3]], 1)
    boxes = torch.where(flip[:, None], mirrored, boxes)
    _paste(search, boxes, crops, pairs.other, data, rng)
    grey = torch.rand(count, generator=rng) < data.grey
    return Batch(
        _photometric(template, grey, data, rng), _photometric(search, grey, data, rng), boxes,
        pairs.present.to(device), pairs,
    )  # fmt: skip


def _uniform(count: int, columns: int, rng: torch.Generator) -> Tensor:
    """(count, columns) uniform in [-1, 1]."""
    return torch.rand(count, columns, generator=rng) * 2 - 1


def _cut_side(
    crops: ResidentSet, index: Tensor, size: int, sizes: Crops, jitter: Jitter, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    device = crops.images.device
    images, boxes = crops.images[index.to(device)], crops.boxes[index.to(device)]
    count = len(index)
    region = target_region(boxes, sizes.context, size / sizes.template)
    u = _uniform(count, 4, rng).to(device)
    side = region.side * torch.exp(u[:, 2] * math.log1p(jitter.scale))
    stretch = torch.exp(u[:, 3:] * math.log1p(jitter.aspect) / 2)
    stretch = torch.cat([stretch, 1 / stretch], 1)
    # The shift is stated in crop pixels: spatial-aware sampling (SiamRPN++, section 3.2).
    centre = region.centre + u[:, :2] * jitter.shift * (side[:, None] / size)
    # Shards are padded with their own mean colour; so is what a shifted region sees beyond them.
    fill = images[:, :, ::16, ::16].float().mean((2, 3))
    crop = cut(images, Region(centre, side, stretch), size, fill)
    return crop.pixels, crop.to_crop(boxes)


def _paste(search: Tensor, boxes: Tensor, crops: ResidentSet, other: Tensor, data: Data, rng: torch.Generator) -> None:
    """Paste another object into some search crops, in place: beside the target, or over a part of it."""
    count, size = len(search), search.shape[-1]
    u = torch.rand(count, 6, generator=rng)
    for i in range(count):
        chance = float(u[i, 0])
        if chance >= data.distract + data.occlude:
            continue
        x0, y0, x1, y1 = crops.boxes[other[i]].round().int().tolist()
        scale = size / (2 * crops.images.shape[-1] / 2.9) * math.exp(float(u[i, 1] - 0.5))
        w, h = max(4, int((x1 - x0) * scale)), max(4, int((y1 - y0) * scale))
        bx0, by0, bx1, by1 = boxes[i].tolist()
        if chance < data.distract:
            # Beside the target: further from its centre than half of both.
            angle = float(u[i, 2]) * 2 * math.pi
            reach = 1.1 + float(u[i, 3])
            cx = (bx0 + bx1) / 2 + math.cos(angle) * reach * (bx1 - bx0 + w) / 2
            cy = (by0 + by1) / 2 + math.sin(angle) * reach * (by1 - by0 + h) / 2
        else:
            # Over it: at most 40% of the target's width and height are covered.
            w, h = min(w, max(4, int(0.6 * (bx1 - bx0)))), min(h, max(4, int(0.6 * (by1 - by0))))
            cx, cy = bx0 + float(u[i, 2]) * (bx1 - bx0), by0 + float(u[i, 3]) * (by1 - by0)
        left, top = int(cx - w / 2), int(cy - h / 2)
        a, b, c, d = max(left, 0), max(top, 0), min(left + w, size), min(top + h, size)
        if c - a < 2 or d - b < 2 or x1 - x0 < 2 or y1 - y0 < 2:
            continue
        piece = crops.images[other[i]][None, :, max(y0, 0) : y1, max(x0, 0) : x1].float()
        piece = F.interpolate(piece, (h, w), mode="bilinear", align_corners=False, antialias=False)[0]
        search[i, :, b:d, a:c] = piece[:, b - top : d - top, a - left : c - left]


def _photometric(x: Tensor, grey: Tensor, data: Data, rng: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation, colour balance, grey, blur and noise; (B, 3, S, S) 0..255."""
    count, device = len(x), x.device
    u = _uniform(count, 6, rng).to(device)[:, :, None, None, None]
    luma = torch.tensor([0.299, 0.587, 0.114], device=device)[None, :, None, None]
    mean = x.mean((1, 2, 3), keepdim=True)
    gain = torch.exp(u[:, 0] * data.colour)
    contrast = torch.exp(u[:, 1] * data.colour)
    balance = 1 + 0.4 * data.colour * u[:, 3:6, 0]
    saturation = torch.where(grey.to(device)[:, None, None, None], -1.0, u[:, 2] * 1.2 * data.colour) + 1
    tone = (x * luma).sum(1, keepdim=True)
    x = tone + (x - tone) * saturation
    x = ((x - mean) * contrast + mean * gain) * torch.where(grey.to(device)[:, None, None, None], 1.0, balance)
    blurred = torch.nonzero(torch.rand(count, generator=rng) < data.blur)[:, 0]
    if len(blurred):
        x[blurred.to(device)] = _blur(x[blurred.to(device)], rng)
    noisy = (torch.rand(count, generator=rng) < data.noise).to(device)[:, None, None, None]
    grain = torch.randn(x.shape, generator=rng).to(device) if bool(noisy.any()) else torch.zeros((), device=device)
    return (x + noisy * 8.0 * grain).clamp(0, 255)


def _blur(x: Tensor, rng: torch.Generator) -> Tensor:
    """A Gaussian along a random direction: round (out of focus) for half of them, a line (motion) for the rest."""
    count, radius = len(x), 5
    u = torch.rand(count, 4, generator=rng)
    line = torch.arange(-radius, radius + 1, dtype=torch.float32)
    gy, gx = torch.meshgrid(line, line, indexing="ij")
    angle = u[:, 0, None, None] * math.pi
    along, across = gx * torch.cos(angle) + gy * torch.sin(angle), gy * torch.cos(angle) - gx * torch.sin(angle)
    wide = 0.5 + 2.5 * u[:, 1, None, None]
    narrow = torch.where(u[:, 2, None, None] < 0.5, wide, torch.full_like(wide, 0.4))
    kernel = torch.exp(-0.5 * ((along / wide) ** 2 + (across / narrow) ** 2))
    kernel = (kernel / kernel.sum((1, 2), keepdim=True)).to(x.device)
    weight = kernel.repeat_interleave(x.shape[1], 0)[:, None]
    padded = F.pad(x, (radius,) * 4, mode="reflect").reshape(1, -1, x.shape[2] + 2 * radius, x.shape[3] + 2 * radius)
    return F.conv2d(padded, weight, groups=len(weight)).reshape(x.shape)
