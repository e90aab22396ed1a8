"""A run of the page against the trackers of Python: the same states, whatever order the page asks in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import siamtrack
from footage import FIRST_BOX, SECOND_BOX, moving_patches, write_mp4
from siamtrack.apps.page.session import Frames, Session
from siamtrack.errors import InputError
from siamtrack.video.reader import open_source

COUNT = 30


@pytest.fixture(scope="module")
def tracker() -> siamtrack.MultiTracker:
    return siamtrack.load_multi("siamcar_pico")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mp4(tmp_path_factory.mktemp("clip") / "clip.mp4", moving_patches(COUNT)[0])


@pytest.fixture
def session(tracker: siamtrack.MultiTracker, clip: Path) -> Session:
    return Session(tracker.engine, Frames(str(clip)))


def followed(session: Session, first: int, last: int, given: dict[int, tuple[float, ...]], kept: list[int]) -> dict:
    """Boxes by (key, frame) of stepping from frame `first` into `last`."""
    found = {}
    for number in range(first, last):
        stepped = session.step(number, given, kept)
        assert stepped is not None
        kept, given = [*kept, *given], {}
        found |= {(key, number + 1): result.box for key, result in stepped[1].items()}
    return found


def test_targets_given_together_are_the_multi_tracker_exactly(
    session: Session, tracker: siamtrack.MultiTracker, clip: Path
) -> None:
    found = followed(session, 0, COUNT - 1, {1: FIRST_BOX, 2: SECOND_BOX}, [])
    with open_source(clip) as frames:
        for number, frame in enumerate(frames):
            if number == 0:
                tracker.init(frame, [FIRST_BOX, SECOND_BOX])
                continue
            for key, result in zip((1, 2), tracker.update(frame), strict=True):
                assert found[key, number] == result.box
    assert session.step(COUNT - 1, {}, [1, 2]) is None  # the end


def test_a_target_that_comes_later_or_leaves_does_not_change_the_others(session: Session) -> None:
    alone = followed(session, 0, 20, {1: FIRST_BOX}, [])
    late = followed(session, 5, 20, {2: SECOND_BOX}, [1])
    # One and two targets are rounded differently, and each frame goes on from the last one's box.
    assert all(box == pytest.approx(alone[1, number], abs=0.1) for (key, number), box in late.items() if key == 1)
    left = followed(session, 12, 20, {}, [2])
    assert all(box == pytest.approx(late[key, number], abs=0.1) for (key, number), box in left.items())


def test_a_run_goes_on_from_any_frame_as_often_as_the_page_likes(session: Session) -> None:
    first = followed(session, 0, 20, {1: FIRST_BOX}, [])
    corrected = followed(session, 8, 20, {2: SECOND_BOX}, [])
    assert corrected[2, 20] != first[1, 20]
    again = followed(session, 8, 20, {}, [1])  # the corrected run is dropped, the first one goes on
    assert all(box == first[key, number] for (key, number), box in again.items())


def test_frames_behind_those_that_are_kept_are_read_again(
    session: Session, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siamtrack.apps.page.session._KEPT_BYTES", 3 * 160 * 120 * 3)
    with open_source(clip) as frames:
        truth = list(frames)
    for number in (0, 20, 29, 3, 2, 1, 28):
        frame = session.frames.at(number)
        assert frame is not None
        np.testing.assert_array_equal(frame, truth[number])
    assert session.frames.at(COUNT) is None


def test_states_that_are_not_kept_are_told(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamtrack.apps.page.session._KEPT_STEPS", 4)
    followed(session, 0, 10, {1: FIRST_BOX}, [])
    with pytest.raises(InputError, match="draw its box again"):
        session.step(2, {}, [1])
    with pytest.raises(InputError, match="draw its box again"):
        session.step(9, {}, [7])
