"""The whole-pixel crops of the published trackers' code, for weights that were trained or tuned with them.

PySOT, SiamCAR and siamfc-pytorch round a region to whole pixels, cut that square out and resize it, and map boxes
back as if they had not rounded: the crop lies up to one and a half pixels beside what it is taken for. Networks
that learnt so expect it, so it can be had by name; this project's own crops do not round.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

__all__ = ["Rounding", "cut_whole", "whole_square"]

Rounding = Literal["none", "pysot", "siamfc"]
"""How a region is rounded: not at all, or as PySOT (and SiamCAR) or siamfc-pytorch do it."""


def whole_square(centre: Tensor, side: Tensor, rounding: Rounding) -> tuple[np.ndarray, np.ndarray]:
    """Left and top (N, 2) and side (N,) in whole pixels, for centres (N, 2) and sides (N,) in continuous pixels.

    PySOT floors the corner, siamfc-pytorch rounds it half to even; both round the side.
    """
    whole = side.double().cpu().numpy().round()
    # The references count from the middle of the first pixel, hence the half.
    low = centre.double().cpu().numpy() - 0.5 - whole[:, None] / 2
    edge = np.floor(low) if rounding == "pysot" else (low + 0.5).round()
    return edge.astype(int), whole.astype(int)


def cut_whole(frame: np.ndarray, centre: Tensor, side: Tensor, size: int, fill: Tensor, rounding: Rounding) -> Tensor:
    """Cut whole pixels out of a numpy frame (H, W, 3) and resize them: (N, 3, size, size) float32.

    `fill` (N, 3) is cut to whole grey levels by PySOT's rule and rounded by siamfc-pytorch's.
    """
    corners, sides = whole_square(centre, side, rounding)
    colours = fill.floor() if rounding == "pysot" else fill.round()
    height, width = frame.shape[:2]
    crops = np.empty((len(sides), size, size, 3), np.uint8)
    for i, ((left, top), length) in enumerate(zip(corners.tolist(), sides.tolist(), strict=True)):
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + length, width), min(top + length, height)
        part = np.empty((length, length, 3), np.uint8)
        part[:] = colours[i].cpu().numpy().astype(np.uint8)
        if x1 > x0 and y1 > y0:
            part[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
        crops[i] = cv2.resize(part, (size, size))
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float()
