"""SiamFC's head: one cross-correlation, and the coder that reads places from its response."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.geometry.grid import grid_places, grid_points
from siamtrack.models.correlation import cross
from siamtrack.models.siamese import Candidates, Maps

__all__ = ["PointCoder", "ScoreHead"]


class ScoreHead(nn.Module):
    """Cross-correlation with a gain and a bias (SiamFC, equation 2): map `response` (B, 1, R, R).

    Args:
        gain: factor on the correlation, which is in the thousands. The published code multiplies by 0.001.
        bias: added to it.
        learned: gain and bias are parameters, as in the paper; else they are fixed, as in the published code.
    """

    gain: Tensor
    bias: Tensor

    def __init__(self, gain: float = 0.001, bias: float = 0.0, learned: bool = False) -> None:
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
    """Reads places from a response that is first enlarged, for a finer grid (SiamFC, section 4.1).

    The scores are the raw response: SiamFC compares that of several scales, then normalises the best.

    Attributes:
        stride: of the response in crop pixels.
        enlarge: factor of the bicubic up-sampling; 16 takes 17 x 17 to 272 x 272.
    """

    stride: float = 8.0
    enlarge: int = 16

    def decode(self, maps: Maps, size: int) -> Candidates:
        """Response to search crops of `size` pixels -> (R * enlarge)^2 candidates without sizes."""
        response = maps["response"].float()
        fine = F.interpolate(response, scale_factor=self.enlarge, mode="bicubic", align_corners=False)
        cells = fine.shape[-1]
        points = grid_points(cells, self.stride / self.enlarge, size).to(fine.device)
        centres = points.expand(len(fine), -1, -1)
        return Candidates(centres, None, fine.flatten(1), grid_places(cells).to(fine.device), cells)
