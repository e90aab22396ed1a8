"""RoIAlign against a naive one, written as the paper describes it: bin by bin, sample by sample."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from siamtrack.models.roi_align import roi_align

STRIDE = 8


def naive(features: Tensor, box: tuple[float, float, float, float], cells: int, samples: int) -> Tensor:
    """One box of one image: (C, H, W) -> (C, cells, cells)."""
    channels, height, width = features.shape
    x0, y0, x1, y1 = box
    out = torch.zeros(channels, cells, cells)
    for row in range(cells):
        for column in range(cells):
            for j in range(samples):
                for i in range(samples):
                    x = x0 + (column + (i + 0.5) / samples) * (x1 - x0) / cells
                    y = y0 + (row + (j + 0.5) / samples) * (y1 - y0) / cells
                    # Cell i's middle lies at (i + 0.5) * stride.
                    u = min(max(x / STRIDE - 0.5, 0), width - 1)
                    v = min(max(y / STRIDE - 0.5, 0), height - 1)
                    left, top = math.floor(u), math.floor(v)
                    right, below = min(left + 1, width - 1), min(top + 1, height - 1)
                    a, b = u - left, v - top
                    out[:, row, column] += (
                        features[:, top, left] * (1 - a) * (1 - b)
                        + features[:, top, right] * a * (1 - b)
                        + features[:, below, left] * (1 - a) * b
                        + features[:, below, right] * a * b
                    ) / samples**2
    return out


places = st.floats(-40, 120)
sides = st.floats(1, 100)


@settings(max_examples=25, deadline=None)
@given(x=places, y=places, w=sides, h=sides, seed=st.integers(0, 99))
def test_parity_with_the_naive_one(x: float, y: float, w: float, h: float, seed: int) -> None:
    features = torch.rand(1, 2, 9, 11, generator=torch.Generator().manual_seed(seed))
    box = (x, y, x + w, y + h)
    found = roi_align(features, torch.tensor([[box]]), STRIDE, cells=3)
    assert torch.allclose(found[0, 0], naive(features[0], box, 3, 2), atol=1e-4)


def test_each_image_has_its_own_boxes() -> None:
    features = torch.rand(2, 3, 8, 8)
    boxes = torch.tensor([[[0.0, 0, 30, 20], [10, 10, 50, 60]], [[5.0, 5, 9, 9], [0, 0, 64, 64]]])
    found = roi_align(features, boxes, STRIDE)
    assert found.shape == (2, 2, 3, 6, 6)
    for image in range(2):
        for place in range(2):
            alone = roi_align(features[image : image + 1], boxes[image : image + 1, place : place + 1], STRIDE)
            assert torch.allclose(found[image, place], alone[0, 0])


def test_a_ramp_is_read_where_it_is() -> None:
    """On a map whose value is its place in pixels, a bin's value is the bin's middle."""
    line = (torch.arange(16) + 0.5) * STRIDE
    features = line.expand(16, 16)[None, None]
    found = roi_align(features, torch.tensor([[[20.0, 16, 80, 100]]]), STRIDE, cells=6)
    assert torch.allclose(found[0, 0, 0, 0], 20 + (torch.arange(6) + 0.5) * 10)


def test_gradients_reach_the_features() -> None:
    features = torch.rand(1, 1, 6, 6, requires_grad=True)
    roi_align(features, torch.tensor([[[8.0, 8, 24, 24]]]), STRIDE).sum().backward()
    assert features.grad is not None
    assert float(features.grad[0, 0, 1:3, 1:3].sum()) == pytest.approx(36, rel=0.35)
    assert float(features.grad[0, 0, 4:, 4:].abs().sum()) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_pools_the_same() -> None:
    features, boxes = torch.rand(2, 5, 16, 16), torch.tensor([[[3.0, 5, 40, 30], [-9, 0, 70, 80]]] * 2)
    found = roi_align(features.cuda(), boxes.cuda(), STRIDE)
    assert found.is_cuda and torch.allclose(found.cpu(), roi_align(features, boxes, STRIDE), atol=1e-5)
