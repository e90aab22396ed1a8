"""Distractors and occluders: other objects pasted into search crops."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from siamtrack.config import Data
from siamtrack.data.pixels import Warps, warp
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import Image
from siamtrack.geometry.crop import Region, cut

__all__ = ["PasteSpec", "PasteWindows", "draw_paste", "paste", "paste_one"]

_TAKEN = 2.9  # a shard's crop is so many times the template's side wide, which shows its object at search scale


@dataclass(frozen=True)
class PasteSpec:
    """K objects, and the search crops that they are pasted into; at most one for each.

    Attributes:
        rows: (K,) which search crops.
        sources: (K,) the pictures that they are taken from.
        taken: (K, 4) xyxy of their boxes there.
        places: (K, 4) where they go, xyxy in search pixels.
        ellipse: (K,) bool: only the ellipse in the box is pasted.
    """

    rows: Tensor
    sources: Tensor
    taken: Tensor
    places: Tensor
    ellipse: Tensor


def draw_paste(
    boxes: Tensor, size: int, crops: ResidentSet, other: Tensor, data: Data, rng: torch.Generator
) -> PasteSpec | None:
    """Draw which search crops show another object, beside their target or over a part of it; None if none does.

    Args:
        boxes: (B, 4) xyxy of the targets in search crops.
        size: side of these in pixels.
        crops: where the pieces come from.
        other: (B,) the crop whose object is pasted, -1 for none.
        data: how often, and how many of the pieces are ellipses.
        rng: the source of all chance.
    """
    u = torch.rand(len(boxes), 6, generator=rng)
    beside = (u[:, 0] < data.distract) & (other >= 0)
    over = (u[:, 0] >= data.distract) & (u[:, 0] < data.distract + data.occlude) & (other >= 0)
    rows = torch.nonzero(beside | over)[:, 0]
    if not len(rows):
        return None
    taken = crops.boxes[other[rows]]
    places = _places(boxes[rows], taken, u[rows], over[rows], size / crops.images.shape[-1])
    return PasteSpec(rows, other[rows], taken, places, u[rows, 5] < data.pasted_round)


def paste(search: Tensor, pieces: PasteSpec, crops: ResidentSet) -> None:
    """Paste all pieces into search crops (B, 3, S, S), in place."""
    device, size = search.device, search.shape[-1]
    pieces = PasteSpec(*(getattr(pieces, f.name).to(device, non_blocking=True) for f in fields(pieces)))
    low, per_pixel = pieces.taken[:, :2], _per_pixel(pieces)
    extent = per_pixel * size
    region = Region(low - pieces.places[:, :2] * per_pixel + extent / 2, extent[:, 0], extent / extent[:, :1])
    moved = cut(crops.images[pieces.sources], region, size, torch.zeros(len(low), 3, device=device)).pixels
    points = torch.arange(size, device=device) + 0.5
    x, y = _inside(pieces.places[:, 0::2], points)[:, None, :], _inside(pieces.places[:, 1::2], points)[:, :, None]
    mask = torch.where(pieces.ellipse[:, None, None], x * x + y * y < 1, (x.abs() < 1) & (y.abs() < 1))
    search[pieces.rows] = torch.where(mask[:, None], moved, search[pieces.rows])


def _inside(ends: Tensor, points: Tensor) -> Tensor:
    """(K, 2) ends of a side, (S,) places -> (K, S): -1 at one end, 1 at the other."""
    centre, half = ends.mean(1, keepdim=True), (ends[:, 1:] - ends[:, :1]) / 2
    return (points - centre) / half


@dataclass(frozen=True)
class PasteWindows:
    """The same pieces as windows of search crops, of which `paste_one` changes no other pixel.

    Attributes:
        number: of the piece, by the search crop that it is pasted into.
        sources: (K,) pictures.
        low: (K, 2) first x and y of the windows.
        high: (K, 2) those behind the last.
        places: (K, 4) as in `PasteSpec`.
        ellipse: (K,) bool.
        warps: from windows to pictures.
    """

    number: dict[int, int]
    sources: list[int]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    places: npt.NDArray[np.float64]
    ellipse: list[bool]
    warps: Warps

    @staticmethod
    def of(pieces: PasteSpec, size: int, picture: tuple[int, int]) -> PasteWindows:
        """Windows in search crops of `size` pixels, of pieces of pictures (width, height)."""
        places, scale = pieces.places.double().numpy(), _per_pixel(pieces).double().numpy()
        # The pixels whose middles lie in the box.
        low, high = (np.clip(np.ceil(ends - 0.5).astype(np.int64), 0, size) for ends in (places[:, :2], places[:, 2:]))
        start = pieces.taken[:, :2].double().numpy() + (low - places[:, :2]) * scale
        matrices = np.zeros((len(places), 2, 3))
        matrices[:, 0, 0], matrices[:, 1, 1] = scale.T
        matrices[:, :, 2] = start + 0.5 * scale - 0.5
        return PasteWindows(
            {row: number for number, row in enumerate(pieces.rows.tolist())}, pieces.sources.tolist(), low, high,
            places, pieces.ellipse.tolist(), Warps.of(matrices, start, start + (high - low) * scale, picture),
        )  # fmt: skip


def paste_one(search: Image, patches: PasteWindows, number: int, source: Image) -> None:
    """Paste a piece of the picture `source` into one search crop (S, S, 3), in place."""
    (x0, y0), (x1, y1) = patches.low[number].tolist(), patches.high[number].tolist()
    if x1 <= x0 or y1 <= y0:
        return
    window, piece = search[y0:y1, x0:x1], warp(source, patches.warps, number, x1 - x0, y1 - y0)
    if not patches.ellipse[number]:
        window[:] = piece
        return
    left, top, right, bottom = patches.places[number].tolist()
    x = (np.arange(x0, x1) + 0.5 - (left + right) / 2) / ((right - left) / 2)
    y = (np.arange(y0, y1) + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)
    np.copyto(window, piece, where=(x * x + (y * y)[:, None] < 1)[..., None])


def _per_pixel(pieces: PasteSpec) -> Tensor:
    """(K, 2) pixels of the picture for one of the search crop."""
    return (pieces.taken[:, 2:] - pieces.taken[:, :2]) / (pieces.places[:, 2:] - pieces.places[:, :2])


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
