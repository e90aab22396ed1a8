"""SiamRPN (Li et al., CVPR 2018) and DaSiamRPN (Zhu et al., ECCV 2018): one level, anchors.

DaSiamRPN is the same network; its negative pairs are `data.negative`, its memory of distractors `track.rerank`, its
local-to-global search `track.lost_search` and `track.lost_step`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.heads.anchors import AnchorCoder
from siamtrack.models.heads.light import CorrelationPart, LightRpnHead
from siamtrack.models.heads.rpn import Correlation, RpnHead
from siamtrack.models.necks import FuseLevels, IdentityNeck
from siamtrack.models.siamese import SiameseNet

__all__ = ["SiamRpn"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SiamRpn:
    """Fields are the paper's choices and ablations; the defaults are the paper's tracker.

    Attributes:
        backbone: its name; see `build_backbone`.
        level: which of conv2..conv5 is used.
        correlation: "up" (section 3.2) or "depthwise" (the tracker published with SiamRPN++'s code).
        correlations: for small networks, in its place: what `LightRpnHead` concatenates; needs a `width`.
        width: channels after a 1 x 1 projection that also keeps the template's middle 7 x 7 cells only, for
            backbones with padding; 0 leaves the features as they are.
        ratios: height / width of the anchors (section 5.6 compares 3, 5 and 7).
        scale: side of the anchors in strides.
    """

    family: Literal["siamrpn"] = "siamrpn"
    backbone: str = "alexnet"
    level: int = Field(default=5, ge=2, le=5)
    correlation: Correlation = "up"
    correlations: tuple[CorrelationPart, ...] = ()
    width: int = Field(default=0, ge=0)
    ratios: tuple[float, ...] = Field(default=(0.33, 0.5, 1, 2, 3), min_length=1)
    scale: int = Field(default=8, ge=1)

    def build(self) -> SiameseNet:
        """The network with random weights."""
        backbone = build_backbone(self.backbone, (self.level,))
        channels: tuple[int, ...] = backbone.channels  # type: ignore[assignment]
        stride: int = backbone.stride  # type: ignore[assignment]
        neck: nn.Module = FuseLevels(channels, self.width) if self.width else IdentityNeck()
        width, anchors = self.width or channels[0], len(self.ratios)
        head: nn.Module = RpnHead((width,), anchors, self.correlation)
        if self.correlations:
            head = LightRpnHead(width, anchors, self.correlations)
        coder = AnchorCoder(stride=stride, scale=self.scale, ratios=self.ratios)
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, coder)
