"""SiamFC's labels and loss (section 2.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.geometry.grid import grid_points
from siamtrack.models.siamese import Maps
from siamtrack.training.distributed import joint_count

__all__ = ["siamfc_labels", "siamfc_loss"]


def siamfc_labels(
    boxes: Tensor, present: Tensor, cells: int, size: int, stride: float = 8.0, radius: float = 16.0
) -> Tensor:
    """Which cells of the response should find the target's centre.

    Args:
        boxes: (B, 4) xyxy in search crop pixels.
        present: (B,) bool, False for negative pairs, which have no positive cell.
        cells: side R of the response.
        size: side of the search crop in pixels.
        stride: of the response in pixels.
        radius: a cell is positive where |dx| + |dy| is at most so many pixels; the published code
            measures block distance where the paper's equation 6 has the Euclidean one.

    Returns:
        (B, R * R) bool.
    """
    points = grid_points(cells, stride, size).to(boxes)
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    return ((points[None] - centres).abs().sum(-1) <= radius) & present[:, None]


def siamfc_loss(maps: Maps, labels: Tensor) -> dict[str, Tensor]:
    """Logistic loss in which positive and negative cells of the batch make up one half each.

    Where several processes train, cells are counted over all of them.

    Args:
        maps: `response` (B, 1, R, R).
        labels: (B, R * R) bool, as `siamfc_labels` gives them.

    Returns:
        `cls`, a scalar; a batch without positive cells has the negative half only.
    """
    response = maps["response"].float().flatten(1)
    loss = F.binary_cross_entropy_with_logits(response, labels.to(response.dtype), reduction="none")
    halves = [(loss * where).sum() / joint_count(where.sum()) for where in (labels, ~labels)]
    return {"cls": torch.stack(halves).mean()}
