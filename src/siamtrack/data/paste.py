"""Distractors and occluders: other objects pasted into search crops, by the one `cut()` too."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from siamtrack.config import Data
from siamtrack.data.pixels import Pictures, cut_each
from siamtrack.geometry.crop import Region

__all__ = ["paste"]

_TAKEN = 2.9  # a shard's crop is so many times the template's side wide, which shows its object at search scale


def paste(search: Tensor, boxes: Tensor, crops: Pictures, other: Tensor, data: Data, rng: torch.Generator) -> None:
    """Paste another object into some search crops, in place: beside the target, or over a part of it.

    Args:
        search: (B, 3, S, S) the crops.
        boxes: (B, 4) xyxy of their targets.
        crops: where the pieces come from.
        other: (B,) the crop whose object is pasted, -1 for none.
        data: how often, and how many of the pieces are ellipses.
        rng: the source of all chance.
    """
    u = torch.rand(len(search), 6, generator=rng)
    beside = (u[:, 0] < data.distract) & (other >= 0)
    over = (u[:, 0] >= data.distract) & (u[:, 0] < data.distract + data.occlude) & (other >= 0)
    rows = torch.nonzero(beside | over)[:, 0]
    if not len(rows):
        return
    device, size = search.device, search.shape[-1]
    chosen, on_device = other[rows], rows.to(device)
    taken = crops.boxes[chosen.to(device)]
    places = _places(boxes[on_device], taken, u[rows].to(device), over[rows].to(device), size / crops.images.shape[-1])
    ellipse = (u[rows, 5] < data.pasted_round).to(device)
    if device.type != "cpu":
        window = torch.zeros(len(rows), 2, device=device)
        pieces, mask = _pieces(crops, chosen, taken, places, ellipse, window, size)
        search[on_device] = torch.where(mask[:, None], pieces, search[on_device])
        return
    # Piece by piece, in a window around each: most of the search crop is not touched.
    low = places[:, :2].floor().clamp(0, size - 1)
    high = places[:, 2:].ceil().clamp(0, size)
    for i, row in enumerate(rows.tolist()):
        one, (x, y) = slice(i, i + 1), low[i].int().tolist()
        width, height = (high[i] - low[i]).int().tolist()
        if width < 1 or height < 1:
            continue
        side = max(width, height)
        pieces, mask = _pieces(crops, chosen[one], taken[one], places[one], ellipse[one], low[one], side)
        under = search[row, :, y : y + height, x : x + width]
        under[:] = torch.where(mask[:, :height, :width], pieces[0, :, :height, :width], under)


def _pieces(
    crops: Pictures, index: Tensor, taken: Tensor, places: Tensor, ellipse: Tensor, window: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """What is seen in K windows of `size` pixels if objects are moved to `places`, and which pixels are theirs.

    Args:
        crops: where the objects come from.
        index: (K,) their crops.
        taken: (K, 4) their boxes there.
        places: (K, 4) where they go, in search pixels.
        ellipse: (K,) bool: only the ellipse in the box is theirs.
        window: (K, 2) the windows' corners in search pixels.
        size: the windows' side.
    """
    shown = places[:, 2:] - places[:, :2]
    per_pixel = (taken[:, 2:] - taken[:, :2]) / shown
    extent = per_pixel * size
    low = taken[:, :2] + (window - places[:, :2]) * per_pixel
    region = Region(low + extent / 2, extent[:, 0], extent / extent[:, :1])
    pieces = cut_each(crops.images, index, region, size, torch.zeros(len(index), 3, device=places.device)).pixels
    return pieces, _mask(places - window.repeat(1, 2), ellipse, size)


def _places(targets: Tensor, taken: Tensor, u: Tensor, over: Tensor, scale: float) -> Tensor:
    """(K, 4) boxes in search pixels: beside their target, or over at most 0.6 of its width and height."""
    size = targets[:, 2:] - targets[:, :2]
    shown = (taken[:, 2:] - taken[:, :2]) * (scale * _TAKEN / 2) * torch.exp(u[:, 1:2] - 0.5)
    shown = torch.where(over[:, None], torch.minimum(shown, 0.6 * size), shown).clamp(min=4)
    # Beside: further from the target's centre than half of both.
    angle = 2 * math.pi * u[:, 2]
    reach = torch.stack([angle.cos(), angle.sin()], 1) * (1.1 + u[:, 3:4]) * (size + shown) / 2
    centre = torch.where(over[:, None], targets[:, :2] + u[:, 2:4] * size, targets[:, :2] + size / 2 + reach)
    return torch.cat([centre - shown / 2, centre + shown / 2], 1)


def _mask(boxes: Tensor, ellipse: Tensor, size: int) -> Tensor:
    """(K, size, size) bool: the pixels whose centres lie in a box, or in the ellipse that it holds."""
    points = torch.arange(size, device=boxes.device) + 0.5
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    x = ((points - centre[:, :1]) / half[:, :1])[:, None, :]
    y = ((points - centre[:, 1:]) / half[:, 1:])[:, :, None]
    return torch.where(ellipse[:, None, None], x * x + y * y < 1, (x.abs() < 1) & (y.abs() < 1))
