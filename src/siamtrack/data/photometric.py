"""Colour, blur and noise of a batch of crops: first the random numbers, then the pixels, on their device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.config import Data
from siamtrack.geometry.inputs import Image
from siamtrack.geometry.regions import BoolArray

_LUMA = (0.299, 0.587, 0.114)
_NOISE = 8.0
# Share of the blurs that are by motion.
_MOTION = 0.5
# Half of what the widest kernel reaches over, by `data.blur_law`.
_RADIUS = {"lens": 5, "cross": 22}
# Principal components of ImageNet's colours, scaled, in grey levels: rows R, G, B (pysot/datasets/augmentation.py).
_LIGHT = (
    (-0.55919361, 0.98062831, -0.41940627),
    (1.72091413, 0.19879334, -1.82968581),
    (4.64467907, 4.73710203, 4.88324118),
)

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PhotometricParams:
    """What becomes of the pixels of B crops.

    Attributes:
        coloured: whether colours change at all.
        mix: (B, 3, 3) new colours out of old ones.
        lift: (B, 3) what is added to them, in units of the crop's mean grey level.
        shift: (B, 3) what is added to them, in grey levels.
        blurred: (B,) which are blurred.
        kernels: (B, k, k) how, k = 11 or, with the law "cross", 45; zero for the others.
        motion: (B,) whether along a line or a cross; else the kernel is round.
        noisy: (B,) which get noise.
        seeds: (B,) of the noise.
    """

    coloured: bool
    mix: Float32Array
    lift: Float32Array
    shift: Float32Array
    blurred: BoolArray
    kernels: Float32Array
    motion: BoolArray
    noisy: BoolArray
    seeds: npt.NDArray[np.int64]


def draw_photometric(grey: Tensor, data: Data, rng: torch.Generator, template: bool = False) -> PhotometricParams:
    """Draw brightness, contrast, saturation, colour balance, lighting, blur and noise for crops, templates or not.

    Those of `grey`, (B,) bool on the CPU, are without colour.
    """
    count = len(grey)
    u = torch.rand(count, 11, generator=rng).numpy()
    seeds = torch.randint(2**62, (count,), generator=rng).numpy()
    mix, lift = _colours(grey.numpy(), data.colour, u[:, :6] * 2 - 1)
    motion, blurred = u[:, 8] < _MOTION, u[:, 9] < (data.blur if data.blur_templates or not template else 0.0)
    side = 2 * _RADIUS[data.blur_law] + 1
    kernels = np.zeros((count, side, side), np.float32)
    if data.blur_law == "cross":
        motion[:] = True
        kernels[blurred] = _crosses(u[blurred, 6], u[blurred, 7])
    else:
        kernels[blurred] = _kernels(u[blurred, 6], u[blurred, 7], motion[blurred])
    coloured, noisy = bool(data.colour or data.grey or data.lighting), u[:, 10] < data.noise
    shift = np.zeros((count, 3), np.float32)
    if data.lighting:
        lit = torch.rand(count, generator=rng).numpy() < data.lighting
        shift -= lit[:, None] * (torch.randn(count, 3, generator=rng).numpy() @ np.array(_LIGHT, np.float32).T)
    return PhotometricParams(coloured, mix, lift, shift, blurred, kernels, motion, noisy, seeds)


def recolour(x: Tensor, photometric: PhotometricParams) -> None:
    """Change B crops (B, 3, S, S) of RGB 0..255 in place, all at once; they stay in that range."""
    device = x.device
    if photometric.coloured:
        parts = photometric.mix, photometric.lift, photometric.shift
        mix, lift, shift = (torch.from_numpy(a).to(device, non_blocking=True) for a in parts)
        offset = (lift * x.mean((1, 2, 3))[:, None] + shift)[..., None]
        x.copy_(torch.baddbmm(offset, mix, x.flatten(2)).view_as(x))
    if len(rows := np.flatnonzero(photometric.blurred)):
        chosen = torch.from_numpy(rows).to(device, non_blocking=True)
        kernels = torch.from_numpy(photometric.kernels[rows]).to(device, non_blocking=True)
        weight = kernels.repeat_interleave(x.shape[1], 0)[:, None]
        padded = F.pad(x[chosen], (kernels.shape[-1] // 2,) * 4, mode="reflect")
        blurred = F.conv2d(padded.reshape(1, -1, *padded.shape[2:]), weight, groups=len(weight))
        x[chosen] = blurred.reshape(-1, *x.shape[1:])
    if len(rows := np.flatnonzero(photometric.noisy)):
        chosen = torch.from_numpy(rows).to(device, non_blocking=True)
        # Noise for a GPU is made there: drawing and sending it would take longer than all the rest.
        local = torch.Generator(device).manual_seed(int(photometric.seeds[rows[0]]))
        x[chosen] += _NOISE * torch.randn(len(rows), *x.shape[1:], generator=local, device=device)
    x.clamp_(0, 255)


def recolour_one(cut: Image, photometric: PhotometricParams, row: int, made: Float32Array) -> None:
    """Write crop number `row`, changed, into `made`: what `recolour` does, but for the noise's own values.

    `cut` (S, S, 3) is the crop as it was cut; it is changed too. `made` (S, S, 3) is float32, but a crop that is
    neither blurred nor noisy has whole grey levels, as every image has.
    """
    blurred, noisy = photometric.blurred[row], photometric.noisy[row]
    if photometric.coloured:
        shift = photometric.lift[row] * (sum(cv2.mean(cut)[:3]) / 3) + photometric.shift[row]
        mix = np.concatenate([photometric.mix[row], shift[:, None]], 1)
        if not (blurred or noisy):
            cut = cv2.transform(cut, mix)  # type: ignore[assignment]
    made[:] = cut
    if not (blurred or noisy):
        return
    if photometric.coloured:
        cv2.transform(made, mix, dst=made)
    if blurred:
        kernel, border = photometric.kernels[row], cv2.BORDER_REFLECT_101
        if photometric.motion[row]:
            made[:] = cv2.filter2D(made, -1, kernel, borderType=border)
        else:  # round: two passes of a line do
            made[:] = cv2.sepFilter2D(made, -1, kernel.sum(0), kernel.sum(0), borderType=border)
    if noisy:
        local = torch.Generator().manual_seed(int(photometric.seeds[row]))
        made += _NOISE * torch.randn(made.shape, generator=local).numpy()
    np.clip(made, 0, 255, out=made)


def _colours(grey: BoolArray, strength: float, u: Float32Array) -> tuple[Float32Array, Float32Array]:
    """(B, 3, 3) and (B, 3): new = mix @ old + lift * mean; saturation mixes a colour with its luma."""
    saturation = np.where(grey, np.float32(0), 1 + 1.2 * strength * u[:, 2])[:, None, None]
    balance = np.where(grey[:, None], np.float32(1), 1 + 0.4 * strength * u[:, 3:])
    contrast = np.exp(u[:, 1:2] * strength) * balance
    luma = np.array(_LUMA, np.float32)
    mix = contrast[..., None] * (saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * luma)
    return mix, np.exp(u[:, :1] * strength) * balance - contrast


def _kernels(direction: Float32Array, width: Float32Array, motion: BoolArray) -> Float32Array:
    """(K, 11, 11) Gaussians: round for a lens out of focus, along a line in any direction for motion."""
    radius = _RADIUS["lens"]
    gy, gx = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    cos, sin = (f(np.float32(math.pi) * direction)[:, None, None] for f in (np.cos, np.sin))
    wide = (0.5 + 2.5 * width)[:, None, None]
    narrow = np.where(motion[:, None, None], np.float32(0.4), wide)
    kernels = np.exp(-0.5 * (((gx * cos + gy * sin) / wide) ** 2 + ((gy * cos - gx * sin) / narrow) ** 2))
    # OpenCV passes over zeros, and away from its line a motion's kernel is next to nothing: a third of the time.
    kernels[motion[:, None, None] & (kernels < 1e-3)] = 0
    normed: Float32Array = kernels / kernels.sum((1, 2), keepdims=True)
    return normed


def _crosses(width: Float32Array, upright: Float32Array) -> Float32Array:
    """(K, 45, 45) means over a vertical and a horizontal line, 5 to 45 pixels long (pysot/datasets/augmentation.py).

    Both (K,) in [0, 1): `width` is which of the 21 odd lengths, `upright` the weight of the vertical line.
    """
    radius = _RADIUS["cross"]
    halves = 2 + (width * 21).astype(int)
    line = np.abs(np.arange(-radius, radius + 1)) <= halves[:, None]
    mean = line / (2 * halves[:, None] + 1)
    kernels = np.zeros((len(halves), 2 * radius + 1, 2 * radius + 1), np.float32)
    kernels[:, :, radius] += mean * upright[:, None]
    kernels[:, radius] += mean * (1 - upright[:, None])
    return kernels
