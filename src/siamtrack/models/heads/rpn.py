"""The region proposal head of SiamRPN and SiamRPN++: correlation, classification and offsets for each anchor.

The boxes behind its maps are the business of `siamtrack.models.heads.anchors.AnchorCoder`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from siamtrack.models.correlation import depthwise, up_channel
from siamtrack.models.siamese import Maps

__all__ = ["Correlation", "DepthwiseBranch", "LevelFusion", "RpnHead", "UpChannelBranch"]

Correlation = Literal["up", "depthwise"]
LevelFusion = Literal["weighted", "mean"]


class UpChannelBranch(nn.Module):
    """UP-XCorr: the template becomes one kernel of all channels for each output (SiamRPN, section 3.2).

    Args:
        channels: of the features on both sides.
        outputs: channels of the response.
        adjust: a 1 x 1 convolution after the correlation, which the published code has for the offsets alone.
    """

    def __init__(self, channels: int, outputs: int, adjust: bool) -> None:
        super().__init__()
        self.template = nn.Conv2d(channels, channels * outputs, 3)
        self.search = nn.Conv2d(channels, channels, 3)
        self.adjust = nn.Conv2d(outputs, outputs, 1) if adjust else nn.Identity()

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """(B, C, h, w), (B, C, H, W) -> (B, outputs, H - h + 1, W - w + 1)."""
        out: Tensor = self.adjust(up_channel(self.template(z), self.search(x)))
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


class RpnHead(nn.Module):
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
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        anchors: int = 5,
        correlation: Correlation = "depthwise",
        fusion: LevelFusion = "weighted",
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        if correlation == "up":
            self.cls = nn.ModuleList(UpChannelBranch(w, 2 * anchors, adjust=False) for w in widths)
            self.loc = nn.ModuleList(UpChannelBranch(w, 4 * anchors, adjust=True) for w in widths)
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
        return {"cls": _fuse(cls, self.cls_weight), "loc": _fuse(loc, self.loc_weight)}


def _fuse(maps: list[Tensor], weight: Tensor | None) -> Tensor:
    if len(maps) == 1:
        return maps[0]
    stacked = torch.stack(maps)
    if weight is None:
        return stacked.mean(0)
    return (stacked * weight.softmax(0).view(-1, 1, 1, 1, 1)).sum(0)
