"""Necks: adapt backbone features of both sides for the correlation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Keep", "Merge", "Project", "centre_cells", "odd_cells", "projection"]


def centre_cells(x: Tensor, cells: int) -> Tensor:
    """The `cells` x `cells` cells in the middle of (B, C, H, W); the map itself where it is no larger."""
    if x.shape[-1] <= cells:
        return x
    start = (x.shape[-1] - cells) // 2
    return x[..., start : start + cells, start : start + cells]


def odd_cells(x: Tensor) -> Tensor:
    """(B, C, H, W) without its last row and column where their number is even: the map then has a middle cell.

    Padded backbones of stride 8 give 16 cells for 127 pixels and 32 for 255; their cell i lies at the same
    pixel in both, so what the correlation compares stays aligned.
    """
    even = 1 - x.shape[-1] % 2
    return x[..., : x.shape[-2] - even, : x.shape[-1] - even] if even else x


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """1 x 1 convolution and BatchNorm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class Keep(nn.Module):
    """No neck: both sides as the backbone gives them (SiamFC, SiamRPN)."""

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone maps, unchanged."""
        del template
        return features


class Project(nn.Module):
    """1 x 1 convolution and BatchNorm to one width, level by level (SiamRPN++, section 3.3).

    Args:
        channels: of the backbone's levels.
        width: channels after the projection, one number for all levels or one for each.
        template_cells: side of the middle part of the template that is kept (7: SiamRPN++, section 3.3).
    """

    def __init__(self, channels: tuple[int, ...], width: int | tuple[int, ...] = 256, template_cells: int = 7) -> None:
        super().__init__()
        widths = (width,) * len(channels) if isinstance(width, int) else width
        self.levels = nn.ModuleList(projection(c, w) for c, w in zip(channels, widths, strict=True))
        self.template_cells = template_cells

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone maps of one resolution -> maps of `width` channels; the template's middle only."""
        maps = [level(x) for level, x in zip(self.levels, features, strict=True)]
        return tuple(centre_cells(x, self.template_cells) if template else odd_cells(x) for x in maps)


class Merge(nn.Module):
    """Projects levels of different strides to one width, brings them to the finest stride and adds them.

    For small backbones: up-sampling the deep level costs a tenth of dilating it (depth-wise convolutions with
    dilation are slow on CPUs).
    """

    def __init__(self, channels: tuple[int, ...], width: int = 128, template_cells: int = 7) -> None:
        super().__init__()
        self.levels = nn.ModuleList(projection(c, width) for c in channels)
        self.template_cells = template_cells

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone maps, finest first -> one map of `width` channels at the finest stride."""
        merged = self.levels[0](features[0])
        for level, x in zip(list(self.levels)[1:], features[1:], strict=True):
            y = level(x)
            merged = merged + F.interpolate(y, size=merged.shape[-2:], mode="bilinear", align_corners=False)
        return (centre_cells(merged, self.template_cells) if template else odd_cells(merged),)
