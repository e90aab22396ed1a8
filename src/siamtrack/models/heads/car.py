"""SiamCAR's head: classification, centre-ness and distances to the four sides, and the coder of its maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from siamtrack.geometry.grid import grid_places, grid_points
from siamtrack.models.correlation import depthwise, pixelwise
from siamtrack.models.necks import centre_cells
from siamtrack.models.siamese import Candidates, Maps

__all__ = ["CarHead", "Fusion", "SideTargets", "SidesCoder", "centreness", "decode_sides", "side_iou"]

# exp of more than this is a side over 20,000 px: a wild prediction, not a box.
_MAX_LOG_SIDE = 10.0


class Fusion(nn.Module):
    """Correlates template and search features and merges the responses with a 1 x 1 convolution.

    Args:
        width: channels of each level's features.
        levels: how many levels come in; each is correlated apart (SiamCAR, section 3.1).
        output: channels after the merge.
        parts: what is concatenated: "depthwise" (the paper), and beyond the paper "pixelwise" (each template
            cell against each search cell) and "search" (the search features themselves).
        template_cells: side of the template's features.
        norm: BatchNorm and ReLU after the merge; the reference has none.
    """

    def __init__(
        self, width: int, levels: int, output: int, parts: tuple[str, ...], template_cells: int, norm: bool
    ) -> None:
        super().__init__()
        sizes = {"depthwise": width, "pixelwise": template_cells**2, "search": width}
        self.parts = parts
        total = levels * sum(sizes[p] for p in parts)
        self.scale = nn.BatchNorm2d(total) if norm else nn.Identity()
        self.merge = nn.Conv2d(total, output, 1, bias=not norm)
        self.norm = nn.Sequential(nn.BatchNorm2d(output), nn.ReLU(inplace=True)) if norm else nn.Identity()

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Tensor:
        """(B, width, 7, 7) and (B, width, 31, 31) a level -> (B, output, 25, 25)."""
        maps = []
        for z, x in zip(template, search, strict=True):
            inner = x.shape[-1] - z.shape[-1] + 1
            for part in self.parts:
                if part == "depthwise":
                    maps.append(depthwise(z, x))
                else:
                    middle = centre_cells(x, inner)
                    maps.append(pixelwise(z, middle) if part == "pixelwise" else middle)
        out: Tensor = self.norm(self.merge(self.scale(torch.cat(maps, 1))))
        return out


def _tower(width: int, depth: int, separable: bool) -> nn.Sequential:
    """`depth` 3 x 3 convolutions: with GroupNorm as in the reference, or separable with BatchNorm, for CPUs."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        if separable:
            layers += [
                nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        else:
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(32, width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class CarHead(nn.Module):
    """Two towers over the fused response (SiamCAR, section 3.2 and figure 2).

    Maps: `cls` (B, 2, R, R) logits of background and target, `cen` (B, 1, R, R) centre-ness logit, `loc`
    (B, 4, R, R) log distances to left, top, right and bottom, in units of `unit` pixels.

    Centre-ness is read from the classification tower, as in the reference.
    """

    def __init__(self, fusion: nn.Module, width: int, depth: int, separable: bool, unit: float = 1.0) -> None:
        super().__init__()
        self.fusion = fusion
        self.cls_tower = _tower(width, depth, separable)
        self.bbox_tower = _tower(width, depth, separable)
        kernel = 1 if separable else 3
        self.cls_logits = nn.Conv2d(width, 2, kernel, padding=kernel // 2)
        self.bbox_pred = nn.Conv2d(width, 4, kernel, padding=kernel // 2)
        self.centerness = nn.Conv2d(width, 1, kernel, padding=kernel // 2)
        self.log_unit = math.log(unit)
        for layer in (self.cls_logits, self.bbox_pred, self.centerness):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """Features of both sides -> `cls`, `cen`, `loc`."""
        x = self.fusion(template, search)
        cls = self.cls_tower(x)
        box = self.bbox_tower(x)
        loc = self.bbox_pred(box) + self.log_unit
        return {"cls": self.cls_logits(cls), "cen": self.centerness(cls), "loc": loc}


@dataclass(frozen=True)
class SideTargets:
    """What the loss compares with the maps; R x R cells flattened to K.

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
        shrink: a cell is positive where it lies deeper inside the box than this share of the half side, on all
            four sides (the reference uses 0.6: the middle 40% of the box in each direction).
    """

    stride: float = 8.0
    shrink: float = 0.6

    def decode(self, maps: Maps, size: int) -> Candidates:
        """Maps of search crops of `size` pixels -> R * R candidates; score = classification x centre-ness."""
        cells = maps["cls"].shape[-1]
        device = maps["cls"].device
        points = grid_points(cells, self.stride, size).to(device)
        classes = maps["cls"].float().softmax(1)[:, 1].flatten(1)
        quality = maps["cen"].float().flatten(1)
        score = classes * quality.sigmoid()
        sides = decode_sides(maps)
        centres = points + (sides[..., 2:] - sides[..., :2]) / 2
        sizes = sides[..., :2] + sides[..., 2:]
        return Candidates(centres, sizes, score, grid_places(cells).to(device), cells, classes, quality)

    def encode(
        self, boxes: Tensor, present: Tensor, cells: int, size: int, points: Tensor | None = None
    ) -> SideTargets:
        """Boxes (B, 4) xyxy in crop pixels and (B,) present -> targets on a grid of `cells` x `cells`.

        `points` (K, 2) replaces the grid; only the parity test with the reference's shifted grid needs it.
        """
        if points is None:
            points = grid_points(cells, self.stride, size).to(boxes.device)
        low = points[None] - boxes[:, None, :2]
        high = boxes[:, None, 2:] - points[None]
        sides = torch.cat([low, high], -1)
        half = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)[:, None] / 2
        positive = (sides > self.shrink * half).all(-1) & present[:, None]
        return SideTargets(positive, sides, centreness(sides), present)


def centreness(sides: Tensor) -> Tensor:
    """(..., 4) l, t, r, b -> (...) sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)), 0 outside the box."""
    inside = sides.clamp(min=0)
    low, high = inside[..., :2], inside[..., 2:]
    ratio = torch.minimum(low, high) / torch.maximum(low, high).clamp(min=1e-6)
    return ratio.prod(-1).sqrt()


def side_iou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and union (...) of boxes given as (..., 4) l, t, r, b around the same points."""
    inter_size = torch.minimum(a[..., :2], b[..., :2]) + torch.minimum(a[..., 2:], b[..., 2:])
    inter = inter_size.clamp(min=0).prod(-1)
    area_a = (a[..., :2] + a[..., 2:]).prod(-1)
    area_b = (b[..., :2] + b[..., 2:]).prod(-1)
    return inter, area_a + area_b - inter


def decode_sides(maps: Maps) -> Tensor:
    """(B, 4, R, R) log sides -> (B, R * R, 4) distances to left, top, right, bottom in crop pixels."""
    return maps["loc"].float().clamp(max=_MAX_LOG_SIDE).exp().flatten(2).transpose(1, 2)
