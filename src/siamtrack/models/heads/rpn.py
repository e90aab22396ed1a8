"""The region proposal heads of SiamRPN, SiamRPN++ and SPM: correlation, classification and offsets for each anchor.

The boxes behind its maps are the business of `siamtrack.models.heads.anchors.AnchorCoder`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from siamtrack.models.correlation import CorrelationMerge, CorrelationPart, depthwise, up_channel
from siamtrack.models.heads import init_outputs
from siamtrack.models.siamese import Head, Maps

__all__ = [
    "Correlation",
    "DepthwiseBranch",
    "LevelAggregation",
    "LightRpnHead",
    "RpnHead",
    "UpChannelBranch",
    "aggregate",
]

Correlation = Literal["up", "depthwise"]
LevelAggregation = Literal["weighted", "mean"]


class UpChannelBranch(nn.Module):
    """UP-XCorr: the template becomes one kernel of all channels for each output (SiamRPN, section 3.2).

    Args:
        channels: of the features on both sides.
        outputs: channels of the response.
        adjust: a 1 x 1 convolution after the correlation, which the published code has for the offsets alone.
        gain: factor on the correlation, a sum over all channels and cells of the kernel.
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
    """DW-XCorr and two 1 x 1 convolutions (SiamRPN++, section 3.4 and figure 5c).

    Args:
        channels: of the features on both sides.
        hidden: channels of the correlation.
        outputs: channels of the response.
    """

    def __init__(self, channels: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.template = _adapter(channels, hidden)
        self.search = _adapter(channels, hidden)
        self.predict = nn.Sequential(
            nn.Conv2d(hidden, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, outputs, 1),
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
        gain: factor on the up-channel correlation. SPM's authors train with 0.001; PySOT's code, and the weights
            published for it, have none (1). Without it the first gradients of an untrained head are hundreds of times
            larger than what clipping lets through.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        anchors: int = 5,
        correlation: Correlation = "depthwise",
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


def _tower(width: int, depth: int) -> nn.Sequential:
    """`depth` times a depth-wise 3 x 3 and a 1 x 1 convolution, each with BatchNorm and ReLU."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        for kernel, groups in ((3, width), (1, 1)):
            conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class LightRpnHead(Head):
    """Anchors on the merged correlation of one level.

    Beyond the papers: `CorrelationMerge` concatenates the depth-wise response, each template cell's own and the search
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
        self.fusion = CorrelationMerge(width, 1, width, parts, template_cells, norm=True)
        self.cls_tower = _tower(width, depth)
        self.loc_tower = _tower(width, depth)
        self.cls = nn.Conv2d(width, 2 * anchors, 1)
        self.loc = nn.Conv2d(width, 4 * anchors, 1)
        init_outputs(self.cls, self.loc)

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """One level of features of both sides -> `cls`, `loc`."""
        x = self.fusion(template, search)
        return {"cls": self.cls(self.cls_tower(x)), "loc": self.loc(self.loc_tower(x))}
