from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from siamtrack.geometry.overlap import clip_rectangles, polygon_iou, pysot_overlaps, rectangle_iou, toolkit_overlaps
from siamtrack.geometry.regions import FloatArray, widen
from siamtrack.metrics.ope import EPS

Rule = Callable[[FloatArray, FloatArray, tuple[int, int] | None], FloatArray]


def region(numbers: list[Any]) -> FloatArray:
    return widen(np.array([[np.nan if v is None else float(v) for v in numbers]]))


def compare(cases: dict[str, Any], scorer: str, rule: Rule, skip: set[str]) -> int:
    """Compare a rule with the recorded answers of a scorer, both ways round; return the number of answers."""
    width, height = cases["image_size"]
    sizes = {
        "unbounded": None,
        "bounds_(w,h)": (width, height),
        "bound_(w,h)": (width, height),
        "bounds_(w-1,h-1)": (width - 1, height - 1),
    }
    seen = 0
    for name, pair in cases["pairs"].items():
        for bound, expected in pair.get(scorer, {}).items():
            if bound not in sizes or isinstance(expected, str) or name in skip or f"{name} {bound}" in skip:
                continue
            a, b = region(pair["a"]), region(pair["b"])
            wanted = np.nan if expected is None else expected
            for found in (rule(a, b, sizes[bound]), rule(b, a, sizes[bound])):
                np.testing.assert_allclose(found, [wanted], rtol=0, atol=1e-9, err_msg=f"{name} {bound}")
            seen += 1
    return seen


def test_pysot_raster_agrees_with_region_c(overlap_cases: dict[str, Any]) -> None:
    assert compare(overlap_cases, "pysot_region", pysot_overlaps, {"nan_box"}) > 130


def test_toolkit_raster_agrees_with_vot_toolkit(overlap_cases: dict[str, Any]) -> None:
    # left of 0 without a bound the toolkit's slices wrap around; no scorer asks for it
    skip = {"nan_box", "outside_image_both unbounded"}
    assert compare(overlap_cases, "vot_toolkit_0.9.0", toolkit_overlaps, skip) > 85


def test_exact_polygons_agree_with_shapely(overlap_cases: dict[str, Any]) -> None:
    assert compare(overlap_cases, "shapely_got10k_poly_iou", polygon_iou, {"inf_box"}) > 85


def test_rectangles_agree_with_the_scorers(overlap_cases: dict[str, Any]) -> None:
    size = tuple(overlap_cases["image_size"])
    for name, pair in overlap_cases["pairs"].items():
        a, b = region(pair["a"])[:, :4], region(pair["b"])[:, :4]
        found = {
            "got10k_rect_iou": rectangle_iou(a, b, eps=EPS),
            "got10k_rect_iou_bounded": rectangle_iou(clip_rectangles(a, size), clip_rectangles(b, size), eps=EPS),
            "pysot_overlap_ratio": rectangle_iou(a, b),
        }
        for scorer, value in found.items():
            if scorer in pair:
                wanted = np.nan if pair[scorer] is None else pair[scorer]
                np.testing.assert_allclose(value, [wanted], rtol=0, atol=1e-12, err_msg=f"{name} {scorer}")


def test_a_region_that_is_not_finite_scores_zero() -> None:
    box = np.array([[50.0, 50, 20, 20]])
    for bad in (np.full((1, 4), np.nan), np.array([[np.inf, 0, 10, 10]])):
        assert pysot_overlaps(bad, box, (320, 240)) == 0
        assert toolkit_overlaps(bad, box, (320, 240)) == 0


def _drawn(points: FloatArray, width: int, height: int, flat_edges: bool) -> np.ndarray:
    """Fill a polygon of whole corners row by row, one scan line at a time, as both scorers describe it."""
    mask = np.zeros((height, width), dtype=bool)
    for y in range(height):
        nodes = []
        for i in range(4):
            (x0, y0), (x1, y1) = points[i], points[i - 1]
            if min(y0, y1) <= y <= max(y0, y1):
                if y0 != y1:
                    nodes.append(int(x0 + (y - y0) / (y1 - y0) * (x1 - x0)))
                elif flat_edges:
                    nodes.append(int(x0))
        nodes.sort()
        i = 0
        while i < len(nodes) - 1:
            if nodes[i] == nodes[i + 1] and (not flat_edges or i < len(nodes) - 2):
                i += 1
                continue
            mask[y, max(nodes[i], 0) : max(nodes[i + 1] + 1, 0)] = True
            i += 2
    return mask


@pytest.mark.parametrize(("rule", "flat"), [(pysot_overlaps, False), (toolkit_overlaps, True)])
def test_counts_are_those_of_filled_masks(rule: Rule, flat: bool) -> None:
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 60, (300, 8)).astype(float), rng.integers(0, 60, (300, 8)).astype(float)
    first[0::3, [3, 7]] = first[0::3, [1, 5]]  # many horizontal edges
    found = rule(first, second, (60, 60))
    checked = 0
    for a, b, overlap in zip(first, second, found, strict=True):
        corners = np.stack([a, b]).reshape(2, 4, 2)
        origin = corners.min(axis=(0, 1))
        width, height = (corners.max(axis=(0, 1)) - origin + 1).astype(int)
        masks = [_drawn(p - origin, width, height, flat) for p in corners]
        union = (masks[0] | masks[1]).sum()
        apart = (np.minimum(*corners.max(axis=1)) <= np.maximum(*corners.min(axis=1))).any()
        if union and not (apart and not flat):
            assert overlap == pytest.approx((masks[0] & masks[1]).sum() / union, abs=1e-7)
            checked += 1
    assert checked > 200


boxes = hnp.arrays(
    np.float64,
    (7, 4),
    elements=st.floats(-50, 400, allow_nan=False, width=32) | st.sampled_from([np.nan, np.inf, 0.0, -1.0]),
)


@settings(max_examples=60, deadline=None)
@given(boxes, boxes)
def test_overlaps_are_symmetric_and_bounded_whatever_comes(a: FloatArray, b: FloatArray) -> None:
    for rule in (
        lambda x, y: rectangle_iou(x, y),
        lambda x, y: pysot_overlaps(x, y, (320, 240)),
        lambda x, y: toolkit_overlaps(x, y, (320, 240)),
    ):
        there, back = rule(a, b), rule(b, a)
        np.testing.assert_allclose(there, back, atol=1e-12)
        known = there[~np.isnan(there)]
        assert ((known >= 0) & (known <= 1)).all()


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, (5, 4), elements=st.floats(1, 200, width=32)),
    hnp.arrays(np.float64, (5, 4), elements=st.floats(1, 200, width=32)),
)
def test_exact_polygons_of_rectangles_are_rectangle_iou(a: FloatArray, b: FloatArray) -> None:
    x, y, w, h = a.T
    corners = np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1)
    np.testing.assert_allclose(polygon_iou(corners, b, None), rectangle_iou(a, b), atol=1e-9)
