"""Cutting a region out of each of many pictures, by the one `cut()`, in the way that is fast there."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from siamtrack.geometry.crop import Crop, Region, cut

__all__ = ["Pictures", "cut_each", "edge_colour"]


class Pictures(Protocol):
    """What a batch is made of; see `ResidentSet` for the meaning."""

    @property
    def images(self) -> Tensor: ...  # noqa: D102
    @property
    def boxes(self) -> Tensor: ...  # noqa: D102
    @property
    def keys(self) -> tuple[str, ...]: ...  # noqa: D102


def edge_colour(images: Tensor, index: Tensor) -> Tensor:
    """(B, 3) mean colours of some pictures.

    Shards are padded with their own mean colour; so is what a shifted region sees beyond them.
    """
    return images[:, :, ::16, ::16][index.to(images.device)].float().mean((2, 3))


def cut_each(images: Tensor, index: Tensor, region: Region, size: int, fill: Tensor) -> Crop:
    """Cut the i-th region out of picture `index[i]`.

    Args:
        images: (N, 3, H, W) uint8, on any device; on a CPU best with channels last in memory.
        index: (B,) which picture.
        region: B regions; a negative stretch mirrors.
        size: side of the crops in pixels.
        fill: (B, 3) colour 0..255 of what lies outside of a picture.

    Returns:
        A Crop of float32 pixels (B, 3, size, size), contiguous.
    """
    if images.device.type != "cpu":
        return cut(images[index.to(images.device)], region, size, fill)
    # OpenCV reads only the pixels that it needs, and those as they are: several times faster than a
    # `grid_sample` on float copies of whole pictures.
    frames = images.permute(0, 2, 3, 1).numpy()
    pixels = torch.empty(len(index), 3, size, size)
    for i, row in enumerate(index.tolist()):
        stretch = None if region.stretch is None else region.stretch[i : i + 1]
        turn = None if region.turn is None else region.turn[i : i + 1]
        one = Region(region.centre[i : i + 1], region.side[i : i + 1], stretch, turn)
        pixels[i] = cut(np.ascontiguousarray(frames[row]), one, size, fill[i : i + 1]).pixels[0]
    return Crop(pixels, region)
