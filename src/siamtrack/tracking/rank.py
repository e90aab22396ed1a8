"""From scored candidates to one choice for each target: penalty, window, and how a winner becomes a box."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.config import Track
from siamtrack.errors import ConfigError
from siamtrack.geometry.crop import context_side
from siamtrack.geometry.grid import cosine_window
from siamtrack.models.siamese import Candidates

__all__ = ["Choice", "choose", "choose_scale", "rank", "shape_penalty"]

_NEIGHBOURS = 8
_AVERAGED = 3
_SIZELESS = "this network finds places without sizes: set track.scales, such as [0.96, 1.0, 1.04]"


@dataclass(frozen=True)
class Choice:
    """One box for each of N targets, in crop pixels.

    Attributes:
        centres: (N, 2).
        sizes: (N, 2).
        rates: (N,) how far the state's size moves towards `sizes`, in [0, 1].
        scores: (N,) the winner's own score in [0, 1], without penalty and window.
    """

    centres: Tensor
    sizes: Tensor
    rates: Tensor
    scores: Tensor


def shape_penalty(sizes: Tensor, previous: Tensor, strength: float) -> Tensor:
    """exp(-k * (r * s - 1)) for changes of ratio r and scale s (SiamRPN, equation 13).

    Args:
        sizes: (N, K, 2) of the candidates.
        previous: (N, 2) of the targets, in the same pixels.
        strength: k.

    Returns:
        (N, K) in (0, 1]; 1 where the shape stays.
    """
    before = previous[:, None]
    scale = _change(context_side(sizes) / context_side(before))
    ratio = _change((before[..., 0] / before[..., 1]) / (sizes[..., 0] / sizes[..., 1]))
    return torch.exp(-strength * (ratio * scale - 1))


def _change(ratio: Tensor) -> Tensor:
    return torch.maximum(ratio, 1 / ratio)


def rank(found: Candidates, previous: Tensor, track: Track) -> tuple[Tensor, Tensor]:
    """The scores of candidates that have sizes, with penalty and window, and the penalty: (N, K) each.

    Raises:
        ConfigError: the candidates have none.
    """
    if found.sizes is None:
        raise ConfigError(_SIZELESS)
    penalty = shape_penalty(found.sizes, previous, track.penalty)
    penalised = penalty * found.scores
    window = cosine_window(found.grid_positions)
    return penalised * (1 - track.window) + window * track.window, penalty


def choose(
    found: Candidates, previous: Tensor, track: Track, ranks: tuple[Tensor, Tensor] | None = None,
    best: Tensor | None = None,
) -> Choice:  # fmt: skip
    """Rank candidates that have sizes and make one box of the best.

    Args:
        found: N x K candidates.
        previous: (N, 2) the targets' sizes in crop pixels.
        track: penalty, window, rate and the way of selecting.
        ranks: what `rank` gives, where it is known already.
        best: (N, 1) the winners, where they were chosen otherwise (DaSiamRPN's memory).

    Raises:
        ConfigError: the candidates have no sizes, or no neighbours where these are to be averaged.
    """
    ranked, penalty = rank(found, previous, track) if ranks is None else ranks
    if found.sizes is None:
        raise ConfigError(_SIZELESS)
    if best is None:
        best = ranked.argmax(1, keepdim=True)
    score = found.scores.gather(1, best)[:, 0]
    rates = penalty.gather(1, best)[:, 0] * score * track.rate
    if track.select == "neighbours":
        if not found.response_size:
            raise ConfigError("track.select 'neighbours' needs a network with one box a cell; use 'best' with this one")
        index, weight = _best_neighbours(ranked, best, found.response_size)
        centres = (_take(found.centres, index) * weight[..., None]).sum(1)
        sizes = (_take(found.sizes, index) * weight[..., None]).sum(1)
    else:
        centres, sizes = _take(found.centres, best)[:, 0], _take(found.sizes, best)[:, 0]
    return Choice(centres, sizes, rates, score)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """(N, K, 2), (N, J) -> (N, J, 2)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def _best_neighbours(ranked: Tensor, best: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The 3 best of the winner's 8 neighbours (SiamCAR, section 3.3): (N, 3) indices and weights that sum to 1.

    At the edge of the map there are fewer neighbours; those that do not exist have weight 0.
    """
    y, x = best // cells, best % cells
    offsets = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    dy, dx = torch.tensor(offsets, device=ranked.device).T
    ny, nx = y + dy, x + dx
    inside = (ny >= 0) & (ny < cells) & (nx >= 0) & (nx < cells)
    index = (ny.clamp(0, cells - 1) * cells + nx.clamp(0, cells - 1)).expand(-1, _NEIGHBOURS)
    score = ranked.gather(1, index).masked_fill(~inside, -torch.inf)
    top, place = score.topk(_AVERAGED, dim=1)
    weight = torch.isfinite(top).to(ranked.dtype)
    return index.gather(1, place), weight / weight.sum(1, keepdim=True)


def choose_scale(found: Candidates, previous: Tensor, size: int, track: Track) -> Choice:
    """SiamFC's choice among the scales of a search pyramid (SiamFC, section 4.1).

    The scale whose response peaks highest wins, all but the middle one damped by `track.scale_penalty`; its
    response, scaled to sum 1, is blended with the window; the size follows at the constant `track.rate`.

    Args:
        found: (N * S, K) candidates without sizes, S scales of a target in a row.
        previous: (N, 2) the targets' sizes in pixels of the middle scale's crop.
        size: side of the crops.
        track: scales, scale_penalty, window, rate.
    """
    scales = torch.tensor(track.scales, device=found.scores.device)
    count = len(scales)
    response = found.scores.reshape(-1, count, found.scores.shape[1])
    damping = torch.full((count,), track.scale_penalty, device=response.device)
    damping[count // 2] = 1.0
    winner = (response.amax(2) * damping).argmax(1)
    rows = torch.arange(len(winner), device=response.device)
    chosen = response[rows, winner]
    shifted = chosen - chosen.amin(1, keepdim=True)
    window = cosine_window(found.grid_positions)
    ranked = (1 - track.window) * shifted / shifted.sum(1, keepdim=True).clamp(min=1e-16)
    ranked = ranked + track.window * window / window.sum()
    best = ranked.argmax(1)
    factor = scales[winner][:, None]
    points = found.centres.reshape(-1, count, found.centres.shape[1], 2)[rows, winner, best]
    centres = size / 2 + (points - size / 2) * factor
    rates = torch.full((len(rows),), track.rate, device=response.device)
    return Choice(centres, previous * factor, rates, F.sigmoid(chosen[rows, best]))
