"""SiamCAR (Guo et al., CVPR 2020): classification, centre-ness and sides, without anchors.

Beyond the paper: EfficientNet-Lite0 or MobileNetV2 with separable towers for CPUs (`light`), and further parts
of the correlation (`correlations`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.heads.car import CarHead, Fusion, SidesCoder
from siamtrack.models.necks import FuseLevels, ProjectLevels
from siamtrack.models.siamese import SiameseNet

__all__ = ["SiamCar"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SiamCar:
    """Fields are the paper's choices and ablations; the defaults are the published tracker.

    Attributes:
        backbone: its name; see `build_backbone`.
        levels: which of conv2..conv5 are used (section 3.1).
        width: channels after the neck and in the head.
        correlations: what is concatenated a level: "depthwise" (section 3.1), "pixelwise", "search".
        tower: number of convolutions of each tower (section 3.2).
        light: levels merged at the finest stride and separable towers with BatchNorm, for small backbones.
        template_cells: side of the template features' middle that is kept.
        unit: pixels that an untrained head predicts for each side.
    """

    family: Literal["siamcar"] = "siamcar"
    backbone: str = "resnet50"
    levels: tuple[int, ...] = (3, 4, 5)
    width: int = Field(default=256, ge=8)
    correlations: tuple[Literal["depthwise", "pixelwise", "search"], ...] = ("depthwise",)
    tower: int = Field(default=4, ge=0, le=8)
    light: bool = False
    template_cells: int = Field(default=7, ge=1)
    unit: float = Field(default=1.0, gt=0)

    def build(self) -> SiameseNet:
        """The network with random weights."""
        backbone = build_backbone(self.backbone, self.levels)
        channels: tuple[int, ...] = backbone.channels  # type: ignore[assignment]
        neck: nn.Module
        if self.light:
            neck, levels = FuseLevels(channels, self.width, self.template_cells), 1
        else:
            centred: bool = backbone.centred  # type: ignore[assignment]
            neck, levels = ProjectLevels(channels, self.width, self.template_cells, centred), len(self.levels)
        fusion = Fusion(self.width, levels, self.width, self.correlations, self.template_cells, norm=self.light)
        head = CarHead(fusion, self.width, self.tower, separable=self.light, unit=self.unit)
        coder = SidesCoder(float(backbone.stride))  # type: ignore[arg-type]
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, coder)
