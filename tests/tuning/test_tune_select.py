"""The choice among settings, and the folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamtrack.config import Preset
from siamtrack.errors import DataError
from siamtrack.tuning.search import Space, choose, fold_names, make_space, paired_gain, plateau

LINE = make_space(Preset("p"), {"track.window": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]})


def pick(space: Space, scores: np.ndarray) -> dict[str, object]:
    settings = space.settings()
    return space.named(settings[choose(space, settings, scores)])


def test_a_clear_best_is_chosen() -> None:
    scores = np.array([[0.3], [0.4], [0.5], [0.9], [0.5], [0.4], [0.3]]) + np.zeros(4)
    assert pick(LINE, scores) == {"track.window": 0.4}


def test_of_equals_the_middle_is_chosen_though_the_edge_is_a_little_better_by_chance() -> None:
    scores = np.full((7, 4), 0.6)
    scores[5:] = 0.3
    scores[0] += [0.08, -0.02, -0.02, -0.02]  # best mean, but of one sequence alone
    assert scores.mean(1).argmax() == 0
    assert plateau(LINE, LINE.settings(), scores) == [0, 1, 2, 3, 4]
    assert pick(LINE, scores) == {"track.window": 0.3}


def test_a_plateau_ends_where_a_setting_is_surely_worse() -> None:
    scores = np.full((7, 4), 0.6)
    scores[2] -= [0.010, 0.011, 0.012, 0.013]
    assert plateau(LINE, LINE.settings(), scores) == [0, 1]


@pytest.mark.parametrize("sequences", range(2, 20))
def test_what_differs_in_one_sequence_alone_is_chance_and_in_two_is_not(sequences: int) -> None:
    scores = np.full((7, sequences), 0.7)
    scores[1:, 0] = 0.1
    assert len(plateau(LINE, LINE.settings(), scores)) == 7
    scores[1:, 1] = 0.1
    assert plateau(LINE, LINE.settings(), scores) == [0]


def test_words_are_not_steps_of_a_plateau() -> None:
    space = make_space(Preset("p"), {"track.select": ["best", "neighbours"], "track.window": [0.1, 0.2, 0.3]})
    scores = np.full((6, 3), 0.5)
    scores[4] += 0.0  # all equal: the best is the first, its word is kept
    assert plateau(space, space.settings(), scores) == [0, 1, 2]
    assert pick(space, scores) == {"track.select": "best", "track.window": 0.2}


def test_a_plateau_in_two_directions_has_its_centre_in_both() -> None:
    space = make_space(Preset("p"), {"track.window": [0.1, 0.2, 0.3, 0.4], "track.penalty": [0.0, 0.1, 0.2, 0.3]})
    scores = np.full((4, 4, 3), 0.2)
    scores[1:, :3] = 0.6
    assert pick(space, scores.reshape(16, 3)) == {"track.window": 0.3, "track.penalty": 0.1}


@given(st.data())
def test_the_choice_does_not_depend_on_how_hard_each_sequence_is(data: st.DataObject) -> None:
    cell = st.integers(0, 64)
    rows = data.draw(st.lists(st.lists(cell, min_size=4, max_size=4), min_size=7, max_size=7))
    harder = data.draw(st.lists(cell, min_size=4, max_size=4))
    scores = np.array(rows) / 64
    settings = LINE.settings()
    found = choose(LINE, settings, scores)
    assert found == choose(LINE, settings, scores + np.array(harder) / 64)
    assert found in plateau(LINE, settings, scores)
    gain, error = paired_gain(scores[scores.mean(1).argmax()], scores[found])
    assert 0 <= gain <= error + 1e-12


def test_targets_of_one_video_share_a_fold() -> None:
    names = [
        "Jogging-1",
        "Jogging-2",
        "PETS-S3-MF1-1",
        "PETS-S3-MF1-2",
        "PETS-S3-MF1-3",
        "bag",
        "book",
        "Man",
    ]
    folds = fold_names(names, 3)
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    assert sorted(map(len, folds)) == [2, 3, 3]
    for video in ("Jogging", "PETS"):
        assert sum(any(name.startswith(video) for name in fold) for fold in folds) == 1
    assert folds == fold_names(names[::-1], 3)
    assert {tuple(map(tuple, fold_names(names, 3, seed))) for seed in range(5)} != {tuple(map(tuple, folds))}


def test_numbered_sequences_of_one_stem_are_sequences_of_their_own() -> None:
    assert len(fold_names([f"clip-{n}" for n in range(12)])) == 5
    assert len(fold_names(["one", "two", "three"])) == 3


@pytest.mark.parametrize(
    ("names", "folds"), [(["a"], None), (["a", "b", "c"], 4), ([], None), (["a-1", "a-2", "b"], 3)]
)
def test_too_few_videos_for_the_folds_are_refused(names: list[str], folds: int | None) -> None:
    with pytest.raises(DataError, match=r"--folds|folds"):
        fold_names(names, folds)
