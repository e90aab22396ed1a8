"""SiamRPN (Li et al., CVPR 2018) and DaSiamRPN (Zhu et al., ECCV 2018): one level, anchors.

DaSiamRPN is the same network; its negative pairs are `data.negative`, its memory of distractors `track.rerank`, its
local-to-global search `track.lost_search` and `track.lost_step`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from siamtrack.errors import ConfigError
from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.correlation import CorrelationPart
from siamtrack.models.fields import STRICT, AnchorRatio, AnchorScale, LossWeight, refusing
from siamtrack.models.heads import AnchorCoder, Correlation, LightRpnHead, RpnHead, anchor_terms
from siamtrack.models.losses import Generators, Terms, TrainingBatch, weighted
from siamtrack.models.necks import optional_projection
from siamtrack.models.siamese import Head, SiameseNet


@refusing
@dataclass(frozen=True, config=STRICT)
class SiamRpn:
    """Fields are the paper's choices and ablations; the defaults are the paper's tracker.

    Attributes:
        backbone: its name; see `build_backbone`.
        level: which of conv2..conv5 is used.
        correlation: "up" (section 3.2) or "depthwise" (the tracker published with SiamRPN++'s code).
        correlation_gain: factor on the up-channel correlation; see `RpnHead`.
        correlations: for small networks, in its place: what `LightRpnHead` concatenates; needs a `width`.
        width: channels after a 1 x 1 projection that also keeps the template's middle 7 x 7 cells only, for
            backbones with padding; 0 leaves the features as they are.
        ratios: height / width of the anchors (section 5.6 compares 3, 5 and 7).
        scale: side of the anchors in strides; several are for coarse strides, where the targets that one size overlaps
            by more than 0.6 are fewer.
        loss_weights: of classification and offsets (published code).
        smooth_l1: offsets are compared by smooth L1, as in the paper (section 3.2), not by L1, as in PySOT.
    """

    family: Literal["siamrpn"] = "siamrpn"
    backbone: str = "alexnet"
    level: int = Field(default=5, ge=2, le=5)
    correlation: Correlation = "up"
    correlation_gain: float = Field(default=1.0, gt=0)
    correlations: tuple[CorrelationPart, ...] = ()
    width: int = Field(default=0, ge=0, le=1024)
    ratios: tuple[AnchorRatio, ...] = Field(default=(0.33, 0.5, 1, 2, 3), min_length=1)
    scale: AnchorScale | tuple[AnchorScale, ...] = 8
    loss_weights: tuple[LossWeight, LossWeight] = (1.0, 1.2)
    smooth_l1: bool = False

    def build(self) -> SiameseNet:
        """The network with random weights.

        Raises:
            ConfigError: an unknown backbone, or `correlations` without a `width`.
        """
        if self.correlations and not self.width:
            raise ConfigError("correlations need a width above 0")
        backbone = build_backbone(self.backbone, (self.level,))
        neck = optional_projection(backbone.channels, self.width)
        width, anchors = self.width or backbone.channels[0], self._coder(backbone.stride).count
        head: Head = RpnHead((width,), anchors, self.correlation, gain=self.correlation_gain)
        if self.correlations:
            head = LightRpnHead(width, anchors, self.correlations)
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, self._coder(backbone.stride))

    def loss(self, net: SiameseNet, batch: TrainingBatch, rngs: Generators) -> Terms:
        """Forward pass and loss of one batch: `cls`, `loc` and `total`; `rngs` draw the anchors to learn from."""
        maps = net.maps_of(batch)
        terms = anchor_terms(maps, self._coder(net.backbone.stride), batch, rngs, self.smooth_l1)
        return weighted(terms, self.loss_weights)

    def _coder(self, stride: int) -> AnchorCoder:
        return AnchorCoder(stride=stride, scale=self.scale, ratios=self.ratios)
