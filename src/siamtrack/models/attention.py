"""SA-Siam's channel attention (section 3.2): what surrounds the target decides which channels count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from siamtrack.errors import ConfigError

__all__ = ["ChannelAttention", "grid_maxima"]

_GRID = 3


def grid_maxima(x: Tensor, centre: int) -> Tensor:
    """The maximum of each channel in the cells of a 3 x 3 grid whose middle cell is the target's.

    Args:
        x: (B, C, n, n).
        centre: side of the middle cell; 6 of the 22 cells of AlexNet's conv5.

    Returns:
        (B, C, 9), row by row.

    Raises:
        ConfigError: the map shows nothing around its middle.
    """
    side = x.shape[-1]
    if side < centre + 2:
        raise ConfigError(
            f"channel attention needs the target's surroundings, a map wider than {centre} cells; got {side} "
            "(set crops.template_crop, such as 255)"
        )
    start = (side - centre) // 2
    bounds = (0, start, start + centre, side)
    cells = [
        x[..., bounds[row] : bounds[row + 1], bounds[column] : bounds[column + 1]].amax((-2, -1))
        for row in range(_GRID)
        for column in range(_GRID)
    ]
    return torch.stack(cells, -1)


class ChannelAttention(nn.Module):
    """A weight for each channel of a template, from its activations in and around the target.

    One multilayer perceptron, 9 - 9 - 1 with ReLU, serves all channels of a layer. The sigmoid's bias of 0.5 keeps
    the weights within [0.5, 1.5], so that no channel is lost and none drowns the others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_GRID**2, _GRID**2), nn.ReLU(), nn.Linear(_GRID**2, 1))

    def forward(self, x: Tensor, centre: int) -> Tensor:
        """(B, C, n, n) and the side of the middle cell -> (B, C, 1, 1) weights in [0.5, 1.5]."""
        weights: Tensor = self.mlp(grid_maxima(x, centre)).sigmoid() + 0.5
        return weights[..., None]
