"""The selection of SiamCAR's published code, which differs from the paper's: see `choose_upsampled`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.config import Track
from siamtrack.errors import ConfigError
from siamtrack.geometry.grid import cosine_window, grid_points
from siamtrack.models.siamese import Candidates
from siamtrack.tracking.rank import Choice, shape_penalty

__all__ = ["choose_upsampled", "enlarge_map"]

# The fine peak is looked for around the coarse one, up to half of the distance to each side of the predicted
# box; that distance counts as no less and no more than these shares of the template's size.
_NEAR, _FAR = 0.1, 0.44


def choose_upsampled(found: Candidates, previous: Tensor, size: int, track: Track, template: int) -> Choice:
    """SiamCAR's selection as its code has it, on maps enlarged bicubically to one cell a pixel (193 x 193).

    The peak of the enlarged ranking with the window is the coarse place; within a part of the predicted
    box around it, the peak of the ranking without the window is the target's centre, and the box's size
    is read there from the enlarged maps. Centre-ness is stretched to [0, 1] over each map. The code
    takes the penalty of the size's rate between a box in frame pixels and a target in crop pixels; here
    both are in crop pixels.

    Args:
        found: N x K candidates of a square map, with `classes`, `quality` and `stride`.
        previous: (N, 2) the targets' sizes in crop pixels.
        size: side of the crops.
        track: penalty, window and rate.
        template: side of the template crops.

    Raises:
        ConfigError: the network gives no such candidates.
    """
    if found.sizes is None or found.classes is None or found.quality is None or not found.response_size * found.stride:
        raise ConfigError("track.select 'upsampled' is for SiamCAR's maps; use 'best' with this network")
    cells, stride = found.response_size, found.stride
    points = grid_points(cells, stride, size).to(found.centres)
    half = found.sizes / 2
    sides = torch.cat([points + half - found.centres, found.centres + half - points], -1)
    penalised = shape_penalty(found.sizes, previous, track.penalty) * found.classes * _stretched(found.quality)
    window = cosine_window(found.grid_positions)
    ranked = penalised * (1 - track.window) + window * track.window
    maps = torch.cat([torch.stack([ranked, penalised, found.classes], 1), sides.transpose(1, 2)], 1)
    wide = round((cells - 1) * stride) + 1
    fine = enlarge_map(maps.reshape(len(maps), -1, cells, cells), wide)
    within = _around_peak(fine[:, 0], sides, cells, template)
    best = fine[:, 1].masked_fill(~within, -torch.inf).flatten(1).argmax(1)
    at = fine.flatten(2).gather(2, best[:, None, None].expand(-1, fine.shape[1], 1))[..., 0]
    sizes = at[:, 3:5] + at[:, 5:7]
    centres = grid_points(fine.shape[-1], 1.0, size).to(fine)[best]
    classes = at[:, 2].clamp(0, 1)
    rates = shape_penalty(sizes[:, None], previous, track.penalty)[:, 0] * classes * track.rate
    return Choice(centres, sizes, rates, classes)


def enlarge_map(maps: Tensor, cells: int) -> Tensor:
    """(N, C, R, R) -> (N, C, cells, cells), bicubic."""
    return F.interpolate(maps, size=(cells, cells), mode="bicubic", align_corners=False)


def _stretched(quality: Tensor) -> Tensor:
    low, high = quality.amin(1, keepdim=True), quality.amax(1, keepdim=True)
    return (quality - low) / (high - low).clamp(min=1e-12)


def _around_peak(ranked: Tensor, sides: Tensor, cells: int, template: int) -> Tensor:
    """(N, E, E) enlarged ranking, (N, K, 4) sides -> (N, E, E) bool: where the fine peak is looked for."""
    wide = ranked.shape[-1]
    peak = ranked.flatten(1).argmax(1)
    row, column = peak // wide, peak % wide
    coarse = torch.stack([row, column]) / (wide / cells)
    coarse_row, coarse_column = coarse.round().long().clamp(max=cells - 1)
    rows = torch.arange(len(peak), device=peak.device)
    reach = sides[rows, coarse_row * cells + coarse_column].clamp(int(_NEAR * template), int(_FAR * template))
    room = torch.stack([column, row, wide - column, wide - row], 1)
    left, top, right, bottom = (torch.minimum(reach, room) / 2).long().T[..., None]
    line = torch.arange(wide, device=peak.device)
    across = (line >= column[:, None] - left) & (line <= column[:, None] + right)
    down = (line >= row[:, None] - top) & (line <= row[:, None] + bottom)
    within: Tensor = down[:, :, None] & across[:, None, :]
    return within
