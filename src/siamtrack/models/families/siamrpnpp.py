"""SiamRPN++ (Li et al., CVPR 2019): several levels of a deep backbone, depth-wise correlation, anchors.

Its spatial-aware sampling is `data.search.shift`, its long-term variant `track.lost_search`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from siamtrack.errors import ConfigError
from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.heads.anchors import AnchorCoder
from siamtrack.models.heads.light import CorrelationPart, LightRpnHead
from siamtrack.models.heads.rpn import Correlation, LevelFusion, RpnHead
from siamtrack.models.necks import FuseLevels, ProjectLevels
from siamtrack.models.siamese import SiameseNet

__all__ = ["SiamRpnPlusPlus"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SiamRpnPlusPlus:
    """Fields are the paper's choices and ablations (table 1); the defaults are the published tracker.

    Attributes:
        backbone: its name; see `build_backbone`.
        levels: which of conv2..conv5 are used.
        width: channels of the levels after the neck, one number for all or one for each.
        correlation: "depthwise" (section 3.4) or "up".
        correlations: for small networks with one merged level, in its place: what `LightRpnHead` concatenates.
        fusion: the levels' maps are added with learned weights, or their mean is taken (section 3.3).
        template_cells: side of the template features' middle that is kept (section 3.2).
        ratios: height / width of the anchors.
        scale: side of the anchors in strides.

    Backbones whose levels differ in stride are up-sampled and merged before the head, which is then one.
    """

    family: Literal["siamrpn++"] = "siamrpn++"
    backbone: str = "resnet50"
    levels: tuple[int, ...] = Field(default=(3, 4, 5), min_length=1)
    width: int | tuple[int, ...] = 256
    correlation: Correlation = "depthwise"
    correlations: tuple[CorrelationPart, ...] = ()
    fusion: LevelFusion = "weighted"
    template_cells: int = Field(default=7, ge=3)
    ratios: tuple[float, ...] = Field(default=(0.33, 0.5, 1, 2, 3), min_length=1)
    scale: int = Field(default=8, ge=1)

    def build(self) -> SiameseNet:
        """The network with random weights.

        Raises:
            ConfigError: an unknown backbone or level, or widths that do not fit the levels.
        """
        backbone = build_backbone(self.backbone, self.levels)
        channels: tuple[int, ...] = backbone.channels  # type: ignore[assignment]
        strides: tuple[int, ...] = backbone.strides  # type: ignore[assignment]
        widths = (self.width,) * len(channels) if isinstance(self.width, int) else self.width
        if len(widths) != len(channels):
            raise ConfigError(f"width needs one number, or {len(channels)} for levels {self.levels}; got {widths}")
        neck: nn.Module
        if len(set(strides)) == 1:
            centred: bool = backbone.centred  # type: ignore[assignment]
            neck = ProjectLevels(channels, widths, self.template_cells, centred)
        else:
            neck, widths = FuseLevels(channels, max(widths), self.template_cells), (max(widths),)
        head: nn.Module = RpnHead(widths, len(self.ratios), self.correlation, self.fusion)
        if self.correlations:
            if len(widths) > 1:
                raise ConfigError(f"model.correlations needs one merged level; {self.backbone} gives {len(widths)}")
            head = LightRpnHead(widths[0], len(self.ratios), self.correlations, self.template_cells)
        coder = AnchorCoder(stride=min(strides), scale=self.scale, ratios=self.ratios)
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, coder)
