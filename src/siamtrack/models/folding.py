"""Folds BatchNorm into the convolution before it: the same outputs with fewer passes over memory."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fold_norms"]


@torch.no_grad()
def fold_norms(net: nn.Module) -> nn.Module:
    """Fold, in place, every BatchNorm that follows a convolution into it; for inference only.

    Two modules belong together when one parent holds them one after the other and their channels agree, which is
    how all networks of this project are written. The folded network can be neither trained nor saved as weights.

    Returns:
        `net`, in evaluation mode.
    """
    net.eval()
    for parent in list(net.modules()):
        before: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if before is not None and _belong_together(before[1], child):
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))  # type: ignore[type-var, arg-type]
                setattr(parent, name, nn.Identity())
            before = (name, child)
    return net


def _belong_together(conv: nn.Module, norm: nn.Module) -> bool:
    kinds = isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    return kinds and conv.out_channels == norm.num_features
