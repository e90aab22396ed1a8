"""Correlations of a template with a search region, all called (z, x) -> (B, out, H, W).

Each example of the batch is correlated with its own template. A batch is folded into groups of one convolution.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["cross", "depthwise", "pixelwise", "up_channel"]


def cross(z: Tensor, x: Tensor) -> Tensor:
    """SiamFC's cross-correlation (equation 2): (B, C, h, w), (B, C, H, W) -> (B, 1, H - h + 1, W - w + 1)."""
    batch, channels, height, width = x.shape
    out = F.conv2d(x.reshape(1, batch * channels, height, width), z, groups=batch)
    return out.reshape(batch, 1, out.shape[-2], out.shape[-1])


def depthwise(z: Tensor, x: Tensor) -> Tensor:
    """DW-XCorr (SiamRPN++, section 3.4): each channel with its own: (B, C, h, w), (B, C, H, W) -> (B, C, ., .)."""
    batch, channels, height, width = x.shape
    kernel = z.reshape(batch * channels, 1, z.shape[-2], z.shape[-1])
    out = F.conv2d(x.reshape(1, batch * channels, height, width), kernel, groups=batch * channels)
    return out.reshape(batch, channels, out.shape[-2], out.shape[-1])


def up_channel(z: Tensor, x: Tensor) -> Tensor:
    """UP-XCorr (SiamRPN, section 3.2): (B, K * C, h, w) holds K kernels: (B, C, H, W) -> (B, K, ., .)."""
    batch, channels, height, width = x.shape
    kernel = z.reshape(-1, channels, z.shape[-2], z.shape[-1])
    out = F.conv2d(x.reshape(1, batch * channels, height, width), kernel, groups=batch)
    return out.reshape(batch, -1, out.shape[-2], out.shape[-1])


def pixelwise(z: Tensor, x: Tensor) -> Tensor:
    """Every template cell as a 1 x 1 kernel (Alpha-Refine, section 3.2): -> (B, h * w, H, W), scaled by 1/sqrt(C)."""
    batch, channels, height, width = x.shape
    out: Tensor = z.flatten(2).transpose(1, 2) @ x.flatten(2) * channels**-0.5
    return out.reshape(batch, -1, height, width)
