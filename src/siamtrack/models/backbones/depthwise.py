"""Depth-wise convolutions whose gradients a CPU works out in the precision that is fast there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DepthwiseConv", "convolve"]


class DepthwiseConv(nn.Conv2d):
    """A depth-wise convolution; see `convolve`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        """(B, C, H, W) -> (B, C', H', W')."""
        return convolve(input, self, self.padding)


def convolve(x: Tensor, conv: nn.Conv2d, padding: tuple[int, ...] | list[int] | str) -> Tensor:
    """`conv` with this padding: (B, C, H, W) -> (B, C', H', W').

    Under autocast a CPU learns depth-wise convolutions in float32, but for 3 x 3 ones without stride and dilation:
    oneDNN's bfloat16 gradients take 2 to 14 times as long (torch 2.13), which was a third of a training step.
    """
    parts = conv.stride, padding, conv.dilation, conv.groups
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or not _learns(x, conv) or _quick(conv):
        return F.conv2d(x, conv.weight, conv.bias, *parts)  # type: ignore[arg-type]
    with torch.autocast("cpu", enabled=False):
        bias = None if conv.bias is None else conv.bias.float()
        return F.conv2d(x.float(), conv.weight.float(), bias, *parts).to(x.dtype)  # type: ignore[arg-type]


def _learns(x: Tensor, conv: nn.Conv2d) -> bool:
    return torch.is_grad_enabled() and (conv.weight.requires_grad or x.requires_grad)


def _quick(conv: nn.Conv2d) -> bool:
    """Whether the gradients are fast in bfloat16 too."""
    return conv.groups == 1 or (max(conv.kernel_size) <= 3 and conv.stride == (1, 1) and conv.dilation == (1, 1))
