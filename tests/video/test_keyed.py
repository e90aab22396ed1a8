"""Boxes given in several frames of a target: what lies between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footage import moving_patches
from siamtrack.errors import InputError
from siamtrack.geometry.inputs import Box
from siamtrack.tracking.tracker import Result, Status
from siamtrack.video import keyed
from siamtrack.video.keyed import follow_keys
from template_matcher import TemplateMatcher

FRAMES = [np.full((4, 4, 3), n, np.uint8) for n in range(40)]


def read(start: int, end: int | None) -> Iterator[np.ndarray]:
    yield from FRAMES[start:end]


class Drifting:
    """Knows where the target was begun and moves its box to the right by `pace` in each frame, whichever comes."""

    def __init__(self, pace: float, presence: float = 1.0) -> None:
        self.pace, self.presence, self.seen = pace, presence, []

    def init(self, frame: np.ndarray, boxes: Sequence[Sequence[float]]) -> None:
        (self.box,) = (Box(*box) for box in boxes)
        self.seen.append(int(frame[0, 0, 0]))

    def update(self, frame: np.ndarray) -> list[Result]:
        self.box = self.box._replace(x=self.box.x + self.pace)
        self.seen.append(int(frame[0, 0, 0]))
        status: Status = "tracking" if self.presence > 2 / 3 else "uncertain"
        return [Result(self.box, 0.5, self.presence, status)]


def test_between_two_keys_the_nearer_one_weighs_more() -> None:
    found = follow_keys(Drifting(1), read, {0: (0, 0, 100, 50), 10: (0, 0, 100, 50)}, 0, 11)
    expected = [(1 - t / 10) * t + t / 10 * (10 - t) for t in range(11)]
    assert [found[t].box.x for t in range(11)] == pytest.approx(expected, abs=1e-6)
    assert found[0].score == found[10].score == 1 and found[5].score == 0.5


def test_before_the_first_key_and_after_the_last_there_is_one_way() -> None:
    tracker = Drifting(2)
    found = follow_keys(tracker, read, {4: (10, 0, 30, 50)}, 1, 8)
    assert [found[t].box.x for t in range(1, 8)] == [16, 14, 12, 10, 12, 14, 16]
    assert tracker.seen == [4, 3, 2, 1, 4, 5, 6, 7]


def test_two_guesses_far_apart_are_not_averaged() -> None:
    found = follow_keys(Drifting(0), read, {0: (0, 0, 10, 10), 10: (500, 0, 10, 10)}, 0, 11)
    assert {result.box.x for result in found.values()} == {0, 500}
    assert found[4].box.x == 0 and found[6].box.x == 500


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 39), min_size=1, max_size=6), st.integers(2, 12))
def test_frames_that_do_not_fit_into_memory_are_read_again(keys: set[int], kept: int) -> None:
    boxes = {key: (float(key), 0.0, 100.0, 50.0) for key in keys}
    whole = follow_keys(Drifting(1), read, boxes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyed, "_KEPT", kept * FRAMES[0].nbytes)
        assert follow_keys(Drifting(1), read, boxes) == whole
    assert sorted(whole) == list(range(40))


def test_a_real_target_is_found_in_both_directions() -> None:
    frames, truth = moving_patches(30)
    boxes = {n: tuple(truth[n, 0]) for n in (6, 24)}
    found = follow_keys(TemplateMatcher(), lambda start, end: iter(frames[start:end]), boxes)
    np.testing.assert_allclose([found[n].box for n in range(30)], truth[:, 0], atol=0.51)


def test_a_key_beyond_the_end_is_told() -> None:
    with pytest.raises(InputError, match="given for frame 50, but the frames end before it"):
        follow_keys(Drifting(1), read, {50: (0, 0, 9, 9)})
