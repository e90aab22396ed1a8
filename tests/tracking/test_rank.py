from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from siamtrack.config import Track
from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.siamese import Candidates
from siamtrack.tracking.rank import choose, choose_scale, shape_penalty

CELLS = 25


def candidates(scores: torch.Tensor) -> Candidates:
    points = grid_points(CELLS, 8, 255)[None].expand(len(scores), -1, -1)
    return Candidates(points, torch.full_like(points, 60.0), scores, grid_positions(CELLS), CELLS)


def test_the_penalty_is_one_for_the_same_shape_and_follows_the_paper_elsewhere() -> None:
    previous = torch.tensor([[40.0, 60.0]])
    sizes = torch.tensor([[[40.0, 60.0], [80.0, 120.0], [60.0, 40.0]]])
    penalty = shape_penalty(sizes, previous, 0.1)[0].tolist()

    def side(w: float, h: float) -> float:
        return float(np.sqrt((w + (w + h) / 2) * (h + (w + h) / 2)))

    assert penalty[0] == pytest.approx(1)
    assert penalty[1] == pytest.approx(np.exp(-0.1 * (side(80, 120) / side(40, 60) - 1)), rel=1e-5)
    assert penalty[2] == pytest.approx(np.exp(-0.1 * ((60 / 40) ** 2 - 1)), rel=1e-5)


@given(st.integers(0, CELLS**2 - 1))
def test_without_window_and_penalty_the_best_score_wins(place: int) -> None:
    scores = torch.full((1, CELLS**2), 0.1)
    scores[0, place] = 0.9
    chosen = choose(candidates(scores), torch.tensor([[60.0, 60.0]]), Track(window=0, penalty=0, rate=0.5))
    assert torch.equal(chosen.centres[0], grid_points(CELLS, 8, 255)[place])
    assert float(chosen.scores) == pytest.approx(0.9)
    assert float(chosen.rates) == pytest.approx(0.45)


def test_a_strong_window_prefers_the_middle_of_two_equals() -> None:
    scores = torch.zeros(1, CELLS**2)
    scores[0, 3] = scores[0, 12 * CELLS + 13] = 0.8
    chosen = choose(candidates(scores), torch.tensor([[60.0, 60.0]]), Track(window=0.4, penalty=0, rate=0.5))
    assert torch.equal(chosen.centres[0], grid_points(CELLS, 8, 255)[12 * CELLS + 13])


@given(st.integers(0, CELLS - 1), st.integers(0, CELLS - 1))
def test_the_average_is_over_the_three_best_neighbours_by_brute_force(row: int, column: int) -> None:
    rng = np.random.default_rng(row * CELLS + column)
    scores = rng.uniform(0, 0.5, (CELLS, CELLS)).astype(np.float32)
    scores[row, column] = 1
    around = [
        (scores[y, x], y * CELLS + x)
        for y in range(max(row - 1, 0), min(row + 2, CELLS))
        for x in range(max(column - 1, 0), min(column + 2, CELLS))
        if (y, x) != (row, column)
    ]
    best = [place for _, place in sorted(around, reverse=True)[:3]]
    expected = grid_points(CELLS, 8, 255)[best].mean(0)
    track = Track(window=0, penalty=0, select="neighbours")
    chosen = choose(candidates(torch.from_numpy(scores).reshape(1, -1)), torch.tensor([[60.0, 60.0]]), track)
    assert torch.allclose(chosen.centres[0], expected, atol=1e-3)


def test_each_target_of_a_batch_is_ranked_on_its_own() -> None:
    scores = torch.rand(4, CELLS**2, generator=torch.Generator().manual_seed(1))
    previous = torch.rand(4, 2) * 50 + 20
    track = Track(select="neighbours")
    together = choose(candidates(scores), previous, track)
    for i in range(4):
        alone = choose(candidates(scores[i : i + 1]), previous[i : i + 1], track)
        assert torch.equal(alone.centres[0], together.centres[i])
        assert torch.equal(alone.rates[0], together.rates[i])


def test_the_pyramid_takes_the_scale_of_the_highest_peak() -> None:
    track = Track(scales=(0.9, 1.0, 1.1), scale_penalty=0.97, window=0.1, rate=0.6)
    scores = torch.rand(3, CELLS**2, generator=torch.Generator().manual_seed(2)) * 0.2
    scores[2, 14 * CELLS + 11] = 5.0
    points = grid_points(CELLS, 8, 255)[None].expand(3, -1, -1)
    found = Candidates(points, None, scores, grid_positions(CELLS), CELLS)
    chosen = choose_scale(found, torch.tensor([[50.0, 30.0]]), 255, track)
    assert torch.allclose(chosen.sizes, torch.tensor([[55.0, 33.0]]))
    assert torch.allclose(chosen.centres[0], 127.5 + (grid_points(CELLS, 8, 255)[14 * CELLS + 11] - 127.5) * 1.1)
    # A peak that is higher by less than the damping takes away does not win.
    scores[1, 12 * CELLS + 12] = 4.9
    assert torch.allclose(
        choose_scale(found, torch.tensor([[50.0, 30.0]]), 255, track).sizes, torch.tensor([[50.0, 30.0]])
    )
