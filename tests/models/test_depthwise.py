"""Depth-wise convolutions under autocast: the same answers, and gradients worked out in float32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.models.backbones.mobilenet import DepthwiseConv


def learnt(conv: DepthwiseConv, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradient of the input and of the weights, under autocast."""
    x = x.clone().requires_grad_()
    conv.weight.grad = None
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(x)
    out.float().square().sum().backward()
    assert x.grad is not None and conv.weight.grad is not None
    return out, x.grad, conv.weight.grad


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(5, 1, 1), (3, 2, 1), (3, 1, 2), (3, 1, 1)])
def test_the_gradients_are_those_of_float32(kernel: int, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    conv = DepthwiseConv(6, 6, kernel, stride, dilation * (kernel // 2), dilation, groups=6)
    x = torch.randn(2, 6, 12, 12).bfloat16()
    out, *found = learnt(conv, x)
    assert out.dtype == torch.bfloat16
    exact, *wanted = learnt(conv.double(), x.double())
    assert torch.allclose(out.double(), exact.double(), rtol=0.02, atol=0.02)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one.double(), other.double(), rtol=0.05, atol=0.05 * float(other.std()))


def test_what_does_not_learn_stays_in_bfloat16() -> None:
    conv = DepthwiseConv(4, 4, 5, padding=2, groups=4).requires_grad_(False)
    x = torch.randn(1, 4, 9, 9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        plain = F.conv2d(x, conv.weight, conv.bias, padding=2, groups=4)
        assert torch.equal(conv(x), plain)
        conv.requires_grad_(True)
        with torch.no_grad():
            assert torch.equal(conv(x), plain)
        # Worked out in float32 and rounded once: not the same, as rounding the weights makes a difference.
        assert not torch.equal(conv(x), plain) and torch.allclose(conv(x), plain, rtol=0.05, atol=0.05)
