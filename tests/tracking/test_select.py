from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from siamtrack.config import Track
from siamtrack.errors import ConfigError
from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.fields import SearchPyramid
from siamtrack.models.siamese import Candidates
from siamtrack.tracking.select import Choice, best, neighbours, pyramid, rank, shape_penalty
from siamtrack.zoo.networks import open_network

CELLS = 25


def choose(found: Candidates, previous: torch.Tensor, track: Track) -> Choice:
    return (best if track.select == "best" else neighbours)(rank(found, previous, track), track)


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


@given(st.integers(0, CELLS - 1), st.integers(0, CELLS - 1), st.integers(1, 8))
@example(0, 0, 8)
@example(12, 12, 3)
def test_the_average_is_over_the_best_neighbours_by_brute_force(row: int, column: int, count: int) -> None:
    rng = np.random.default_rng(row * CELLS + column)
    scores = rng.uniform(0, 0.5, (CELLS, CELLS)).astype(np.float32)
    scores[row, column] = 1
    around = [
        (scores[y, x], y * CELLS + x)
        for y in range(max(row - 1, 0), min(row + 2, CELLS))
        for x in range(max(column - 1, 0), min(column + 2, CELLS))
        if (y, x) != (row, column)
    ]
    best = [place for _, place in sorted(around, reverse=True)[:count]]
    expected = grid_points(CELLS, 8, 255)[best].mean(0)
    track = Track(window=0, penalty=0, select="neighbours", averaged=count)
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
    search, track = SearchPyramid((0.9, 1.0, 1.1), 0.97), Track(window=0.1, rate=0.6)
    scores = torch.rand(3, CELLS**2, generator=torch.Generator().manual_seed(2)) * 0.2
    scores[2, 14 * CELLS + 11] = 5.0
    points = grid_points(CELLS, 8, 255)[None].expand(3, -1, -1)
    found = Candidates(points, None, scores, grid_positions(CELLS), CELLS)
    previous = torch.tensor([[50.0, 30.0]])
    chosen = pyramid(found, previous, 255, search, track)
    assert torch.allclose(chosen.sizes, torch.tensor([[55.0, 33.0]]))
    assert torch.allclose(chosen.centres[0], 127.5 + (grid_points(CELLS, 8, 255)[14 * CELLS + 11] - 127.5) * 1.1)
    # A peak that is higher by less than the damping takes away does not win.
    scores[1, 12 * CELLS + 12] = 4.9
    assert torch.allclose(pyramid(found, previous, 255, search, track).sizes, previous)


def five_by_five(classes: list[list[float]], quality: list[list[float]]) -> Candidates:
    """A 5 x 5 map, boxes of 40 + 2 n pixels in cell n: whose box is taken can be read off its size."""
    points = grid_points(5, 8, 127)[None]
    sides = 40 + 2 * torch.arange(25.0)
    found = torch.tensor(classes).reshape(1, -1)
    kept = torch.tensor(quality).reshape(1, -1)
    return Candidates(points, torch.stack([sides, sides], -1)[None], found * kept, grid_positions(5), 5, found, kept)


def test_the_paper_s_neighbours_are_ranked_by_classification_and_weighted_by_it() -> None:
    """A hand case of SiamCAR's section 3.3: winner 12, with the neighbours 6 7 8 11 13 16 17 18.

    By classification the best three are 13, 7 and 17; by classification times centre-ness 7, 13 and 6.
    """
    classes = [[0.1] * 5 for _ in range(5)]
    quality = [[0.5] * 5 for _ in range(5)]
    for cell, score, centred in ((12, 0.9, 0.9), (13, 0.8, 0.5), (7, 0.6, 0.8), (17, 0.4, 0.25), (6, 0.3, 0.9)):
        classes[cell // 5][cell % 5], quality[cell // 5][cell % 5] = score, centred
    found, previous = five_by_five(classes, quality), torch.tensor([[64.0, 64.0]])
    side = {cell: 40 + 2 * cell for cell in range(25)}
    ours = choose(found, previous, Track(window=0, penalty=0, select="neighbours"))
    assert float(ours.sizes[0, 0]) == pytest.approx((side[13] + side[7] + side[6]) / 3)
    assert float(ours.scores) == pytest.approx(0.81)
    paper = choose(found, previous, Track(window=0, penalty=0, select="neighbours_weighted"))
    weighted = (0.8 * side[13] + 0.6 * side[7] + 0.4 * side[17]) / 1.8
    assert float(paper.sizes[0, 0]) == pytest.approx(weighted)
    points = grid_points(5, 8, 127)
    centre = (0.8 * points[13] + 0.6 * points[7] + 0.4 * points[17]) / 1.8
    assert torch.allclose(paper.centres[0], centre)
    assert float(paper.scores) == pytest.approx(0.9) and float(paper.rates) == pytest.approx(0.9 * Track().rate)


def test_the_penalty_weighs_the_paper_s_neighbours_and_the_window_does_not() -> None:
    classes = [[0.5] * 5 for _ in range(5)]
    classes[2][2] = 1.0
    found, previous = five_by_five(classes, [[1.0] * 5 for _ in range(5)]), torch.tensor([[56.0, 56.0]])
    sizes = torch.tensor([52.0, 54.0, 56.0, 62.0, 66.0, 72.0, 74.0, 76.0])  # of the 8 neighbours
    penalty = shape_penalty(torch.stack([sizes, sizes], -1)[None], previous, 0.3)[0]
    wanted = float((sizes * penalty)[:3].sum() / penalty[:3].sum())
    for window in (0.0, 0.6):
        track = Track(window=window, penalty=0.3, select="neighbours_weighted")
        assert float(choose(found, previous, track).sizes[0, 0]) == pytest.approx(wanted, rel=1e-5)


def test_a_corner_s_three_neighbours_are_all_there_is() -> None:
    classes = [[0.1] * 5 for _ in range(5)]
    classes[0][0] = 0.9
    found = five_by_five(classes, [[1.0] * 5 for _ in range(5)])
    track = Track(window=0, penalty=0, select="neighbours_weighted")
    chosen = choose(found, torch.tensor([[40.0, 40.0]]), track)
    assert float(chosen.sizes[0, 0]) == pytest.approx(40 + 2 * (1 + 5 + 6) / 3)


def test_a_way_of_selecting_that_a_network_cannot_do_is_told_when_it_is_loaded() -> None:
    with pytest.raises(ConfigError, match="needs a network with one box a cell"):
        open_network("siamrpn_lite0", settings={"track.select": "neighbours"})
