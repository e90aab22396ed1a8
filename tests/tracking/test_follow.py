from __future__ import annotations

import numpy as np

from footage import moving_patches
from siamtrack.geometry.inputs import Box
from siamtrack.tracking.tracker import Result, follow
from template_matcher import TemplateMatcher


def test_steps_carry_numbers_given_boxes_and_found_ones() -> None:
    frames, truth = moving_patches(25)
    steps = list(follow(TemplateMatcher(), frames, [tuple(box) for box in truth[0]], start=100))
    assert [step.number for step in steps] == list(range(100, 125))
    assert steps[0].results == [Result(Box(*box), 1.0, 1.0, "tracking") for box in truth[0]]
    np.testing.assert_array_equal([[result.box for result in step.results] for step in steps], truth)
    assert all(step.frame is frame and step.seconds >= 0 for step, frame in zip(steps, frames, strict=True))


def test_unsure_results_are_told() -> None:
    frames, truth = moving_patches(3)
    frames[2] = np.random.default_rng(0).integers(0, 255, frames[2].shape, dtype=np.uint8)
    steps = list(follow(TemplateMatcher(), frames, truth[0, :1].tolist()))
    assert [step.results[0].status for step in steps] == ["tracking", "tracking", "uncertain"]
