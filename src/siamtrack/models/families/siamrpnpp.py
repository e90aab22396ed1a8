"""SiamRPN++ (Li et al., CVPR 2019): several levels of a deep backbone, depth-wise correlation, anchors.

Its spatial-aware sampling is `data.search.shift`, its long-term variant `track.lost_search`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.correlation import CorrelationPart
from siamtrack.models.fields import STRICT, AnchorRatio, AnchorScale, LossWeight, Width, refusing
from siamtrack.models.heads import AnchorCoder, Correlation, LevelAggregation, LightRpnHead, RpnHead, anchor_terms
from siamtrack.models.losses import Generators, Terms, TrainingBatch, weighted
from siamtrack.models.necks import level_neck
from siamtrack.models.siamese import Head, SiameseNet


@refusing
@dataclass(frozen=True, config=STRICT)
class SiamRpnPlusPlus:
    """Fields are the paper's choices and ablations (table 1); the defaults are the published tracker.

    Attributes:
        backbone: its name; see `build_backbone`.
        levels: which of conv2..conv5 are used.
        width: channels of the levels after the neck, one number for all or one for each.
        correlation: "depthwise" (section 3.4) or "up".
        correlation_gain: factor on the up-channel correlation; see `RpnHead`.
        correlations: for small networks with one merged level, in its place: what `LightRpnHead` concatenates.
        fusion: the levels' maps are added with learned weights, or their mean is taken (section 3.3).
        template_cells: side of the template features' middle that is kept (section 3.2).
        ratios: height / width of the anchors.
        scale: side of the anchors in strides.
        loss_weights: of classification and offsets (published code).
        smooth_l1: offsets are compared by smooth L1, not by L1 as in the published code.

    Backbones whose levels differ in stride are up-sampled and merged before the head, which is then one.
    """

    family: Literal["siamrpn++"] = "siamrpn++"
    backbone: str = "resnet50"
    levels: tuple[int, ...] = Field(default=(3, 4, 5), min_length=1)
    width: Width | tuple[Width, ...] = 256
    correlation: Correlation = "depthwise"
    correlation_gain: float = Field(default=1.0, gt=0)
    correlations: tuple[CorrelationPart, ...] = ()
    fusion: LevelAggregation = "weighted"
    template_cells: int = Field(default=7, ge=3, le=64)
    ratios: tuple[AnchorRatio, ...] = Field(default=(0.33, 0.5, 1, 2, 3), min_length=1)
    scale: AnchorScale = 8
    loss_weights: tuple[LossWeight, LossWeight] = (1.0, 1.2)
    smooth_l1: bool = False

    def build(self) -> SiameseNet:
        """The network with random weights.

        Raises:
            ConfigError: an unknown backbone or level, widths that do not fit the levels, or `correlations` with levels
                that are not merged.
        """
        backbone = build_backbone(self.backbone, self.levels)
        neck, widths = level_neck(backbone, self.width, self.template_cells, merged=bool(self.correlations))
        anchors = len(self.ratios)
        head: Head = RpnHead(widths, anchors, self.correlation, self.fusion, gain=self.correlation_gain)
        if self.correlations:
            head = LightRpnHead(widths[0], anchors, self.correlations, self.template_cells)
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, self._coder(backbone.stride))

    def loss(self, net: SiameseNet, batch: TrainingBatch, rngs: Generators) -> Terms:
        """Forward pass and loss of one batch: `cls`, `loc` and `total`; `rngs` draw the anchors to learn from."""
        maps = net.maps_of(batch)
        terms = anchor_terms(maps, self._coder(net.backbone.stride), batch, rngs, self.smooth_l1)
        return weighted(terms, self.loss_weights)

    def _coder(self, stride: int) -> AnchorCoder:
        return AnchorCoder(stride=stride, scale=self.scale, ratios=self.ratios)
