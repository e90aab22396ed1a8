"""RoIAlign (He et al., Mask R-CNN, section 3) in plain tensor operations: it runs and exports wherever PyTorch does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["roi_align"]


def roi_align(features: Tensor, boxes: Tensor, stride: float, cells: int = 6, samples: int = 2) -> Tensor:
    """Features of boxes, pooled to a fixed size.

    Each of `cells` x `cells` bins is the mean of `samples` x `samples` evenly spread bilinear samples; none of the
    coordinates is rounded. Cell i of the map covers the pixels [i * stride, (i + 1) * stride). A sample beyond the
    map takes the nearest edge's value.

    Args:
        features: (B, C, H, W) of B images.
        boxes: (B, K, 4) xyxy in pixels of those images.
        stride: of the map in pixels.
        cells: side of the result.
        samples: along each side of a bin.

    Returns:
        (B, K, C, cells, cells), float32.
    """
    batch, count = boxes.shape[:2]
    line = cells * samples
    steps = (torch.arange(line, device=boxes.device, dtype=torch.float32) + 0.5) / line
    corner, size = boxes[..., :2].float(), (boxes[..., 2:] - boxes[..., :2]).float()
    points = corner[..., None] + size[..., None] * steps
    # The sampler puts the map's edges at -1 and 1.
    x = points[:, :, 0] * (2 / (stride * features.shape[-1])) - 1
    y = points[:, :, 1] * (2 / (stride * features.shape[-2])) - 1
    wide = (batch, count, line, line)
    grid = torch.stack([x[:, :, None, :].expand(wide), y[:, :, :, None].expand(wide)], -1)
    sampled = F.grid_sample(
        features.float(),
        grid.reshape(batch, count * line, line, 2),
        padding_mode="border",
        align_corners=False,
    )
    bins = sampled.reshape(batch, -1, count, cells, samples, cells, samples).mean((4, 6))
    return bins.transpose(1, 2)
