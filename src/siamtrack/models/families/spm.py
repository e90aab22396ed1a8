"""SPM-Tracker (Wang et al., CVPR 2019): a coarse stage proposes, a fine stage compares; both are fused.

Its generalized training is `data.same_category`, with the shares `data.negative`, `negative_same` and `video_share`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.fine import FineKind, FineStage
from siamtrack.models.heads.anchors import AnchorCoder
from siamtrack.models.heads.light import CorrelationPart, LightRpnHead
from siamtrack.models.heads.rpn import Correlation, RpnHead
from siamtrack.models.necks import FuseLevels, IdentityNeck
from siamtrack.models.spm_net import SpmFusion, SpmHead, SpmNeck, SpmNet

__all__ = ["Spm"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Spm:
    """Fields are the paper's choices and ablations (tables 1 to 3); the defaults are the published tracker.

    The paper names conv2 with 384 and conv4 with 256 channels; in its published AlexNet, as in ours, it is the
    other way round.

    Attributes:
        backbone: its name; see `build_backbone`.
        levels: of the coarse stage; several are merged at the finest stride and need a `width`.
        fine_levels: which the fine stage pools from.
        fine: what compares the pair, a relation network or a correlation; "none": coarse alone.
        fusion: "series", the fine stage's answer, or "series_parallel", blended with the coarse one (equation 2).
        proposals: K.
        overlap: of the suppression among proposals.
        cls_weight: W_cls of equation 2; this and the next are the published code's.
        box_weight: W_box of equation 2.
        correlation: of the coarse stage: "up" as SiamRPN's, or "depthwise".
        correlations: for small networks, in its place: what `LightRpnHead` concatenates.
        width: channels after a 1 x 1 projection, for small networks; 0 leaves the features as they are.
        template_cells: side of the coarse template's middle: 6, or 7 with a projection.
        squeeze: channels after the relation network's 1 x 1 convolution.
        ratios: height / width of the anchors.
        scale: side of the anchors in strides.
    """

    family: Literal["spm"] = "spm"
    backbone: str = "alexnet_padded"
    levels: tuple[int, ...] = Field(default=(5,), min_length=1)
    fine_levels: tuple[int, ...] = Field(default=(2, 4), min_length=1)
    fine: FineKind | Literal["none"] = "relation"
    fusion: Literal["series", "series_parallel"] = "series_parallel"
    proposals: int = Field(default=9, ge=1, le=100)
    overlap: float = Field(default=0.5, gt=0, lt=1)
    cls_weight: float = Field(default=0.5, ge=0, le=1)
    box_weight: float = Field(default=3.0, ge=0)
    correlation: Correlation = "up"
    correlations: tuple[CorrelationPart, ...] = ()
    width: int = Field(default=0, ge=0)
    template_cells: int = Field(default=6, ge=3)
    squeeze: int = Field(default=256, ge=1)
    ratios: tuple[float, ...] = Field(default=(0.33, 0.5, 1, 2, 3), min_length=1)
    scale: int = Field(default=8, ge=1)

    def build(self) -> SpmNet:
        """The network with random weights."""
        fine_levels = () if self.fine == "none" else self.fine_levels
        levels = tuple(sorted({*self.levels, *fine_levels}))
        backbone = build_backbone(self.backbone, levels)
        channels: dict[int, int] = dict(zip(levels, backbone.channels, strict=True))  # type: ignore[arg-type]
        strides: dict[int, int] = dict(zip(levels, backbone.strides, strict=True))  # type: ignore[arg-type]
        width = self.width or channels[self.levels[-1]]
        coarse: nn.Module = IdentityNeck()
        if self.width:
            coarse = FuseLevels(tuple(channels[i] for i in self.levels), width, self.template_cells)
        at = {level: i for i, level in enumerate(levels)}
        neck = SpmNeck(
            coarse, tuple(at[i] for i in self.levels), tuple(at[i] for i in fine_levels), self.template_cells
        )
        anchors = len(self.ratios)
        first: nn.Module = RpnHead((width,), anchors, self.correlation)
        if self.correlations:
            first = LightRpnHead(width, anchors, self.correlations, self.template_cells)
        second = None
        if self.fine != "none":
            inputs, steps = tuple(channels[i] for i in fine_levels), tuple(strides[i] for i in fine_levels)
            second = FineStage(inputs, steps, self.fine, self.squeeze)
        coder = AnchorCoder(stride=min(strides[i] for i in self.levels), scale=self.scale, ratios=self.ratios)
        fusion = SpmFusion(self.proposals, self.overlap, self.fusion, self.cls_weight, self.box_weight)
        return SpmNet(normalisation(self.backbone), backbone, neck, SpmHead(first, second), coder, fusion)
