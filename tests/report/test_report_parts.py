"""The report's own arithmetic: bootstrap intervals, colours and how numbers are written."""

from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamtrack.metrics.scores import Scores
from siamtrack.report.drawing import DARK, LIGHT, Styles
from siamtrack.report.results import Comparison, Scored, find_differences, number, paired_bootstrap

SCORES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30)


def named(values: list[float]) -> dict[str, float]:
    return {f"s{n}": v for n, v in enumerate(values)}


@settings(max_examples=40, deadline=None)
@given(SCORES)
def test_an_interval_holds_its_mean_and_turns_with_the_trackers(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = (named(list(column)) for column in zip(*pairs, strict=True))
    found = paired_bootstrap(ours, theirs, resamples=500)
    assert found.low <= found.mean <= found.high
    assert found.mean == pytest.approx(np.mean([a - b for a, b in pairs]), abs=1e-12)
    turned = paired_bootstrap(theirs, ours, resamples=500)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_identical_trackers_have_an_interval_of_zero_width(values: list[float]) -> None:
    found = paired_bootstrap(named(values), named(values), resamples=200)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0) and not found.clear


def test_the_interval_is_that_of_the_normal_law_for_many_sequences() -> None:
    random = np.random.default_rng(3)
    hard = random.uniform(0, 1, 400)  # what both trackers share must cancel
    ours, theirs = hard + random.normal(0.02, 0.1, 400), hard
    found = paired_bootstrap(named(ours.tolist()), named(theirs.tolist()))
    error = float(np.std(ours - theirs)) / 20
    assert (found.low, found.high) == pytest.approx((found.mean - 1.96 * error, found.mean + 1.96 * error), abs=4e-4)


def test_only_common_and_known_sequences_count() -> None:
    found = paired_bootstrap({"a": 1.0, "b": math.nan, "c": 3.0}, {"a": 0.5, "b": 1.0, "d": 9.0})
    assert found.sequences == 1 and found.mean == found.low == found.high == 0.5
    nothing = paired_bootstrap({"a": 1.0}, {"b": 1.0})
    assert nothing.sequences == 0 and math.isnan(nothing.mean) and not nothing.clear


def test_trackers_without_a_known_score_come_last_and_make_no_difference() -> None:
    def tracker(name: str, *values: float) -> Scored:
        by_sequence = {f"s{n}": {"accuracy": value} for n, value in enumerate(values)}
        return Scored(name, Scores({"accuracy": math.nan}, by_sequence), Path(name))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trackers = [tracker("none", math.nan, math.nan), tracker("low", 0.2, 0.1), tracker("high", 0.9, 0.3)]
        found = find_differences(Comparison("vot2018", "vot-pysot", trackers))
    assert [(difference.first, difference.second) for difference in found] == [("high", "low")]


def test_the_seed_decides() -> None:
    ours, theirs = named([0.1, 0.9, 0.3, 0.4]), named([0.2, 0.3, 0.1, 0.9])
    assert paired_bootstrap(ours, theirs) == paired_bootstrap(ours, theirs)
    assert paired_bootstrap(ours, theirs, resamples=50) != paired_bootstrap(ours, theirs, resamples=50, seed=1)


# Machado, Oliveira, Fernandes 2009: what is seen without one kind of cone, on linear RGB
VISION = {
    "all": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    white = xyz.sum(axis=1)
    v = xyz @ np.clip(rgb, 0, 1) / white
    f = np.where(v > 0.008856, np.cbrt(v), 7.787 * v + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart_with_any_colour_vision(colours: tuple[str, ...], vision: str) -> None:
    seen = [lab(np.array(VISION[vision]) @ linear(c)) for c in colours]
    # a difference of 2.3 is just seen; beside each other lines of 12 look different
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 12


def test_colours_stand_out_from_the_ground() -> None:
    def contrast(a: str, b: str) -> float:
        weights = np.array([0.2126, 0.7152, 0.0722])
        low, high = sorted((weights @ linear(a), weights @ linear(b)))
        return float((high + 0.05) / (low + 0.05))

    assert min(contrast(c, "#ffffff") for c in LIGHT) > 2.2
    assert min(contrast(c, "#171b20") for c in DARK) > 4.5


def test_trackers_differ_in_more_than_colour() -> None:
    styles = Styles(f"t{n}" for n in range(35))
    lines = [styles.line(f"t{n}") for n in range(35)]
    assert len({(s["color"], str(s["linestyle"])) for s in lines}) == 35
    for colour_twins in (0, 1, 2):
        assert styles.line(f"t{colour_twins}")["linestyle"] != styles.line(f"t{colour_twins + 7}")["linestyle"]
    # neighbours, which are drawn together, differ in dashes and markers too
    for n in range(34):
        a, b = styles.line(f"t{n}"), styles.line(f"t{n + 1}")
        assert a["color"] != b["color"]
        assert styles.point(f"t{n}")["marker"] != styles.point(f"t{n + 1}")["marker"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.61249, "0.612"), (-0.0302, "−0.030"), (12.0, "12"), (91.26, "91.3"), (1234.5, "1234"), (math.nan, "–")],
)
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert number(value) == text


def test_one_sequence_says_nothing_about_the_next() -> None:
    found = paired_bootstrap({"a": 0.6}, {"a": 0.5})
    assert found.low == found.high == pytest.approx(0.1) and not found.clear
