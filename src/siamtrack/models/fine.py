"""SPM's fine matching stage: proposals pooled to one size and compared with the template one by one."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from siamtrack.models.roi_align import roi_align

__all__ = ["CorrelationNetwork", "FineKind", "FineStage", "RelationNetwork", "box_offsets", "refine_boxes"]

FineKind = Literal["relation", "correlation"]

# Offsets are learned in these units, so that they are of the order of one (published code).
_UNITS = (5.0, 5.0, 10.0, 10.0)
# exp of more than this is 7 times the proposal: a wild prediction, not a box.
_MAX_LOG_RATIO = 2.0


class RelationNetwork(nn.Module):
    """A learned distance: both sides concatenated, one 1 x 1 convolution, two fully connected layers.

    Args:
        channels: of the pooled features.
        cells: their side.
        squeeze: channels after the convolution.
        hidden: width of the fully connected layers.
    """

    def __init__(self, channels: int, cells: int, squeeze: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(2 * channels, squeeze, 1), nn.ReLU())
        self.fully = _fully(squeeze * cells**2, hidden)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """(N, C, n, n) template and proposal features -> (N, hidden)."""
        out: Tensor = self.fully(self.squeeze(torch.cat([z, x], 1)).flatten(1))
        return out


class CorrelationNetwork(nn.Module):
    """The ablation: what a cross-correlation sees, channel by channel, in place of a learned distance.

    The 1 x 1 convolution is shared by both sides; the products are summed over the cells of each channel.
    """

    def __init__(self, channels: int, cells: int, squeeze: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.scale = 1 / cells**2
        self.fully = _fully(squeeze, hidden)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """(N, C, n, n) template and proposal features -> (N, hidden)."""
        out: Tensor = self.fully((self.squeeze(z) * self.squeeze(x)).sum((2, 3)) * self.scale)
        return out


def _fully(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())


class FineStage(nn.Module):
    """Pools proposals from several feature levels, compares each with the template and refines its box.

    Args:
        channels: of the feature levels; each has a BatchNorm, for they differ in scale (published code).
        strides: of the feature levels in pixels.
        kind: "relation" or "correlation".
        squeeze: channels after the 1 x 1 convolution.
        hidden: width of the fully connected layers.
        cells: side of the pooled features.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        kind: FineKind = "relation",
        squeeze: int = 256,
        hidden: int = 256,
        cells: int = 6,
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels)
        self.strides = strides
        self.cells = cells
        network = RelationNetwork if kind == "relation" else CorrelationNetwork
        self.compare = network(sum(channels), cells, squeeze, hidden)
        self.cls = nn.Linear(hidden, 2)
        self.loc = nn.Linear(hidden, 4)
        for layer in (self.cls, self.loc):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def pool(self, levels: tuple[Tensor, ...], boxes: Tensor) -> Tensor:
        """(B, C_l, H_l, W_l) a level and (B, K, 4) xyxy in crop pixels -> (B, K, sum of C_l, cells, cells)."""
        pooled = [
            roi_align(norm(x), boxes, stride, self.cells)
            for norm, x, stride in zip(self.norms, levels, self.strides, strict=True)
        ]
        return torch.cat(pooled, 2)

    def forward(self, template: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, n, n) template and (B, K, C, n, n) proposals -> logits (B, K, 2) and offsets (B, K, 4)."""
        batch, count = pooled.shape[:2]
        z = template[:, None].expand_as(pooled).flatten(0, 1)
        seen = self.compare(z, pooled.flatten(0, 1))
        return self.cls(seen).reshape(batch, count, 2), self.loc(seen).reshape(batch, count, 4)


def box_offsets(boxes: Tensor, targets: Tensor) -> Tensor:
    """What leads from boxes to targets: (..., 4), (..., 4) centre and size -> (..., 4) in the network's units."""
    shift = (targets[..., :2] - boxes[..., :2]) / boxes[..., 2:]
    stretch = (targets[..., 2:].clamp(min=1e-3) / boxes[..., 2:]).log()
    return torch.cat([shift, stretch], -1) * boxes.new_tensor(_UNITS)


def refine_boxes(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Apply offsets: (..., 4) centre and size, (..., 4) in the network's units -> (..., 4) centre and size."""
    change = offsets.float() / boxes.new_tensor(_UNITS)
    centres = boxes[..., :2] + change[..., :2] * boxes[..., 2:]
    sizes = boxes[..., 2:] * change[..., 2:].clamp(max=_MAX_LOG_RATIO).exp()
    return torch.cat([centres, sizes], -1)
