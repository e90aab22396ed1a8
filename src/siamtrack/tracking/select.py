"""From scored candidates to one box for each target: penalty, window, and four ways to choose.

`best` takes the best candidate's box, `neighbours` averages boxes around it, `upsampled` reads enlarged maps, and
`pyramid` serves heads that find places without sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.config import Track
from siamtrack.errors import ConfigError
from siamtrack.geometry.crop import context_side
from siamtrack.geometry.grid import cosine_window, enlarged, grid_points
from siamtrack.models.fields import SearchPyramid
from siamtrack.models.siamese import Candidates

# SiamCAR, section 3.3: the n = 8 neighbours, of which the k = `track.averaged` best are averaged.
_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)

# Upsampled selection looks for the fine peak around the coarse one, up to half of the distance to each side of the
# predicted box; that distance counts as no less and no more than these shares of the template's size.
_NEAR, _FAR = 0.1, 0.44


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


@dataclass(frozen=True)
class Ranking:
    """N x K candidates that have sizes, ranked.

    Attributes:
        candidates: what is ranked.
        sizes: (N, K, 2) the candidates' sizes.
        scores: (N, K) in [0, 1], what the ranks are made of.
        penalised: (N, K) the scores times the penalty.
        penalty: (N, K) in (0, 1] on changes of shape.
        ranks: (N, K) the penalised scores, blended with the window.
    """

    candidates: Candidates
    sizes: Tensor
    scores: Tensor
    penalised: Tensor
    penalty: Tensor
    ranks: Tensor


def shape_penalty(sizes: Tensor, previous: Tensor, strength: float) -> Tensor:
    """exp(-k * (r * s - 1)) for changes of ratio r and scale s (SiamRPN, equation 13).

    Sizes (N, K, 2), previous ones (N, 2) in the same pixels and strength k -> (N, K) in (0, 1], 1 for the same shape.
    """
    before = previous[:, None]
    scale = context_side(sizes) / context_side(before)
    ratio = (before[..., 0] / before[..., 1]) / (sizes[..., 0] / sizes[..., 1])
    change = torch.maximum(ratio, 1 / ratio) * torch.maximum(scale, 1 / scale)
    return torch.exp(-strength * (change - 1))


def rank(found: Candidates, previous: Tensor, track: Track) -> Ranking:
    """Rank candidates by their scores with penalty and window (SiamRPN, section 4.3; SiamCAR, equation 9).

    `previous` (N, 2) are the targets' sizes in crop pixels. With `track.select` "neighbours_weighted" the scores are
    the classification alone (equation 9).

    Raises:
        ConfigError: the candidates have no sizes.
    """
    if found.sizes is None:
        raise ConfigError(
            "this network finds places without sizes: its family needs a search pyramid, as SiamFC's (model.scales)"
        )
    alone = track.select == "neighbours_weighted" and found.classes is not None
    scores = found.classes if alone and found.classes is not None else found.scores
    penalty = shape_penalty(found.sizes, previous, track.penalty)
    penalised = penalty * scores
    ranks = penalised * (1 - track.window) + cosine_window(found.grid_positions) * track.window
    return Ranking(found, found.sizes, scores, penalised, penalty, ranks)


def best(ranking: Ranking, track: Track, winner: Tensor | None = None) -> Choice:
    """The best candidate's own box.

    `winner` is the (N, 1) index of candidates that something else chose (DaSiamRPN's memory).
    """
    chosen = ranking.ranks.argmax(1, keepdim=True) if winner is None else winner
    score = ranking.scores.gather(1, chosen)[:, 0]
    rates = ranking.penalty.gather(1, chosen)[:, 0] * score * track.rate
    centres, sizes = (_take(values, chosen)[:, 0] for values in (ranking.candidates.centres, ranking.sizes))
    return Choice(centres, sizes, rates, score)


def neighbours(ranking: Ranking, track: Track, winner: Tensor | None = None) -> Choice:
    """The mean box of the `track.averaged` best of the winner's 8 neighbours (SiamCAR, section 3.3: 3 of 8).

    At the map's edge there may be fewer.

    "neighbours_weighted" ranks them by score with penalty, as the paper does, and weights them so, too; the paper does
    not name its weights. "neighbours" also counts the window in the choice, and weights them equally.

    Raises:
        ConfigError: the candidates are not one square map.
    """
    cells = ranking.candidates.response_size
    if not cells:
        raise ConfigError(
            f"track.select '{track.select}' needs a network with one box a cell; use 'best' with this one"
        )
    chosen = ranking.ranks.argmax(1, keepdim=True) if winner is None else winner
    weighted = track.select == "neighbours_weighted"
    dy, dx = torch.tensor(_NEIGHBOURS).T.to(chosen.device, non_blocking=True)
    y, x = chosen // cells + dy, chosen % cells + dx
    inside = (y >= 0) & (y < cells) & (x >= 0) & (x < cells)
    around = y.clamp(0, cells - 1) * cells + x.clamp(0, cells - 1)
    value = (ranking.penalised if weighted else ranking.ranks).gather(1, around).masked_fill(~inside, -torch.inf)
    top, place = value.topk(track.averaged, dim=1)
    there = torch.isfinite(top)
    weight = top.clamp(min=1e-12).where(there, torch.zeros_like(top)) if weighted else there.to(top.dtype)
    weight = (weight / weight.sum(1, keepdim=True))[..., None]
    index, own = around.gather(1, place), best(ranking, track, chosen)
    centres = (_take(ranking.candidates.centres, index) * weight).sum(1)
    return Choice(centres, (_take(ranking.sizes, index) * weight).sum(1), own.rates, own.scores)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """(N, K, 2), (N, J) -> (N, J, 2)."""
    # Rows of one table, not `gather`: OpenVINO drops a slice in front of that, and then takes from other columns.
    count, rows, width = values.shape
    first = torch.arange(count, device=index.device)[:, None] * rows
    return values.reshape(-1, width).index_select(0, (first + index).flatten()).reshape(count, -1, width)


def pyramid(found: Candidates, previous: Tensor, size: int, search: SearchPyramid, track: Track) -> Choice:
    """SiamFC's choice among the scales of a search pyramid (SiamFC, section 4.1).

    The scale whose response peaks highest wins, all but the middle one damped by `scale_penalty`; its
    response, scaled to sum 1, is blended with the window; the size follows at the constant `track.rate`.

    Args:
        found: (N * S, K) candidates without sizes, S scales of a target in a row.
        previous: (N, 2) the targets' sizes in pixels of the middle scale's crop.
        size: side of the crops.
        search: scales and scale_penalty.
        track: window and rate.
    """
    scales = torch.tensor(search.scales).to(found.scores.device, non_blocking=True)
    count, middle = len(search.scales), len(search.scales) // 2
    response = found.scores.reshape(-1, count, found.scores.shape[1])
    damping = torch.tensor([1.0 if i == middle else search.scale_penalty for i in range(count)])
    # Damped before the maximum: OpenVINO leaves out a factor for each row that follows one, for several targets.
    damped = response * damping.to(response.device, non_blocking=True)[:, None]
    winner = damped.amax(2).argmax(1, keepdim=True)
    rows = torch.arange(response.shape[0], device=response.device) * count + winner[:, 0]
    chosen = response.flatten(0, 1).index_select(0, rows)
    shifted = chosen - chosen.amin(1, keepdim=True)
    window = cosine_window(found.grid_positions)
    ranked = (1 - track.window) * shifted / shifted.sum(1, keepdim=True).clamp(min=1e-16)
    ranked = ranked + track.window * window / window.sum()
    peak = ranked.argmax(1, keepdim=True)
    factor = scales[winner]
    # All scales have the same grid of points.
    centres = size / 2 + (found.centres[0].index_select(0, peak[:, 0]) - size / 2) * factor
    scores = chosen.gather(1, peak)[:, 0]
    return Choice(centres, previous * factor, torch.full_like(scores, track.rate), F.sigmoid(scores))


def upsampled(found: Candidates, previous: Tensor, size: int, track: Track, template: int, scale: Tensor) -> Choice:
    """The selection of SiamCAR's published code, on maps enlarged bicubically to one cell a pixel (193 x 193).

    The peak of the enlarged ranking with the window is the coarse place; within a part of the predicted box around
    it, the peak of the ranking without the window is the target's centre, and the box's size is read there from the
    enlarged maps. Centre-ness is stretched to [0, 1] over each map.

    Args:
        found: N x K candidates of a square map, with `classes`, `quality` and `stride`.
        previous: (N, 2) the targets' sizes in crop pixels.
        size: side of the crops.
        track: penalty, window, rate and `published_rate`.
        template: side of the template crops.
        scale: (N, 2) frame pixels per crop pixel.

    Raises:
        ConfigError: the network gives no such candidates.
    """
    if found.sizes is None or found.classes is None or found.quality is None or not found.response_size * found.stride:
        raise ConfigError("track.select 'upsampled' is for SiamCAR's maps; use 'best' with this network")
    cells, stride = found.response_size, found.stride
    points = grid_points(cells, stride, size, found.centres.device)
    half = found.sizes / 2
    sides = torch.cat([points + half - found.centres, found.centres + half - points], -1)
    low, high = found.quality.amin(1, keepdim=True), found.quality.amax(1, keepdim=True)
    stretched = (found.quality - low) / (high - low).clamp(min=1e-12)
    penalised = shape_penalty(found.sizes, previous, track.penalty) * found.classes * stretched
    ranked = penalised * (1 - track.window) + cosine_window(found.grid_positions) * track.window
    maps = torch.cat([torch.stack([ranked, penalised, found.classes], 1), sides.transpose(1, 2)], 1)
    wide = round((cells - 1) * stride) + 1
    fine = enlarged(maps.reshape(-1, maps.shape[1], cells, cells), wide)
    within = _around_peak(fine[:, 0], sides, cells, template)
    peak = fine[:, 1].masked_fill(~within, -torch.inf).flatten(1).argmax(1)
    at = fine.flatten(2).gather(2, peak[:, None, None].expand(-1, fine.shape[1], 1))[..., 0]
    sizes = at[:, 3:5] + at[:, 5:7]
    centres = grid_points(wide, 1.0, size, fine.device)[peak]
    scores = at[:, 2].clamp(0, 1)
    compared, confidence = (
        (sizes * scale.to(sizes.device, non_blocking=True), at[:, 2]) if track.published_rate else (sizes, scores)
    )
    rates = shape_penalty(compared[:, None], previous, track.penalty)[:, 0] * confidence * track.rate
    return Choice(centres, sizes, rates.clamp(0, 1), scores)


def _around_peak(ranked: Tensor, sides: Tensor, cells: int, template: int) -> Tensor:
    """(N, E, E) enlarged ranking, (N, K, 4) sides -> (N, E, E) bool: where the fine peak is looked for."""
    wide = ranked.shape[-1]
    peak = ranked.flatten(1).argmax(1)
    row, column = peak // wide, peak % wide
    coarse = torch.stack([row, column]) / (wide / cells)
    coarse_row, coarse_column = coarse.round().long().clamp(max=cells - 1)
    cell = coarse_row * cells + coarse_column
    reach = sides.gather(1, cell[:, None, None].expand(-1, 1, 4))[:, 0].clamp(
        int(_NEAR * template), int(_FAR * template)
    )
    room = torch.stack([column, row, wide - column, wide - row], 1)
    left, top, right, bottom = (torch.minimum(reach, room) / 2).long().T[..., None]
    line = torch.arange(wide, device=peak.device)
    across = (line >= column[:, None] - left) & (line <= column[:, None] + right)
    down = (line >= row[:, None] - top) & (line <= row[:, None] + bottom)
    within: Tensor = down[:, :, None] & across[:, None, :]
    return within
