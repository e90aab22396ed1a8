"""A proposal head for small networks: one rich correlation, separable towers, the maps of `RpnHead`."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from siamtrack.models.heads.car import Fusion
from siamtrack.models.siamese import Maps

__all__ = ["CorrelationPart", "LightRpnHead"]

CorrelationPart = Literal["depthwise", "pixelwise", "search"]


def _tower(width: int, depth: int) -> nn.Sequential:
    """`depth` times a depth-wise 3 x 3 and a 1 x 1 convolution, each with BatchNorm and ReLU."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        for kernel, groups in ((3, width), (1, 1)):
            conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class LightRpnHead(nn.Module):
    """Anchors on the merged correlation of one level.

    Beyond the papers: `Fusion` concatenates the depth-wise response, each template cell's own and the search
    features, which small networks learn from an order of magnitude faster than from the first alone.

    Maps as `RpnHead`: `cls` (B, 2 * A, R, R) and `loc` (B, 4 * A, R, R).

    Args:
        width: channels of the features and of the towers.
        anchors: how many a cell has.
        parts: what is concatenated.
        template_cells: side of the template's features.
        depth: convolutions of each tower.
    """

    def __init__(
        self,
        width: int,
        anchors: int,
        parts: tuple[CorrelationPart, ...],
        template_cells: int = 7,
        depth: int = 2,
    ) -> None:
        super().__init__()
        self.fusion = Fusion(width, 1, width, parts, template_cells, norm=True)
        self.cls_tower = _tower(width, depth)
        self.loc_tower = _tower(width, depth)
        self.cls = nn.Conv2d(width, 2 * anchors, 1)
        self.loc = nn.Conv2d(width, 4 * anchors, 1)
        for layer in (self.cls, self.loc):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """One level of features of both sides -> `cls`, `loc`."""
        x = self.fusion(template, search)
        return {"cls": self.cls(self.cls_tower(x)), "loc": self.loc(self.loc_tower(x))}
