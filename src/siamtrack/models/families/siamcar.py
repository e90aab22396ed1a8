"""SiamCAR (Guo et al., CVPR 2020): classification, centre-ness and sides, without anchors.

Beyond the paper: EfficientNet-Lite0 or MobileNetV2 with separable towers for CPUs (`light`), and further parts
of the correlation (`correlations`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic import dataclasses as pydantic
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.correlation import CorrelationMerge, CorrelationPart
from siamtrack.models.fields import STRICT, LossWeight, Width, refusing
from siamtrack.models.heads import boxes_of_sides, decode_sides, init_outputs, separable_tower, side_iou, sides_of_boxes
from siamtrack.models.losses import Generators, Terms, TrainingBatch, joint_count, joint_mean, weighted
from siamtrack.models.necks import FuseLevels, ProjectLevels
from siamtrack.models.siamese import Candidates, Head, Maps, Neck, SiameseNet


@refusing
@pydantic.dataclass(frozen=True, config=STRICT)
class SiamCar:
    """Fields are the paper's choices and ablations; the defaults are the published tracker.

    Attributes:
        backbone: its name; see `build_backbone`.
        levels: which of conv2..conv5 are used (section 3.1).
        width: channels after the neck and in the head.
        correlations: what is concatenated a level: "depthwise" (section 3.1), "pixelwise", "search".
        tower: number of convolutions of each tower (published code).
        light: levels merged at the finest stride and separable towers with BatchNorm, for small backbones.
        template_cells: side of the template features' middle that is kept.
        unit: pixels that an untrained head predicts for each side.
        loss_weights: of classification, centre-ness and regression (section 3.2: 1, 1, 3).
        shrink: which cells are positive; see `SidesCoder`. 0 is the whole box, as in the paper (equation 5).
        plain_loss: cross-entropy over all cells alike and the plain mean of the IoU loss, as in the paper (section 3.2,
            equation 4), in place of the published code's weights; see `car_loss`.
    """

    family: Literal["siamcar"] = "siamcar"
    backbone: str = "resnet50"
    levels: tuple[int, ...] = Field(default=(3, 4, 5), min_length=1)
    width: Width = 256
    correlations: tuple[CorrelationPart, ...] = Field(default=("depthwise",), min_length=1)
    tower: int = Field(default=4, ge=0, le=8)
    light: bool = False
    template_cells: int = Field(default=7, ge=1, le=64)
    unit: float = Field(default=1.0, gt=0)
    loss_weights: tuple[LossWeight, LossWeight, LossWeight] = (1.0, 1.0, 3.0)
    shrink: float = Field(default=0.6, ge=0, lt=1)
    plain_loss: bool = False

    def build(self) -> SiameseNet:
        """The network with random weights.

        Raises:
            ConfigError: an unknown backbone or level, or a width that the towers' groups do not divide.
        """
        if not self.light and self.width % _GROUPS:
            raise ConfigError(f"width must be a multiple of {_GROUPS} unless light is true; got {self.width}")
        backbone = build_backbone(self.backbone, self.levels)
        neck: Neck
        if self.light:
            neck, levels = FuseLevels(backbone.channels, self.width, self.template_cells), 1
        else:
            levels = len(self.levels)
            neck = ProjectLevels(backbone.channels, (self.width,) * levels, self.template_cells, backbone.centred)
        merge = CorrelationMerge(self.width, levels, self.width, self.correlations, self.template_cells, self.light)
        head = CarHead(merge, self.width, self.tower, separable=self.light, unit=self.unit)
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, SidesCoder(float(backbone.stride)))

    def loss(self, net: SiameseNet, batch: TrainingBatch, rngs: Generators) -> Terms:
        """Forward pass and loss of one batch: `cls`, `cen`, `loc` and `total`; nothing is drawn."""
        del rngs
        maps = net.maps_of(batch)
        coder = SidesCoder(float(net.backbone.stride), self.shrink)
        targets = coder.encode(batch.boxes, batch.present, maps["cls"].shape[-1], batch.search.shape[-1])
        return weighted(car_loss(maps, targets, self.plain_loss), self.loss_weights)


_GROUPS = 32
"""Of channels, in the GroupNorm of the published towers."""


def _tower(width: int, depth: int) -> nn.Sequential:
    """`depth` 3 x 3 convolutions with GroupNorm, as in the reference."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(_GROUPS, width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class CarHead(Head):
    """Two towers over the fused response (SiamCAR, section 3.2 and figure 2).

    Maps: `cls` (B, 2, R, R) logits of background and target, `cen` (B, 1, R, R) centre-ness logit, `loc`
    (B, 4, R, R) log distances to left, top, right and bottom, in units of `unit` pixels.

    Centre-ness is read from the classification tower, as in the reference.
    """

    def __init__(self, fusion: nn.Module, width: int, depth: int, separable: bool, unit: float) -> None:
        super().__init__()
        self.fusion = fusion
        tower = separable_tower if separable else _tower
        self.cls_tower = tower(width, depth)
        self.bbox_tower = tower(width, depth)
        kernel = 1 if separable else 3
        self.cls_logits = nn.Conv2d(width, 2, kernel, padding=kernel // 2)
        self.bbox_pred = nn.Conv2d(width, 4, kernel, padding=kernel // 2)
        self.centerness = nn.Conv2d(width, 1, kernel, padding=kernel // 2)
        self.log_unit = math.log(unit)
        init_outputs(self.cls_logits, self.bbox_pred, self.centerness)

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """Features of both sides -> `cls`, `cen`, `loc`."""
        x = self.fusion(template, search)
        cls = self.cls_tower(x)
        box = self.bbox_tower(x)
        loc = self.bbox_pred(box) + self.log_unit
        return {"cls": self.cls_logits(cls), "cen": self.centerness(cls), "loc": loc}


@dataclass(frozen=True)
class SideTargets:
    """Targets of the loss; R x R cells flattened to K.

    Attributes:
        positive: (B, K) bool, cells that must find the target.
        sides: (B, K, 4) distances to left, top, right, bottom in crop pixels; meaningful inside the box.
        centreness: (B, K) in [0, 1] (SiamCAR, section 3.2); 0 outside the box.
        present: (B,) bool, False for negative pairs.
    """

    positive: Tensor
    sides: Tensor
    centreness: Tensor
    present: Tensor


@dataclass(frozen=True)
class SidesCoder:
    """Between SiamCAR's maps and boxes (SiamCAR, section 3.2), one grid for training and tracking.

    Attributes:
        stride: of the response map in crop pixels.
        shrink: a positive cell is further from all four sides than this share of the half side (reference: 0.6, the
            middle 40% of the box in each direction).
    """

    stride: float
    shrink: float = 0.6

    def decode(self, maps: Maps, size: int) -> Candidates:
        """Maps of search crops of `size` pixels -> R * R candidates; score = classification x centre-ness."""
        cells = maps["cls"].shape[-1]
        device = maps["cls"].device
        points = grid_points(cells, self.stride, size, device)
        classes = maps["cls"].float().softmax(1)[:, 1].flatten(1)
        quality = maps["cen"].float().flatten(1)
        score = classes * quality.sigmoid()
        centres, sizes = boxes_of_sides(points, decode_sides(maps))
        return Candidates(centres, sizes, score, grid_positions(cells, device), cells, classes, quality)

    def encode(
        self, boxes: Tensor, present: Tensor, cells: int, size: int, points: Tensor | None = None
    ) -> SideTargets:
        """Boxes (B, 4) xyxy in crop pixels and (B,) present -> targets on a grid of `cells` x `cells`.

        `points` (K, 2) replaces the grid (parity with the reference's shifted one).
        """
        if points is None:
            points = grid_points(cells, self.stride, size).to(boxes.device)
        sides = sides_of_boxes(points, boxes)
        half = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)[:, None] / 2
        positive = (sides > self.shrink * half).all(-1) & present[:, None]
        return SideTargets(positive, sides, centreness(sides), present)


def centreness(sides: Tensor) -> Tensor:
    """(..., 4) l, t, r, b -> (...) sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)), 0 outside the box."""
    inside = sides.clamp(min=0)
    low, high = inside[..., :2], inside[..., 2:]
    ratio = torch.minimum(low, high) / torch.maximum(low, high).clamp(min=1e-6)
    return ratio.prod(-1).sqrt()


def car_loss(maps: Maps, targets: SideTargets, plain: bool = False) -> dict[str, Tensor]:
    """The unweighted terms `cls`, `cen` and `loc` of `CarHead`'s maps.

    `cls` is half the mean cross-entropy over positive cells plus half that over negative ones. `loc` is
    -log((I + 1) / (U + 1)), as in the reference, weighted by the target's centre-ness; `cen` is binary cross-entropy.
    Both use positive cells only and are 0 where there are none. Cells are counted over all processes.

    With `plain`, as the paper writes it (section 3.2, equation 4): `cls` is the mean over all cells, `loc` the mean of
    -log(I / U) over the positive ones.
    """
    logits = maps["cls"].float().log_softmax(1).flatten(2)
    positive, negative = targets.positive, ~targets.positive
    count = joint_count(positive.sum())
    cls_positive = -(logits[:, 1] * positive).sum()
    cls_negative = -(logits[:, 0] * negative).sum()
    inter, union = side_iou(decode_sides(maps), targets.sides.clamp(min=0))
    cen = F.binary_cross_entropy_with_logits(
        maps["cen"].float().flatten(1), targets.centreness, weight=positive.float(), reduction="sum"
    )
    if plain:
        cells = joint_count(positive.sum() + negative.sum())
        overlap = -torch.log(inter.clamp(min=1e-6) / union.clamp(min=1e-6))
        loc = joint_mean(overlap, positive)
        return {"cls": (cls_positive + cls_negative) / cells, "cen": cen / count, "loc": loc}
    weight = targets.centreness * positive
    overlap = -torch.log((inter + 1) / (union + 1))
    return {
        "cls": 0.5 * cls_positive / count + 0.5 * cls_negative / joint_count(negative.sum()),
        "cen": cen / count,
        "loc": (overlap * weight).sum() / joint_count(weight.sum(), floor=1e-6),
    }
