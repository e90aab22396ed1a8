"""Folds BatchNorm into the convolution beside it: the same outputs with fewer passes over memory."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fold_norms"]


@torch.no_grad()
def fold_norms(net: nn.Module) -> nn.Module:
    """Fold, in place, every BatchNorm next to a convolution into it; for inference only.

    Two modules belong together when one parent holds them one after the other (the later one may begin a
    Sequential) and their channels agree, which is how all networks of this project are written. A norm before a
    convolution is folded only where the convolution pads nothing: padding would have to be moved through it. The
    folded network can be neither trained nor saved as weights.

    Returns:
        `net`, in evaluation mode.
    """
    net.eval()
    for parent in list(net.modules()):
        names = [name for name, _ in parent.named_children()]
        for first, second in pairwise(names):
            _fold_pair(parent, first, second)
    return net


def _fold_pair(parent: nn.Module, first: str, second: str) -> None:
    """Fold two children that follow one another, where they are a convolution and a norm."""
    one, holder, place = getattr(parent, first), parent, second
    if isinstance(getattr(parent, second), nn.Sequential):
        holder, place = getattr(parent, second), "0"
    other = getattr(holder, place, None)
    if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d) and one.out_channels == other.num_features:
        setattr(parent, first, fuse_conv_bn_eval(one, other))
        setattr(holder, place, nn.Identity())
    elif isinstance(one, nn.BatchNorm2d) and isinstance(other, nn.Conv2d) and _takes(other, one):
        setattr(holder, place, _norm_then_conv(one, other))
        setattr(parent, first, nn.Identity())


def _takes(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    unpadded = not isinstance(conv.padding, str) and not any(conv.padding)
    return unpadded and type(conv) is nn.Conv2d and conv.groups == 1 and conv.in_channels == norm.num_features


def _norm_then_conv(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """One convolution that answers as the norm and then `conv`."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt() * norm.weight
    shift = norm.bias - norm.running_mean * scale
    out = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, dilation=conv.dilation)  # type: ignore[arg-type]
    bias = (conv.weight * shift[:, None, None]).sum((1, 2, 3))
    out.weight = nn.Parameter(conv.weight * scale[:, None, None])
    out.bias = nn.Parameter(bias if conv.bias is None else bias + conv.bias)
    return out.eval()
