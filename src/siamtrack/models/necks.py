"""Necks: adapt backbone features of both sides for the correlation."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.models.siamese import Backbone, LinearMap, Neck


def centre_cells(x: Tensor, cells: int) -> Tensor:
    """The `cells` x `cells` cells in the middle of (B, C, H, W); the map itself where it is no larger."""
    if x.shape[-1] <= cells:
        return x
    start = (x.shape[-1] - cells) // 2
    return x[..., start : start + cells, start : start + cells]


def odd_cells(x: Tensor) -> Tensor:
    """(B, C, H, W) without its last row and column if their number is even, so that the map has a middle cell.

    Padded backbones of stride 8 give 16 cells for 127 pixels and 32 for 255; cell i is at the same pixel in both.
    """
    return x if x.shape[-1] % 2 else x[..., :-1, :-1]


def resized(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, h, w) brought bilinearly to the height and width of `like`."""
    # Plain numbers: a traced size would hide the shape of all that follows from an ONNX export.
    size = int(like.shape[-2]), int(like.shape[-1])
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """1 x 1 convolution and BatchNorm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def _adopt(projections: nn.ModuleList, others: nn.ModuleList, maps: Sequence[LinearMap]) -> None:
    """Let projections do with a map of their input what others do with their own; see `Neck.adopt`."""
    for own, other, level in zip(projections, others, maps, strict=True):
        assert isinstance(own, nn.Sequential) and isinstance(other, nn.Sequential)
        state = other.state_dict()
        kernel = state["0.weight"][..., 0, 0]
        # The map's constant passes the other's kernel and then counts as a part of the norm's mean.
        moved = {
            "0.weight": (kernel @ level.weight)[..., None, None],
            "1.running_mean": state["1.running_mean"] - kernel @ level.bias,
        }
        own.load_state_dict(state | moved)


class IdentityNeck(Neck):
    """No neck: both sides as the backbone gives them (SiamFC, SiamRPN)."""

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone maps, unchanged."""
        del template
        return features


class ProjectLevels(Neck):
    """1 x 1 convolution and BatchNorm to one width, level by level (SiamRPN++, section 3.2).

    Of the template the middle `template_cells` are kept (7: SiamRPN++, section 3.2), of a `centred` backbone one fewer
    if needed to stay centred.
    """

    def __init__(self, channels: tuple[int, ...], widths: tuple[int, ...], template_cells: int, centred: bool) -> None:
        super().__init__()
        self.levels = nn.ModuleList(projection(c, w) for c, w in zip(channels, widths, strict=True))
        self.template_cells = template_cells
        self.centred = centred

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone maps of one stride -> maps of `widths` channels and one size; the template's middle only."""
        maps = [level(x) for level, x in zip(self.levels, features, strict=True)]
        if not self.centred:
            return tuple(centre_cells(x, self.template_cells) if template else odd_cells(x) for x in maps)
        # Without padding each layer takes as much off all sides: the middles of all maps lie on each other.
        side = min(x.shape[-1] for x in maps)
        if template:
            side = min(side, self.template_cells)
            side -= (maps[0].shape[-1] - side) % 2
        return tuple(centre_cells(x, side) for x in maps)

    def adopt(self, other: Neck, maps: Sequence[LinearMap]) -> None:
        """See `Neck`."""
        assert isinstance(other, type(self))
        _adopt(self.levels, other.levels, maps)


class FuseLevels(Neck):
    """Projects levels of different strides to one width, resizes them to the finest stride and adds them.

    For small backbones on CPUs, where up-sampling the deep level costs a tenth of dilating it.
    """

    def __init__(self, channels: tuple[int, ...], width: int, template_cells: int = 7) -> None:
        super().__init__()
        self.levels = nn.ModuleList(projection(c, width) for c in channels)
        self.template_cells = template_cells

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone maps, finest first -> one map of `width` channels at the finest stride."""
        merged = self.levels[0](features[0])
        for level, x in zip(list(self.levels)[1:], features[1:], strict=True):
            merged = merged + resized(level(x), like=merged)
        return (centre_cells(merged, self.template_cells) if template else odd_cells(merged),)

    def adopt(self, other: Neck, maps: Sequence[LinearMap]) -> None:
        """See `Neck`."""
        assert isinstance(other, type(self))
        _adopt(self.levels, other.levels, maps)


def optional_projection(channels: tuple[int, ...], width: int, template_cells: int = 7) -> Neck:
    """The neck of a family whose `width` may be 0: `FuseLevels`, for backbones with padding, or none."""
    return FuseLevels(channels, width, template_cells) if width else IdentityNeck()


def level_neck(
    backbone: Backbone, width: int | tuple[int, ...], template_cells: int, merged: bool
) -> tuple[Neck, tuple[int, ...]]:
    """The neck of a backbone's levels, and the channels of each of its maps.

    Levels of one stride are projected each (`ProjectLevels`); others are merged (`FuseLevels`). `width` is one number
    for all levels or one for each; `merged` says that `model.correlations` is set, which needs a single map.

    Raises:
        ConfigError: widths that do not fit the levels, or levels that should be merged and are of one stride.
    """
    channels = backbone.channels
    widths = (width,) * len(channels) if isinstance(width, int) else width
    if len(widths) != len(channels):
        raise ConfigError(f"width needs one number, or {len(channels)} for as many levels; got {widths}")
    if len(set(backbone.strides)) > 1:
        return FuseLevels(channels, max(widths), template_cells), (max(widths),)
    if merged and len(widths) > 1:
        raise ConfigError(f"model.correlations needs one merged level; this backbone gives {len(widths)}")
    return ProjectLevels(channels, widths, template_cells, backbone.centred), widths
