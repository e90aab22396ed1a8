from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from siamtrack.errors import InputError
from siamtrack.geometry.boxes import as_boxes, box_iou, cxcywh_to_xyxy, xywh_to_xyxy, xyxy_to_cxcywh, xyxy_to_xywh

numbers = st.floats(-500, 500, width=32)
sides = st.floats(0.5, 500, width=32)
boxes = st.tuples(numbers, numbers, sides, sides)


@given(boxes)
def test_the_three_ways_to_write_a_box_agree(box: tuple[float, ...]) -> None:
    xywh = torch.tensor([box])
    xyxy = xywh_to_xyxy(xywh)
    assert torch.allclose(xyxy_to_xywh(xyxy), xywh, atol=1e-3)
    assert torch.allclose(cxcywh_to_xyxy(xyxy_to_cxcywh(xyxy)), xyxy, atol=1e-3)


@given(boxes, boxes)
def test_overlap_is_symmetric_bounded_and_one_with_itself(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    first, second = xywh_to_xyxy(torch.tensor([a])).double(), xywh_to_xyxy(torch.tensor([b])).double()
    overlap = box_iou(first, second)
    assert 0 <= float(overlap) <= 1 + 1e-9
    assert torch.equal(overlap, box_iou(second, first))
    assert math.isclose(float(box_iou(first, first)), 1.0, rel_tol=1e-6)


def test_overlap_agrees_with_counting_whole_pixels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = rng.integers(0, 20, (2, 2))
        size = rng.integers(1, 20, (2, 2))
        masks = np.zeros((2, 40, 40), bool)
        for i in range(2):
            x, y = rows[i]
            w, h = size[i]
            masks[i, y : y + h, x : x + w] = True
        counted = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
        xyxy = torch.tensor(np.concatenate([rows, rows + size], 1), dtype=torch.float64)
        assert float(box_iou(xyxy[0], xyxy[1])) == pytest.approx(counted, abs=1e-12)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((1, 2, 3), "four numbers"),
        ((1, 2, math.nan, 4), "finite"),
        ((1, 2, math.inf, 4), "finite"),
        ((1, 2, 0, 4), "above 0"),
        ((1, 2, 5, -4), "above 0"),
        ((200, 2, 5, 4), "outside"),
        ((-10, 2, 5, 4), "outside"),
        ((1, 2, 1e30, 4), "0.01 to 1e"),
        ((-1e308, -1e308, 1.7e308, 1.7e308), "0.01 to 1e"),
        ((1, 2, 1e-30, 4), "0.01 to 1e"),
        ("abcd", "four numbers"),
        ([], "four numbers"),
    ],
)
def test_a_box_that_cannot_be_used_is_refused_with_one_line(box: object, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        as_boxes(box, (100, 80))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_one_box_and_many_boxes_are_both_rows() -> None:
    assert as_boxes((10, 20, 30, 40), (100, 80)).tolist() == [[10, 20, 40, 60]]
    assert as_boxes(np.array([[0, 0, 5, 5], [90, 70, 20, 20]]), (100, 80)).shape == (2, 4)
