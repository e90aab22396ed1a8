"""Cutting a region out of each of many pictures, by the rule of `cut()`, in the way that is fast on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from siamtrack.data.shards import Image
from siamtrack.geometry.crop import Region, affine

__all__ = ["Floats", "Warps", "edge_colour", "region_warps", "warp"]

Floats = npt.NDArray[np.float64]

_FLAGS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_LINE = 64  # bytes that a processor fetches at a time


@dataclass(frozen=True)
class Warps:
    """N affine maps from crops to pictures of one size.

    Attributes:
        matrices: (N, 2, 3) crop pixel -> picture pixel, counted from the middle of the first one, as OpenCV does.
        lines: first line of the picture that is seen, and the one behind the last.
        beyond: whether something outside of the picture is seen.
    """

    matrices: Floats
    lines: list[tuple[int, int]]
    beyond: list[bool]

    @staticmethod
    def of(matrices: Floats, low: Floats, high: Floats, picture: tuple[int, int]) -> Warps:
        """Maps whose crops reach from `low` (N, 2) to `high` in pictures of `picture` (width, height)."""
        beyond = (low.min(1) < 0) | (high[:, 0] > picture[0]) | (high[:, 1] > picture[1])
        top = np.clip(low[:, 1].astype(np.int64), 0, picture[1])
        bottom = np.clip(high[:, 1].astype(np.int64) + 2, top, picture[1])
        return Warps(matrices, list(zip(top.tolist(), bottom.tolist(), strict=True)), beyond.tolist())


def edge_colour(images: Tensor, index: Tensor) -> Tensor:
    """(B, 3) mean colours of some pictures.

    Shards are padded with their own mean colour; so is what a shifted region sees beyond them.
    """
    return images[:, :, ::16, ::16][index.to(images.device, non_blocking=True)].float().mean((2, 3))


def region_warps(region: Region, size: int, picture: tuple[int, int]) -> Warps:
    """Maps of N regions of pictures (width, height) to crops of `size` pixels; a negative stretch mirrors."""
    matrices, centre = affine(region, size), region.centre.double().numpy()
    reach = np.abs(matrices[..., :2]).sum(2) * (size / 2)
    return Warps.of(matrices, centre - reach, centre + reach, picture)


def warp(picture: Image, warps: Warps, row: int, width: int, height: int) -> Image:
    """Cut crop number `row` of `width` x `height` pixels out of one picture (H, W, 3), contiguous in memory.

    What lies outside of the picture has its mean colour. Bit for bit what `cut()` gives.
    """
    top, bottom = warps.lines[row]
    if top < bottom:
        # One byte of each line of memory in order, ahead of its being needed: a turned region runs across the lines,
        # which took more than twice the time.
        picture[top:bottom].reshape(-1)[::_LINE].max()
    fill = picture[::16, ::16].mean((0, 1)).tolist() if warps.beyond[row] else (0.0, 0.0, 0.0)
    return cv2.warpAffine(  # type: ignore[return-value]
        picture, warps.matrices[row], (width, height), flags=_FLAGS, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
