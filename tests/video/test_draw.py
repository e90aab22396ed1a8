from __future__ import annotations

from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamtrack.tracking.tracker import Status
from siamtrack.video.draw import PALETTE, Mark, Trails, colour_of, draw

GREY = np.full((120, 160, 3), 128, np.uint8)


def test_frame_is_left_as_it_was_and_nothing_is_drawn_without_marks() -> None:
    frame = GREY.copy()
    out = draw(frame, [Mark((20, 30, 40, 50), 0.5, 1)])
    np.testing.assert_array_equal(frame, GREY)
    assert out.shape == frame.shape and out.dtype == np.uint8 and (out != GREY).any()
    np.testing.assert_array_equal(draw(frame, []), GREY)


def test_box_lies_on_its_continuous_edges() -> None:
    out = draw(GREY, [Mark((20, 30, 40, 50))])
    blue = 128 - np.minimum(out[..., 2].astype(float), 128)  # the first colour is yellow, its rim dark
    for profile, edges in ((blue[50], (20, 60)), (blue[:, 40], (30, 80))):
        for edge in edges:
            near = np.arange(edge - 6, edge + 6)
            assert (profile[near] * (near + 0.5)).sum() / profile[near].sum() == pytest.approx(edge, abs=0.2)
    np.testing.assert_array_equal(out[40:70, 30:50], GREY[40:70, 30:50])


def test_subpixel_moves_are_seen() -> None:
    a, b = (draw(GREY, [Mark((20 + shift, 30, 40, 50))]) for shift in (0, 0.25))
    assert (a != b).any()


def test_unsure_box_is_dashed() -> None:
    statuses: list[Status] = ["tracking", "uncertain"]
    sure, unsure = (draw(GREY, [Mark((20, 30, 100, 60), status=status)]) for status in statuses)
    edge = np.s_[30, 30:110]
    assert (sure[edge][:, 0] > 200).all()
    share = (unsure[edge][:, 0] > 200).mean()
    assert 0.3 < share < 0.8


def test_a_lost_target_is_labelled() -> None:
    unsure, lost = (draw(GREY, [Mark((20, 30, 100, 60), status=status)]) for status in get_args(Status)[1:])
    np.testing.assert_array_equal(unsure[30:], lost[30:])
    assert (lost[:28, 20:80] == PALETTE[0]).all(-1).sum() > 100 and (unsure[:26] == GREY[:26]).all()


def test_trail_follows_the_centres_and_is_bounded() -> None:
    trails = Trails(2, length=3)
    for n in range(5):
        rows = trails.add([(n, 0, 2, 4), (0, n, 2, 4)])
    assert rows == [[(3, 2), (4, 2), (5, 2)], [(1, 4), (1, 5), (1, 6)]]
    out = draw(GREY, [Mark((140, 100, 10, 10), trail=[(10.0, 60.0), (100.0, 60.0)])])
    assert (out[60, 15:95] != 128).any(-1).all()


def test_targets_have_colours_of_their_own() -> None:
    assert colour_of(None) == colour_of(1) == PALETTE[0] == colour_of(1 + len(PALETTE))
    for a, b in combinations(PALETTE, 2):
        assert np.abs(np.subtract(a, b)).sum() > 60


@pytest.mark.parametrize("box", [(0, 0, 40, 30), (130, 100, 40, 30), (-20, -20, 300, 300), (150, 0, 9, 9)])
def test_label_stays_inside_the_frame(box: tuple[float, float, float, float]) -> None:
    plain, labelled = draw(GREY, [Mark(box, number=None)]), draw(GREY, [Mark(box, 0.87, 2)])
    plate = (labelled == colour_of(2)).all(-1)
    assert (plain != labelled).any() and plate.sum() > 100


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(*[st.floats(-1e7, 1e7) for _ in range(2)], *[st.floats(0, 1e7) for _ in range(2)]),
    st.sampled_from(get_args(Status)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_box_in_any_frame_can_be_drawn(
    box: tuple[float, float, float, float], status: Status, size: tuple[int, int]
) -> None:
    frame = np.zeros((*size, 3), np.uint8)
    assert draw(frame, [Mark(box, 0.5, 3, [(box[0], box[1]), (0.0, 0.0)], status)]).shape == frame.shape
