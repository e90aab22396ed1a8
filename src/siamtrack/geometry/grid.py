"""The grid of a response map: where its cells lie in the search region, and the cosine window over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def grid_points(cells: int, stride: float, size: float, device: torch.device | None = None) -> Tensor:
    """Centres of a response map's cells in crop pixels.

    The map is centred on the search region, as convolutions without padding leave it: cell i of `cells` lies at
    size / 2 + (i - (cells - 1) / 2) * stride.

    Returns:
        (cells * cells, 2) x, y, row by row; made on the device, so that nothing waits for a copy to it.
    """
    line = size / 2 + (torch.arange(cells, dtype=torch.float32, device=device) - (cells - 1) / 2) * stride
    return torch.stack([line.repeat(cells), line.repeat_interleave(cells)], dim=1)


def grid_positions(cells: int, device: torch.device | None = None) -> Tensor:
    """(cells * cells, 2) the cells' places in [-1, 1], edges included, row by row: what the window is drawn over."""
    line = torch.linspace(-1, 1, cells, device=device) if cells > 1 else torch.zeros(1, device=device)
    return torch.stack([line.repeat(cells), line.repeat_interleave(cells)], dim=1)


def cosine_window(places: Tensor) -> Tensor:
    """(..., 2) places in [-1, 1] -> (...) the separable Hann window: 1 at the centre, 0 at the edges."""
    return (0.5 + 0.5 * torch.cos(places * math.pi)).prod(-1)


def enlarged(maps: Tensor, cells: int) -> Tensor:
    """Enlarge square maps bicubically, as cv2's INTER_CUBIC does: (B, C, R, R) -> (B, C, cells, cells).

    Both axes are one matrix product each, several times faster than going from point to point.
    """
    known = torch.arange(maps.shape[-1], dtype=torch.float32, device=maps.device)
    places = (torch.arange(cells, dtype=torch.float32, device=maps.device) + 0.5) * (maps.shape[-1] / cells) - 0.5
    taps = places.floor()[:, None] + torch.arange(-1, 3, dtype=torch.float32, device=maps.device)
    away = (places[:, None] - taps).abs()
    # Keys' kernel with a = -0.75: the inner two taps, then the outer two.
    inner = (1.25 * away - 2.25) * away * away + 1
    outer = ((-0.75 * away + 3.75) * away - 6) * away + 3
    weights = torch.where(away <= 1, inner, outer)
    # Taps beyond the map see its edge.
    at = taps.clamp(0, maps.shape[-1] - 1)[..., None] == known
    lines = (weights[..., None] * at).sum(1)
    return lines @ maps @ lines.T
