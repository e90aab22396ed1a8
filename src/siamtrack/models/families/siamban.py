"""SiamBAN (Chen et al., Siamese Box Adaptive Network for Visual Tracking, CVPR 2020): no anchors, ellipses as labels.

From the paper: classification and side distances from a depth-wise correlation for each of ResNet-50's last three
stages, fused by learned weights; ellipse labels; cross-entropy and IoU loss. From the public code: each level's learned
scale and exponential before the fusion, the numbers of cells learned from a pair, negative pairs, and the 1 added to
both areas of the IoU. No published weights or recorded outputs were available for comparison.

Beyond the paper: `correlations` for small backbones, whose levels are merged before one head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from pydantic import dataclasses as pydantic
from torch import Tensor, nn

from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.correlation import CorrelationPart
from siamtrack.models.fields import STRICT, LossWeight, Width, refusing
from siamtrack.models.heads import (
    DepthwiseBranch,
    LevelAggregation,
    LightRpnHead,
    aggregate,
    boxes_of_sides,
    decode_sides,
    side_iou,
    sides_of_boxes,
)
from siamtrack.models.losses import (
    Generators,
    Terms,
    TrainingBatch,
    balanced_cross_entropy,
    by_part,
    draw_some,
    joint_mean,
    weighted,
)
from siamtrack.models.necks import level_neck
from siamtrack.models.siamese import Candidates, Head, Maps, SiameseNet


@refusing
@pydantic.dataclass(frozen=True, config=STRICT)
class SiamBan:
    """Fields are the paper's choices and ablations; the defaults are the published tracker.

    Attributes:
        backbone: its name; see `build_backbone`.
        levels: which of conv2..conv5 are used.
        width: channels after the neck and in the head.
        correlations: for small networks with one merged level, in place of the depth-wise correlation: what
            `LightRpnHead` concatenates.
        fusion: the levels' maps are added with learned weights, or their mean is taken.
        template_cells: side of the template features' middle that is kept.
        unit: pixels that an untrained head predicts for each side.
        loss_weights: of classification and box.
    """

    family: Literal["siamban"] = "siamban"
    backbone: str = "resnet50"
    levels: tuple[int, ...] = Field(default=(3, 4, 5), min_length=1)
    width: Width = 256
    correlations: tuple[CorrelationPart, ...] = ()
    fusion: LevelAggregation = "weighted"
    template_cells: int = Field(default=7, ge=3, le=64)
    unit: float = Field(default=1.0, gt=0)
    loss_weights: tuple[LossWeight, LossWeight] = (1.0, 1.0)

    def build(self) -> SiameseNet:
        """The network with random weights.

        Raises:
            ConfigError: an unknown backbone or level, or `correlations` with levels that are not merged.
        """
        backbone = build_backbone(self.backbone, self.levels)
        neck, widths = level_neck(backbone, self.width, self.template_cells, merged=bool(self.correlations))
        head: Head = BanHead(self.width, len(widths), self.fusion, self.unit)
        if self.correlations:
            head = LightBanHead(self.width, self.correlations, self.template_cells, self.unit)
        coder = EllipseCoder(float(backbone.stride))
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, coder)

    def loss(self, net: SiameseNet, batch: TrainingBatch, rngs: Generators) -> Terms:
        """Forward pass and loss of one batch: `cls`, `loc` and `total`; `rngs` draw the cells to learn from."""
        maps = net.maps_of(batch)
        coder, cells, size = EllipseCoder(float(net.backbone.stride)), maps["cls"].shape[-1], batch.search.shape[-1]

        def targets(boxes: Tensor, present: Tensor, rng: torch.Generator) -> EllipseTargets:
            return coder.encode(boxes, present, cells, size, rng)

        return weighted(ban_loss(maps, by_part(targets, rngs, batch.boxes, batch.present)), self.loss_weights)


class BanHead(Head):
    """One box adaptive head for each level, their maps fused by learned weights, apart for `cls` and `loc`.

    Maps: `cls` (B, 2, R, R) logits of background and target, `loc` (B, 4, R, R) log distances to left, top, right and
    bottom in pixels, fused after each level's exponential (public code). Arguments are those of `SiamBan`; `levels` is
    the number of levels.
    """

    def __init__(self, width: int, levels: int, fusion: LevelAggregation, unit: float) -> None:
        super().__init__()
        self.cls = nn.ModuleList(DepthwiseBranch(width, width, 2) for _ in range(levels))
        self.loc = nn.ModuleList(DepthwiseBranch(width, width, 4) for _ in range(levels))
        learned = fusion == "weighted" and levels > 1
        self.cls_weight = nn.Parameter(torch.ones(levels)) if learned else None
        self.loc_weight = nn.Parameter(torch.ones(levels)) if learned else None
        self.loc_scale = nn.Parameter(torch.ones(levels))
        self.log_unit = math.log(unit)

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """Features of both sides, level by level -> `cls`, `loc`."""
        cls = [branch(z, x) for branch, z, x in zip(self.cls, template, search, strict=True)]
        # In float32, for the exponential of a wild prediction does not fit into less.
        loc = [
            (scale * branch(z, x).float()).clamp(max=10).exp()
            for branch, scale, z, x in zip(self.loc, self.loc_scale, template, search, strict=True)
        ]
        sides = aggregate(loc, self.loc_weight)
        return {"cls": aggregate(cls, self.cls_weight), "loc": sides.clamp(min=1e-6).log() + self.log_unit}


class LightBanHead(LightRpnHead):
    """`BanHead` for small networks with one merged level: a cell has one box, which is no anchor's."""

    def __init__(self, width: int, parts: tuple[CorrelationPart, ...], template_cells: int, unit: float) -> None:
        super().__init__(width, 1, parts, template_cells)
        self.log_unit = math.log(unit)

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """One level of features of both sides -> `cls`, `loc`, as `BanHead`."""
        maps = super().forward(template, search)
        return {"cls": maps["cls"], "loc": maps["loc"] + self.log_unit}


@dataclass(frozen=True)
class EllipseTargets:
    """Targets of the loss; R x R cells flattened to K.

    Attributes:
        labels: (B, K) int64, 1 target, 0 background, -1 left out.
        sides: (B, K, 4) distances to left, top, right, bottom in crop pixels; meaningful inside the box.
    """

    labels: Tensor
    sides: Tensor


@dataclass(frozen=True)
class EllipseCoder:
    """Between SiamBAN's maps and boxes, on one grid for training and tracking.

    A cell inside the ellipse whose axes are half of the box's sides is positive, one outside the ellipse that touches
    the box's sides is negative, and what lies between is left out (the paper's section on ground truth).

    Attributes:
        stride: of the response map in crop pixels.
        positives: largest number of positive cells learned from a pair, or of negative ones from a negative pair.
        samples: largest number of cells learned from a pair, `samples - positives` of them negative (public code).
    """

    stride: float
    positives: int = 16
    samples: int = 64

    def decode(self, maps: Maps, size: int) -> Candidates:
        """Maps of search crops of `size` pixels -> R * R candidates, scored by a softmax."""
        cells, device = maps["cls"].shape[-1], maps["cls"].device
        points = grid_points(cells, self.stride, size, device)
        centres, sizes = boxes_of_sides(points, decode_sides(maps))
        score = maps["cls"].float().softmax(1)[:, 1].flatten(1)
        return Candidates(centres, sizes, score, grid_positions(cells, device), cells)

    def ellipse(self, boxes: Tensor, cells: int, size: int, share: float) -> Tensor:
        """Boxes (B, 4) xyxy -> (B, K): below 1 inside the central ellipse with axes of `share` times the sides."""
        points = grid_points(cells, self.stride, size).to(boxes)
        centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        axes = share * (boxes[:, None, 2:] - boxes[:, None, :2]) / 2
        return ((points[None] - centre) / axes.clamp(min=1e-3)).square().sum(-1)

    def encode(
        self, boxes: Tensor, present: Tensor, cells: int, size: int, generator: torch.Generator | None = None
    ) -> EllipseTargets:
        """Boxes in search crops -> targets of the maps.

        Args:
            boxes: (B, 4) xyxy in crop pixels; of a negative pair, the other object's box.
            present: (B,) bool, False for negative pairs: no positives, and background inside the inner ellipse.
            cells: side R of the response map.
            size: side of the search crop in pixels.
            generator: draws the cells to learn from where there are too many.
        """
        here = present[:, None]
        inner = self.ellipse(boxes, cells, size, 0.5) < 1
        outer = self.ellipse(boxes, cells, size, 1.0) > 1
        positive = draw_some(inner & here, self.positives, generator)
        negative = torch.where(
            here,
            draw_some(outer, self.samples - self.positives, generator),
            draw_some(inner, self.positives, generator),
        )
        labels = positive.long() - (~positive & ~negative).long()
        return EllipseTargets(labels, sides_of_boxes(grid_points(cells, self.stride, size).to(boxes), boxes))


def ban_loss(maps: Maps, targets: EllipseTargets) -> Terms:
    """The unweighted terms `cls` and `loc` of `BanHead`'s maps.

    `cls` is the cross-entropy of the drawn cells, one half each of positives and negatives; `loc` is 1 - IoU of the
    predicted and the true box, averaged over the positive cells, with 1 square pixel added to both areas (public code).
    Cells are counted over all processes.
    """
    inter, union = side_iou(decode_sides(maps), targets.sides.clamp(min=0))
    return {
        "cls": balanced_cross_entropy(maps["cls"].flatten(2), targets.labels),
        "loc": joint_mean(1 - (inter + 1) / (union + 1), targets.labels == 1),
    }
