"""What heads of several families share: their layers, and the codes between their maps and boxes.

Anchor-based ones (SiamRPN, SiamRPN++, SPM): correlation, classification and offsets for each anchor, the coder and the
loss. Anchors are numbered as the maps' channels are: anchor by anchor, each one's cells row by row. Anchor-free ones
(SiamCAR, SiamBAN) predict the distances from a cell to the four sides of its box: left, top, right, bottom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.geometry.boxes import box_iou, cxcywh_to_xyxy, xyxy_to_cxcywh
from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.correlation import CorrelationMerge, CorrelationPart, depthwise, up_channel
from siamtrack.models.losses import Generators, Terms, TrainingBatch, balanced_cross_entropy, by_part, draw_some
from siamtrack.models.siamese import Candidates, Head, Maps

Correlation = Literal["up", "depthwise"]
LevelAggregation = Literal["weighted", "mean"]

# exp of more than this is 55 times the anchor: a wild prediction, not a box.
_MAX_LOG_RATIO = 4.0
# exp of less is a side of no extent, which the losses of later stages would divide by.
_MIN_LOG_RATIO = -10.0
# exp of more than this is a side over 20,000 px: a wild prediction, not a box.
_MAX_LOG_SIDE = 10.0
# A negative pair is learned in the cells up to this far from where the other object is.
_NEGATIVE_REACH = 3


def init_outputs(*layers: nn.Conv2d | nn.Linear) -> None:
    """Begin the last layers of a head near zero, so that an untrained head prefers nothing."""
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def separable_tower(width: int, depth: int) -> nn.Sequential:
    """`depth` times a depth-wise 3 x 3 and a 1 x 1 convolution, each with BatchNorm and ReLU."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        for kernel, groups in ((3, width), (1, 1)):
            conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UpChannelBranch(nn.Module):
    """UP-XCorr: the template becomes one kernel of all channels for each output (SiamRPN, section 3.2).

    With `adjust` a 1 x 1 convolution follows; the published code does so for the offsets only. `gain` is a factor on
    the correlation, a sum over all channels and cells of the kernel.
    """

    def __init__(self, channels: int, outputs: int, adjust: bool, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.template = nn.Conv2d(channels, channels * outputs, 3)
        self.search = nn.Conv2d(channels, channels, 3)
        self.adjust = nn.Conv2d(outputs, outputs, 1) if adjust else nn.Identity()

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """(B, C, h, w), (B, C, H, W) -> (B, outputs, H - h + 1, W - w + 1)."""
        response = up_channel(self.template(z), self.search(x))
        out: Tensor = self.adjust(response if self.gain == 1 else response * self.gain)
        return out


def _adapter(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, hidden, 3, bias=False), nn.BatchNorm2d(hidden), nn.ReLU())


class DepthwiseBranch(nn.Module):
    """DW-XCorr, of `hidden` channels, and two 1 x 1 convolutions (SiamRPN++, section 3.4 and figure 4c)."""

    def __init__(self, channels: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.template = _adapter(channels, hidden)
        self.search = _adapter(channels, hidden)
        self.predict = nn.Sequential(
            nn.Conv2d(hidden, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Conv2d(hidden, outputs, 1)
        )

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """(B, C, h, w), (B, C, H, W) -> (B, outputs, H - h + 1, W - w + 1)."""
        out: Tensor = self.predict(depthwise(self.template(z), self.search(x)))
        return out


class RpnHead(Head):
    """One proposal head for each level, their maps fused by learned weights (SiamRPN++, section 3.3).

    Maps, with A anchors and R x R cells:
        `cls` (B, 2 * A, R, R): logits; channel k * A + a is class k (0 background, 1 target) of anchor a.
        `loc` (B, 4 * A, R, R): offsets dx, dy, dlog w, dlog h; channel k * A + a is offset k of anchor a.

    Args:
        widths: channels of the features of each level.
        anchors: how many anchors a cell has.
        correlation: "up" or "depthwise".
        fusion: "weighted" takes a softmax over learned weights, apart for `cls` and `loc`; "mean" the mean.
        hidden: channels of the depth-wise correlation; default: each level's own width.
        gain: factor on the up-channel correlation: SPM's authors train with 0.001, PySOT with 1. With 1, the first
            gradients of an untrained head are hundreds of times larger than the clipping limit.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        anchors: int,
        correlation: Correlation,
        fusion: LevelAggregation = "weighted",
        hidden: int | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if correlation == "up":
            self.cls = nn.ModuleList(UpChannelBranch(w, 2 * anchors, adjust=False, gain=gain) for w in widths)
            self.loc = nn.ModuleList(UpChannelBranch(w, 4 * anchors, adjust=True, gain=gain) for w in widths)
        else:
            self.cls = nn.ModuleList(DepthwiseBranch(w, hidden or w, 2 * anchors) for w in widths)
            self.loc = nn.ModuleList(DepthwiseBranch(w, hidden or w, 4 * anchors) for w in widths)
        weighted = fusion == "weighted" and len(widths) > 1
        self.cls_weight = nn.Parameter(torch.ones(len(widths))) if weighted else None
        self.loc_weight = nn.Parameter(torch.ones(len(widths))) if weighted else None

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """Features of both sides, level by level -> `cls`, `loc`."""
        cls = [branch(z, x) for branch, z, x in zip(self.cls, template, search, strict=True)]
        loc = [branch(z, x) for branch, z, x in zip(self.loc, template, search, strict=True)]
        return {"cls": aggregate(cls, self.cls_weight), "loc": aggregate(loc, self.loc_weight)}


def aggregate(maps: list[Tensor], weight: Tensor | None) -> Tensor:
    """Maps of one shape, one a level -> their sum with the softmax of `weight` (L,), or their mean without."""
    if len(maps) == 1:
        return maps[0]
    stacked = torch.stack(maps)
    if weight is None:
        return stacked.mean(0)
    return (stacked * weight.softmax(0).view(-1, 1, 1, 1, 1)).sum(0)


class LightRpnHead(Head):
    """Anchors on the merged correlation of one level; maps as `RpnHead`, `parts` as `CorrelationMerge`.

    Beyond the papers: small networks learn an order of magnitude faster from what `CorrelationMerge` concatenates than
    from the depth-wise response alone.
    """

    def __init__(self, width: int, anchors: int, parts: tuple[CorrelationPart, ...], template_cells: int = 7) -> None:
        super().__init__()
        self.fusion = CorrelationMerge(width, 1, width, parts, template_cells, norm=True)
        self.cls_tower = separable_tower(width, depth=2)
        self.loc_tower = separable_tower(width, depth=2)
        self.cls = nn.Conv2d(width, 2 * anchors, 1)
        self.loc = nn.Conv2d(width, 4 * anchors, 1)
        init_outputs(self.cls, self.loc)

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """One level of features of both sides -> `cls`, `loc`."""
        x = self.fusion(template, search)
        return {"cls": self.cls(self.cls_tower(x)), "loc": self.loc(self.loc_tower(x))}


@dataclass(frozen=True)
class AnchorTargets:
    """Targets of the loss; A anchors, R x R cells.

    Attributes:
        labels: (B, A, R, R) int64, 1 target, 0 background, -1 left out.
        deltas: (B, 4, A, R, R) offsets dx, dy, dlog w, dlog h that lead from each anchor to the box.
        weights: (B, A, R, R) of the offsets: 1 / positives of the pair where the label is 1, else 0.
    """

    labels: Tensor
    deltas: Tensor
    weights: Tensor


@dataclass(frozen=True)
class AnchorCoder:
    """Between proposal maps and boxes, on one grid for training and tracking (SiamRPN, sections 3.3 and 4.2).

    The grid is centred on the crop. An anchor's base size is int(sqrt(stride^2 / ratio)) by int(that * ratio)
    before scaling: PySOT's networks were trained with these truncations.

    Attributes:
        stride: of the response map in crop pixels.
        scale: sides of the anchors in strides; 8 gives 64 x 64 for ratio 1. Of several, each has all ratios.
        ratios: height / width of each anchor, or its base size itself, width and height in pixels.
        high: an anchor whose overlap with the box is above is positive.
        low: an anchor whose overlap with the box is below is negative.
        positives: largest number of positive anchors learned from a pair, or of negative ones from a negative pair.
        samples: largest number of anchors learned from a pair, `samples - positives` of them negative.
    """

    stride: int = 8
    scale: int | tuple[int, ...] = 8
    ratios: tuple[float | tuple[int, int], ...] = (0.33, 0.5, 1, 2, 3)
    high: float = 0.6
    low: float = 0.3
    positives: int = 16
    samples: int = 64

    def __post_init__(self) -> None:
        if bad := [ratio for ratio in self.ratios if not min(self._base(ratio))]:
            raise ConfigError(f"an anchor of the ratio {bad[0]} has no extent at a stride of {self.stride} pixels")

    def _base(self, ratio: float | tuple[int, int]) -> tuple[int, int]:
        if isinstance(ratio, tuple):
            return ratio
        width = int(math.sqrt(self.stride**2 / ratio))
        return width, int(width * ratio)

    def shapes(self, device: torch.device | None = None) -> Tensor:
        """(A, 2) width and height of the anchors in crop pixels."""
        widths, heights = zip(*(self._base(ratio) for ratio in self.ratios), strict=True)
        scales = (self.scale,) if isinstance(self.scale, int) else self.scale
        sides = [[torch.full((1,), float(side), device=device) for side in line] for line in (widths, heights)]
        base = torch.stack([torch.cat(line) for line in sides], 1)
        return torch.cat([base * scale for scale in scales])

    @property
    def count(self) -> int:
        """A, the number of anchors of a cell."""
        return len(self.ratios) * (1 if isinstance(self.scale, int) else len(self.scale))

    def anchors(self, cells: int, size: int, device: torch.device | None = None) -> Tensor:
        """(A * cells * cells, 4) centre and size of all anchors in pixels of a crop of `size` pixels."""
        points = grid_points(cells, self.stride, size, device)
        shapes = self.shapes(device)
        return torch.cat([points.repeat(len(shapes), 1), shapes.repeat_interleave(len(points), 0)], 1)

    def decode(self, maps: Maps, size: int) -> Candidates:
        """Maps of search crops of `size` pixels -> A * R * R candidates, scored by a softmax."""
        cls, loc = maps["cls"].float(), maps["loc"].float()
        cells = cls.shape[-1]
        anchors = self.anchors(cells, size, cls.device)
        score = cls.reshape(-1, 2, cls.shape[1:].numel() // 2).softmax(1)[:, 1]
        delta = loc.reshape(-1, 4, loc.shape[1:].numel() // 4).transpose(1, 2)
        centres = delta[..., :2] * anchors[:, 2:] + anchors[:, :2]
        sizes = delta[..., 2:].clamp(_MIN_LOG_RATIO, _MAX_LOG_RATIO).exp() * anchors[:, 2:]
        places = grid_positions(cells, cls.device).repeat(self.count, 1)
        return Candidates(centres, sizes, score, places)

    def overlaps(self, boxes: Tensor, cells: int, size: int) -> Tensor:
        """Boxes (B, 4) xyxy in crop pixels -> (B, A * R * R) overlap with each anchor."""
        anchors = cxcywh_to_xyxy(self.anchors(cells, size)).to(boxes)
        return box_iou(boxes[:, None], anchors[None])

    def encode(
        self,
        boxes: Tensor,
        present: Tensor,
        cells: int,
        size: int,
        generator: torch.Generator | None = None,
        others: Tensor | None = None,
    ) -> AnchorTargets:
        """Boxes in search crops -> targets of the maps.

        Args:
            boxes: (B, 4) xyxy in crop pixels; of a negative pair, the other object's box.
            present: (B,) bool, False for negative pairs: no positives, and background around the box alone.
            cells: side R of the response map.
            size: side of the search crop in pixels.
            generator: draws the anchors to learn from where there are too many.
            others: (B, M, 4) xyxy of further targets; rows of nan are none. An anchor learns the box it overlaps most.
        """
        anchors = self.anchors(cells, size).to(boxes)
        target = xyxy_to_cxcywh(boxes)[:, None]
        overlap = self.overlaps(boxes, cells, size)
        own = overlap.masked_fill(~present[:, None], 0.0)
        beside = torch.zeros_like(overlap)
        if others is not None:
            beside, nearest = box_iou(others[:, :, None], cxcywh_to_xyxy(anchors)).nan_to_num(0.0).max(1)
            closest = xyxy_to_cxcywh(others.nan_to_num(0.0).gather(1, nearest[..., None].expand(-1, -1, 4)))
            target = torch.where((beside > own)[..., None], closest, target)
        offset = (target[..., :2] - anchors[:, :2]) / anchors[:, 2:]
        stretch = (target[..., 2:].clamp(min=1e-3) / anchors[:, 2:]).log()
        positive = draw_some(torch.maximum(own, beside) > self.high, self.positives, generator)
        free = beside < self.low
        negative = torch.where(
            present[:, None],
            draw_some((overlap < self.low) & free, self.samples - self.positives, generator),
            draw_some(self.around(boxes, cells, size) & free, self.positives, generator),
        )
        labels = positive.long() - (~positive & ~negative).long()
        count = positive.sum(1, keepdim=True).clamp(min=1)
        weights = positive.to(boxes.dtype) / count
        deltas = torch.cat([offset, stretch], -1).transpose(1, 2)
        shape = (len(boxes), self.count, cells, cells)
        deltas = deltas.reshape(len(boxes), 4, *shape[1:])
        return AnchorTargets(labels.reshape(shape), deltas, weights.reshape(shape))

    def around(self, boxes: Tensor, cells: int, size: int) -> Tensor:
        """(B, A * R * R) bool: anchors of the 7 x 7 cells around each centre: what negative pairs teach.

        The cell of the centre is rounded up as in the published code, half a cell right and below on average.
        """
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - size / 2
        cell = cells // 2 + (middle / self.stride + 0.5).ceil()
        line = torch.arange(cells, device=boxes.device)
        near = (line[None, :, None] - cell[:, None]).abs() <= _NEGATIVE_REACH
        both = near[:, :, None, 1] & near[:, None, :, 0]
        return both.flatten(1).repeat(1, self.count)


def rpn_loss(maps: Maps, targets: AnchorTargets, smooth: bool = False) -> Terms:
    """The two terms of SiamRPN's and SiamRPN++'s training, unweighted (the published code weighs them 1 and 1.2).

    Positive and negative anchors each make up half of the classification term, whatever their number, counted over
    all processes. The offsets' distance is averaged over the positives of each pair, summed over the four offsets and
    averaged over the pairs: L1 (PySOT's code), or `smooth` L1 with its bend at 1 (SiamRPN, section 3.2).
    """
    labels = targets.labels
    logits = maps["cls"].float().reshape(len(labels), 2, *labels.shape[1:])
    distance = F.smooth_l1_loss if smooth else F.l1_loss
    error = distance(maps["loc"].float().reshape(targets.deltas.shape), targets.deltas, reduction="none").sum(1)
    loc = (error * targets.weights).sum() / len(error)
    return {"cls": balanced_cross_entropy(logits, labels), "loc": loc}


def anchor_terms(
    maps: Maps, coder: AnchorCoder, batch: TrainingBatch, rngs: Generators, smooth: bool, alike: bool = False
) -> Terms:
    """`rpn_loss` of a batch: anchors are drawn by each part's generator.

    With `alike`, known objects of the template's category are targets too (SPM's generalized training).
    """
    cells, size = maps["cls"].shape[-1], batch.search.shape[-1]

    def targets(boxes: Tensor, present: Tensor, *rest: Any) -> AnchorTargets:
        *others, rng = rest
        return coder.encode(boxes, present, cells, size, rng, *others)

    if not alike or batch.alike is None:
        return rpn_loss(maps, by_part(targets, rngs, batch.boxes, batch.present), smooth)
    given = [batch.boxes, batch.alike]
    if batch.others is not None and batch.others_alike is not None:
        given.append(batch.others.masked_fill(~batch.others_alike[..., None], torch.nan))
    return rpn_loss(maps, by_part(targets, rngs, *given), smooth)


def decode_sides(maps: Maps) -> Tensor:
    """`loc` (B, 4, R, R) log distances -> (B, R * R, 4) distances to left, top, right, bottom in crop pixels."""
    return maps["loc"].float().clamp(max=_MAX_LOG_SIDE).exp().flatten(2).transpose(1, 2)


def boxes_of_sides(points: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
    """(K, 2) points and (B, K, 4) l, t, r, b around them -> centres and sizes, (B, K, 2) each."""
    centres = points + (sides[..., 2:] - sides[..., :2]) / 2
    return centres, sides[..., :2] + sides[..., 2:]


def sides_of_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """(K, 2) points and (B, 4) xyxy -> (B, K, 4) l, t, r, b; below 0 where a point lies outside."""
    return torch.cat([points[None] - boxes[:, None, :2], boxes[:, None, 2:] - points[None]], -1)


def side_iou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and union (...) of boxes given as (..., 4) l, t, r, b around the same points."""
    inter_size = torch.minimum(a[..., :2], b[..., :2]) + torch.minimum(a[..., 2:], b[..., 2:])
    inter = inter_size.clamp(min=0).prod(-1)
    area_a = (a[..., :2] + a[..., 2:]).prod(-1)
    area_b = (b[..., :2] + b[..., 2:]).prod(-1)
    return inter, area_a + area_b - inter
