"""Colour, blur and noise of a batch of crops, in place and on their device."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.config import Data

__all__ = ["blur", "recolour"]

_LUMA = (0.299, 0.587, 0.114)
_NOISE = 8.0
_RADIUS = 5


def recolour(x: Tensor, grey: Tensor, data: Data, rng: torch.Generator) -> None:
    """Brightness, contrast, saturation, colour balance, grey, blur and noise, in place.

    Args:
        x: (B, 3, S, S) RGB 0..255, and so it stays.
        grey: (B,) bool, on the CPU: without colour.
        data: how much and how often.
        rng: the source of all chance.
    """
    count, device = len(x), x.device
    u = torch.rand(count, 6, generator=rng) * 2 - 1
    blurred, noisy = torch.rand(2, count, generator=rng)
    shapes, seed = torch.rand(count, 3, generator=rng), int(torch.randint(2**62, (), generator=rng))
    if data.colour or data.grey:
        _colour(x, grey, data.colour, u)
    if len(rows := torch.nonzero(blurred < data.blur)[:, 0]):
        x[rows.to(device)] = blur(x[rows.to(device)], _kernels(shapes[rows], data.motion))
    if len(rows := torch.nonzero(noisy < data.noise)[:, 0]):
        # Noise for a GPU is made there: drawing and sending it would take longer than all the rest.
        local = torch.Generator(device).manual_seed(seed)
        x[rows.to(device)] += _NOISE * torch.randn(len(rows), *x.shape[1:], generator=local, device=device)
    x.clamp_(0, 255)


def _colour(x: Tensor, grey: Tensor, strength: float, u: Tensor) -> None:
    """Map a crop's colours, all at once: x * scale + tone * tint + offset, where the tone is the luma."""
    saturation = torch.where(grey, torch.zeros(()), 1 + 1.2 * strength * u[:, 2])[:, None]
    balance = torch.where(grey[:, None], torch.ones(()), 1 + 0.4 * strength * u[:, 3:])
    contrast = torch.exp(u[:, 1:2] * strength) * balance
    shift = torch.exp(u[:, :1] * strength) * balance - contrast
    maps = torch.stack([contrast * saturation, contrast * (1 - saturation), shift]).to(x.device)
    scale, tint, shift = maps[..., None, None].unbind(0)
    tone = x[:, :1] * _LUMA[0] + x[:, 1:2] * _LUMA[1] + x[:, 2:] * _LUMA[2]
    offset = shift * x[:, :, ::4, ::4].mean((1, 2, 3))[:, None, None, None]
    x.mul_(scale).addcmul_(tone, tint).add_(offset)


def _kernels(u: Tensor, motion: float) -> Tensor:
    """(K, 11, 11) Gaussians: round for a lens out of focus, along a line in any direction for motion."""
    line = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float32)
    gy, gx = torch.meshgrid(line, line, indexing="ij")
    cos, sin = (f(math.pi * u[:, 0])[:, None, None] for f in (torch.cos, torch.sin))
    wide = 0.5 + 2.5 * u[:, 1, None, None]
    narrow = torch.where(u[:, 2, None, None] < motion, torch.full_like(wide, 0.4), wide)
    kernels = torch.exp(-0.5 * (((gx * cos + gy * sin) / wide) ** 2 + ((gy * cos - gx * sin) / narrow) ** 2))
    return kernels / kernels.sum((1, 2), keepdim=True)


def blur(x: Tensor, kernels: Tensor) -> Tensor:
    """Filter each of K crops (K, 3, S, S) with its own kernel (K, 11, 11); the edges mirror."""
    if x.device.type == "cpu":  # three times as fast as a grouped convolution
        filtered = [
            _filter(plane, kernel) for crop, kernel in zip(x.numpy(), kernels.numpy(), strict=True) for plane in crop
        ]
        return torch.from_numpy(np.stack(filtered)).reshape(x.shape)
    weight = kernels.to(x.device).repeat_interleave(x.shape[1], 0)[:, None]
    padded = F.pad(x, (_RADIUS,) * 4, mode="reflect")
    return F.conv2d(padded.reshape(1, -1, *padded.shape[2:]), weight, groups=len(weight)).reshape(x.shape)


def _filter(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    across, down = kernel.sum(0), kernel.sum(1)
    if np.abs(np.outer(down, across) - kernel).max() < 1e-6:  # round: two passes of a line do
        return cv2.sepFilter2D(plane, -1, across, down, borderType=cv2.BORDER_REFLECT_101)
    return cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
