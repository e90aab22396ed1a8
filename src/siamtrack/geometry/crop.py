"""Square regions of a frame, and the one function that cuts them out.

`target_region` is the home of the context formula, `cut` is the only crop of the project, in training and in
tracking, and the `Crop` that it returns knows the way back to the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.errors import InputError

__all__ = ["Crop", "Frame", "Region", "cut", "frame_size", "mean_colour", "target_region"]

Frame = np.ndarray | Tensor
"""One RGB frame: numpy (H, W, 3) uint8, or a tensor (3, H, W), uint8 or float 0..255, on any device."""


@dataclass(frozen=True)
class Region:
    """N squares of a frame: `centre` (N, 2) and `side` (N,), continuous pixels.

    `stretch` (N, 2), 1 unless given, multiplies the side for x and y apart: training jitters the aspect with it.
    """

    centre: Tensor
    side: Tensor
    stretch: Tensor | None = None

    def extent(self) -> Tensor:
        """(N, 2) width and height of each region in frame pixels."""
        side = self.side[:, None].expand(-1, 2)
        return side if self.stretch is None else side * self.stretch


@dataclass(frozen=True)
class Crop:
    """`pixels` (N, 3, size, size), float32 0..255, and the region of the frame that they show."""

    pixels: Tensor
    region: Region

    def to_frame(self, boxes: Tensor) -> Tensor:
        """xyxy boxes (N, 4) or (N, K, 4) in crop pixels -> frame pixels."""
        low, scale = _mapping(self.region, self.pixels.shape[-1], boxes)
        return boxes * scale + low

    def to_crop(self, boxes: Tensor) -> Tensor:
        """xyxy boxes (N, 4) or (N, K, 4) in frame pixels -> crop pixels."""
        low, scale = _mapping(self.region, self.pixels.shape[-1], boxes)
        return (boxes - low) / scale


def _mapping(region: Region, size: int, boxes: Tensor) -> tuple[Tensor, Tensor]:
    extent = region.extent()
    low = (region.centre - extent / 2).repeat(1, 2).to(boxes)
    scale = (extent / size).repeat(1, 2).to(boxes)
    shape = (len(low),) + (1,) * (boxes.ndim - 2) + (4,)
    return low.reshape(shape), scale.reshape(shape)


def target_region(boxes: Tensor, context: float = 0.5, zoom: float = 1.0) -> Region:
    """The square around each target with its share of context (SiamFC, section 2.2).

    p = context * (w + h), side = sqrt((w + p) * (h + p)); the target's area inside a crop is then the same
    whatever its size in the frame.

    Args:
        boxes: (N, 4) xyxy, continuous pixels.
        context: share of w + h that is added to each side; 0.5 is "half the mean side on each edge".
        zoom: enlarges the side; a search region uses search size / template size.
    """
    size = boxes[:, 2:] - boxes[:, :2]
    padded = size + context * size.sum(1, keepdim=True)
    return Region((boxes[:, :2] + boxes[:, 2:]) / 2, padded.prod(1).sqrt() * zoom)


def frame_size(frame: Frame) -> tuple[int, int]:
    """Check one frame and return its (width, height).

    Raises:
        InputError: not a (H, W, 3) uint8 array or a (3, H, W) tensor.
    """
    if isinstance(frame, np.ndarray):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise InputError(
                f"a frame is an RGB array of shape (H, W, 3) and type uint8; got shape {frame.shape}, {frame.dtype}"
            )
        return frame.shape[1], frame.shape[0]
    if isinstance(frame, Tensor):
        if frame.ndim != 3 or frame.shape[0] != 3 or 0 in frame.shape:
            raise InputError(f"a frame tensor is RGB of shape (3, H, W); got {tuple(frame.shape)}")
        return frame.shape[2], frame.shape[1]
    raise InputError(f"a frame is a numpy array or a tensor; got {type(frame).__name__}")


def mean_colour(frame: Frame) -> Tensor:
    """(3,) mean colour of a frame, 0..255: what a crop shows outside of it."""
    if isinstance(frame, np.ndarray):
        return torch.tensor(cv2.mean(frame)[:3], dtype=torch.float32)
    return frame.float().mean((1, 2))


def cut(frame: Frame, region: Region, size: int, fill: Tensor, device: torch.device | str | None = None) -> Crop:
    """Cut square regions out of frames and resample them bilinearly to `size` pixels.

    Args:
        frame: one frame for all N regions, or a tensor (N, 3, H, W) with one frame for each.
        region: N regions; they may reach beyond the frame.
        size: side of the crops in pixels.
        fill: (N, 3) colour 0..255 of what lies outside the frame.
        device: where the pixels shall lie; default: where a tensor frame lies, the CPU for a numpy one.

    Returns:
        A Crop with float32 pixels.
    """
    if isinstance(frame, np.ndarray):
        pixels = _cut_numpy(frame, region, size, fill)
        return Crop(pixels if device is None else pixels.to(device, non_blocking=True), region)
    return Crop(_cut_tensor(frame, region, size, fill).to(device or frame.device), region)


def _cut_numpy(frame: np.ndarray, region: Region, size: int, fill: Tensor) -> Tensor:
    extent = region.extent().double().cpu().numpy()
    low = region.centre.double().cpu().numpy() - extent / 2
    colours = fill.double().cpu().numpy()
    crops = np.empty((len(extent), size, size, 3), np.uint8)
    for i, ((x, y), (w, h)) in enumerate(zip(low, extent, strict=True)):
        # Pixel u of the crop has its centre at u + 0.5; the same holds for the frame, hence the two halves.
        sx, sy = w / size, h / size
        matrix = np.array([[sx, 0, x + 0.5 * sx - 0.5], [0, sy, y + 0.5 * sy - 0.5]])
        cv2.warpAffine(
            frame,
            matrix,
            (size, size),
            dst=crops[i],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=tuple(colours[i].tolist()),
        )
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float()


def _cut_tensor(frame: Tensor, region: Region, size: int, fill: Tensor) -> Tensor:
    device, count = frame.device, len(region.side)
    height, width = frame.shape[-2:]
    frames = frame if frame.ndim == 4 else frame[None].expand(count, -1, -1, -1)
    bounds = torch.tensor([width, height], dtype=torch.float32, device=device)
    extent = region.extent().to(device).float()
    # grid_sample with align_corners=False puts the frame's edges at -1 and 1, in continuous pixels 0 and W.
    low = (region.centre.to(device).float() - extent / 2) / bounds * 2 - 1
    scale = extent / bounds * 2
    places = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
    grid_x = low[:, :1] + scale[:, :1] * places
    grid_y = low[:, 1:] + scale[:, 1:] * places
    grid = torch.stack(
        [grid_x[:, None, :].expand(-1, size, -1), grid_y[:, :, None].expand(-1, -1, size)], dim=-1
    )
    # Zero padding outside of (frame - fill) is the fill colour outside of the frame.
    colour = fill.to(device).float()[:, :, None, None]
    return F.grid_sample(frames.float() - colour, grid, mode="bilinear", align_corners=False) + colour
