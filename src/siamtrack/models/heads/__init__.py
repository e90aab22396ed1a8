"""What several heads share: how they begin, and boxes as distances from a cell to their four sides.

Anchor-free heads (SiamCAR, SiamBAN) predict these distances: left, top, right, bottom.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from siamtrack.models.siamese import Maps

# exp of more than this is a side over 20,000 px: a wild prediction, not a box.
_MAX_LOG_SIDE = 10.0


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
