"""Where a tracker looks: search regions of whole pixels, templates where the box is."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from siamtrack.config import Crops
from siamtrack.tracking.view import View

FRAME = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
CROPS = Crops(template=63, search=127)
NUMBERS = st.floats(5, 100, width=32)


def view(boxes: torch.Tensor, size: int = 127, crops: Crops = CROPS) -> View:
    return View.around(FRAME, boxes, crops, size, torch.full((len(boxes), 3), 90.0), "cpu")


@given(x=NUMBERS, y=NUMBERS, w=NUMBERS, h=NUMBERS)
def test_boxes_come_back_from_the_region_that_was_searched(x: float, y: float, w: float, h: float) -> None:
    boxes = torch.tensor([[x, y, x + w, y + h]])
    exact, searched = view(boxes), view(boxes).to_search()
    assert torch.equal(searched.region.centre, searched.region.centre.round())
    assert (searched.region.centre - exact.region.centre).abs().max() <= 0.5
    assert (searched.region.side - exact.region.side).abs().max() <= 0.5
    corners = searched.region.to_crop(boxes, 127)
    found = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    back = searched.to_frame(found)
    assert torch.allclose(back, torch.tensor([[x + w / 2, y + h / 2, w, h]]), atol=1e-3)


def test_a_difference_in_the_fifth_digit_leaves_the_crop_as_it_is() -> None:
    boxes = torch.tensor([[40.3, 50.2, 70.1, 90.8]])
    near = boxes + 1e-4
    assert torch.equal(view(boxes).to_search().pixels(), view(near).to_search().pixels())
    # A whole pixel further the crop shows something else.
    assert not torch.equal(view(boxes).to_search().pixels(), view(boxes + 1).to_search().pixels())


def test_a_tiny_region_keeps_a_pixel() -> None:
    tiny = view(torch.tensor([[40.0, 50.0, 40.001, 50.001]])).to_search()
    assert float(tiny.region.side[0]) == 1 and torch.isfinite(tiny.pixels()).all()


def test_published_rules_round_as_they_do() -> None:
    rule = view(torch.tensor([[40.3, 50.2, 70.1, 90.8]]), crops=Crops(template=63, search=127, rounding="pysot"))
    assert rule.to_search() is rule
