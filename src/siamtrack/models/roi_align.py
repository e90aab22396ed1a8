"""RoIAlign (He et al., Mask R-CNN, section 3) in plain tensor operations: it runs and exports wherever PyTorch does."""

from __future__ import annotations

import torch
from torch import Tensor


def roi_align(
    features: Tensor, boxes: Tensor, stride: float, cells: int = 6, samples: int = 2, first: float | None = None
) -> Tensor:
    """Features (B, C, H, W) of boxes (B, K, 4), xyxy in the images' pixels, pooled to float32 (B, K, C, cells, cells).

    Each of `cells` x `cells` bins is the mean of `samples` x `samples` even bilinear samples, nowhere rounded. The
    middle of the map's cell i lies at `first` + i * `stride` pixels, where pixel i covers [i, i + 1); by default
    `first` is half a stride, as if cell i covered the pixels [i * stride, (i + 1) * stride). Samples beyond the map
    take the edge's value.
    """
    batch, channels, height, width = features.shape
    ends = boxes.float() / stride
    middle = 0.5 if first is None else first / stride
    columns = _bin_weights(ends[..., 0], ends[..., 2], middle, width, cells, samples)
    lines = _bin_weights(ends[..., 1], ends[..., 3], middle, height, cells, samples)
    # Bilinear samples are separable: two matrix products with each bin's mean weights of the map's lines and columns
    # are a fraction of the work of sampling point by point, and leave channels last in memory.
    rows = lines.flatten(1, 2) @ features.float().permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    bins = columns[:, :, None] @ rows.reshape(batch, -1, cells, width, channels)
    return bins.permute(0, 1, 4, 2, 3).float()


def _bin_weights(first: Tensor, last: Tensor, middle: float, length: int, cells: int, samples: int) -> Tensor:
    """(B, K) ends of boxes in cells of a map -> (B, K, cells, length) weights of the lines i + `middle` in each bin."""
    count = cells * samples
    steps = (torch.arange(count, device=first.device, dtype=torch.float32) + 0.5) / count
    points = first[..., None] + (last - first)[..., None] * steps
    # What lies beyond the first or last middle takes the edge's value.
    places = (points - middle).clamp(0, length - 1)
    every = torch.arange(length, device=first.device, dtype=torch.float32)
    hats = (1 - (places[..., None] - every).abs()).clamp(min=0)
    return hats.reshape(*first.shape, cells, samples, length).mean(-2)
