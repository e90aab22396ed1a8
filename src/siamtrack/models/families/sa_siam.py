"""SA-Siam (He et al., CVPR 2018): SiamFC's appearance branch and a semantic branch, trained apart and blended.

The template is z^s: as wide as the search region (`crops.template_crop`). Scales are searched by `track.scales`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.heads.score import PointCoder, ScoreHead
from siamtrack.models.necks import FuseLevels, IdentityNeck
from siamtrack.models.sa_siam_net import Blend, Branches, SemanticNeck, TwinNeck
from siamtrack.models.siamese import Normalise, SiameseNet

__all__ = ["SaSiam"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SaSiam:
    """Fields are the paper's choices and ablations (table 2, section 4.3); the defaults are the published tracker.

    The paper names neither the gain of the responses nor how the sizes of two layers meet; see `ScoreHead` and
    `SemanticNeck` for what is done.

    Attributes:
        backbone: A-Net; see `build_backbone`.
        level: of A-Net.
        width: channels of A-Net's features after a 1 x 1 projection, for backbones with padding; 0 for none.
        semantic_backbone: S-Net, with ImageNet weights and never trained.
        semantic_levels: S-Net's last two stages (section 3.1), shallower first.
        fused: channels of each of its layers after the 1 x 1 fusion.
        branches: both, or one alone.
        multilevel: all semantic levels, or the last alone.
        attention: channel attention on the semantic template (section 3.2).
        appearance_weight: lambda, of the appearance branch's response in the blend.
        joint: train both branches on the blended response, not apart (section 4.3).
        template_cells: side of the template's middle: 6 for AlexNet without padding, 7 with padding.
        gain: factor on the correlations.
        learned: gain and bias are learned and not fixed.
        enlarge: factor of the bicubic up-sampling of the response.
    """

    family: Literal["sa_siam"] = "sa_siam"
    backbone: str = "alexnet_siamfc"
    level: int = Field(default=5, ge=2, le=5)
    width: int = Field(default=0, ge=0)
    semantic_backbone: str = "alexnet"
    semantic_levels: tuple[int, ...] = Field(default=(4, 5), min_length=1)
    fused: int = Field(default=128, ge=1)
    branches: Literal["appearance", "semantic", "both"] = "both"
    multilevel: bool = True
    attention: bool = True
    appearance_weight: float = Field(default=0.3, ge=0, le=1)
    joint: bool = False
    template_cells: int = Field(default=6, ge=1)
    gain: float = 0.001
    learned: bool = False
    enlarge: int = Field(default=16, ge=1, le=64)

    def build(self) -> SiameseNet:
        """The network with random weights."""
        own = neck = deep = semantic = None
        heads: dict[str, ScoreHead] = {}
        strides: list[int] = []
        if self.branches != "semantic":
            own = build_backbone(self.backbone, (self.level,))
            neck = FuseLevels(own.channels, self.width, self.template_cells) if self.width else IdentityNeck()  # type: ignore[arg-type]
            strides.append(own.stride)  # type: ignore[arg-type]
            heads["appearance"] = ScoreHead(self.gain, 0.0, self.learned)
        if self.branches != "appearance":
            deep = build_backbone(self.semantic_backbone, self.semantic_levels[0 if self.multilevel else -1 :])
            channels, steps = deep.channels, deep.strides
            semantic = SemanticNeck(channels, steps, self.fused, self.template_cells, self.attention)  # type: ignore[arg-type]
            strides.append(deep.stride)  # type: ignore[arg-type]
            heads["semantic"] = ScoreHead(self.gain, 0.0, self.learned)
        names = (self.backbone, self.semantic_backbone)
        backbone = Branches(own, deep, names, (normalisation(names[0]), normalisation(names[1])))
        head = Blend(heads, self.appearance_weight, self.joint)
        plain = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        twin: nn.Module = TwinNeck(neck, semantic, self.template_cells)
        return SiameseNet(plain, backbone, twin, head, PointCoder(float(max(strides)), self.enlarge))
