"""SiamFC (Bertinetto et al., ECCV workshops 2016): cross-correlation of one level, places only.

The target's scale comes from a search pyramid. SA-Siam has the same head, coder, loss and pyramid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic import dataclasses as pydantic
from torch import Tensor, nn

from siamtrack.geometry.grid import enlarged, grid_points, grid_positions
from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.correlation import cross
from siamtrack.models.fields import STRICT, SearchPyramid, refusing
from siamtrack.models.losses import Generators, Terms, TrainingBatch, joint_mean, weighted
from siamtrack.models.necks import optional_projection
from siamtrack.models.siamese import Candidates, Head, Maps, SiameseNet


@refusing
@pydantic.dataclass(frozen=True, config=STRICT)
class SiamFc(SearchPyramid):
    """Fields are the paper's choices; the defaults are those of siamfc-pytorch.

    Attributes:
        backbone: its name; see `build_backbone`.
        level: which of conv2..conv5 is used.
        width: channels after a 1 x 1 projection that also keeps the template's middle 7 x 7 cells only, for
            backbones with padding; 0 leaves the features as they are.
        gain: factor on the correlation.
        bias: added to it.
        learned: gain and bias are learned (section 2.1) and not fixed.
        enlarge: factor of the bicubic up-sampling of the response (section 4.1).
    """

    family: Literal["siamfc"] = "siamfc"
    backbone: str = "alexnet_siamfc"
    level: int = Field(default=5, ge=2, le=5)
    width: int = Field(default=0, ge=0, le=1024)
    gain: float = 0.001
    bias: float = 0.0
    learned: bool = False
    enlarge: int = Field(default=16, ge=1, le=64)

    def build(self) -> SiameseNet:
        """The network with random weights."""
        backbone = build_backbone(self.backbone, (self.level,))
        neck = optional_projection(backbone.channels, self.width)
        head = ScoreHead(self.gain, self.bias, self.learned)
        coder = PointCoder(float(backbone.stride), self.enlarge)
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, coder)

    def loss(self, net: SiameseNet, batch: TrainingBatch, rngs: Generators) -> Terms:
        """Forward pass and loss of one batch: `cls` and `total`, which are the same; nothing is drawn."""
        del rngs
        maps = net.maps_of(batch)
        return weighted(siamfc_loss(maps, response_labels(maps, batch, net.coder.stride)), (1.0,))


class ScoreHead(Head):
    """Cross-correlation with a gain and a bias (SiamFC, equation 2): map `response` (B, 1, R, R).

    Args:
        gain: factor on the correlation, which is in the thousands. The published code multiplies by 0.001.
        bias: added to it.
        learned: make gain and bias parameters, as in the paper; the published code fixes them.
    """

    gain: Tensor
    bias: Tensor

    def __init__(self, gain: float, bias: float, learned: bool) -> None:
        super().__init__()
        for name, value in (("gain", gain), ("bias", bias)):
            if learned:
                self.register_parameter(name, nn.Parameter(torch.tensor(value)))
            else:
                self.register_buffer(name, torch.tensor(value), persistent=False)

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """One level of features of both sides -> `response`."""
        (z,), (x,) = template, search
        return {"response": cross(z, x) * self.gain + self.bias}


@dataclass(frozen=True)
class PointCoder:
    """Reads places from a response enlarged to a finer grid (SiamFC, section 4.1); scores are the raw response.

    Attributes:
        stride: of the response in crop pixels.
        enlarge: factor of the bicubic up-sampling; 16 takes 17 x 17 to 272 x 272.
    """

    stride: float
    enlarge: int

    def decode(self, maps: Maps, size: int) -> Candidates:
        """Response to search crops of `size` pixels -> (R * enlarge)^2 candidates without sizes."""
        response = maps["response"].float()
        cells = response.shape[-1] * self.enlarge
        fine = enlarged(response, cells)
        points = grid_points(cells, self.stride / self.enlarge, size, fine.device)
        centres = points.expand(fine.shape[0], -1, -1)
        return Candidates(centres, None, fine.flatten(1), grid_positions(cells, fine.device), cells)


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
        radius: largest |dx| + |dy| of a positive cell in pixels (published code; equation 6 is Euclidean).

    Returns:
        (B, R * R) bool.
    """
    points = grid_points(cells, stride, size).to(boxes)
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    return ((points[None] - centres).abs().sum(-1) <= radius) & present[:, None]


def siamfc_loss(maps: Maps, labels: Tensor) -> dict[str, Tensor]:
    """Logistic loss in which positive and negative cells of the batch, over all processes, make up one half each.

    `response` (B, 1, R, R) and labels (B, R * R) bool -> `cls`; without positive cells it is the negative half only.
    """
    response = maps["response"].float().flatten(1)
    loss = F.binary_cross_entropy_with_logits(response, labels.to(response.dtype), reduction="none")
    return {"cls": torch.stack([joint_mean(loss, where) for where in (labels, ~labels)]).mean()}


def response_labels(maps: Maps, batch: TrainingBatch, stride: float) -> Tensor:
    """`siamfc_labels` of a batch, for its `response`."""
    return siamfc_labels(batch.boxes, batch.present, maps["response"].shape[-1], batch.search.shape[-1], stride)
