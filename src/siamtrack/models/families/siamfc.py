"""SiamFC (Bertinetto et al., ECCV workshops 2016): cross-correlation of one level, places only.

The target's scale comes from a search pyramid: `track.scales`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.heads.score import PointCoder, ScoreHead, response_labels, siamfc_loss
from siamtrack.models.losses import Generators, Terms, TrainingBatch, weighted
from siamtrack.models.necks import FuseLevels, IdentityNeck
from siamtrack.models.siamese import Neck, SiameseNet


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SiamFc:
    """Fields are the paper's choices; the defaults are those of siamfc-pytorch.

    Attributes:
        backbone: its name; see `build_backbone`.
        level: which of conv2..conv5 is used.
        width: channels after a 1 x 1 projection that also keeps the template's middle 7 x 7 cells only, for
            backbones with padding; 0 leaves the features as they are.
        gain: factor on the correlation.
        bias: added to it.
        learned: gain and bias are learned (section 2.1) and not fixed.
        enlarge: factor of the bicubic up-sampling of the response (section 4.1).
    """

    family: Literal["siamfc"] = "siamfc"
    backbone: str = "alexnet_siamfc"
    level: int = Field(default=5, ge=2, le=5)
    width: int = Field(default=0, ge=0)
    gain: float = 0.001
    bias: float = 0.0
    learned: bool = False
    enlarge: int = Field(default=16, ge=1, le=64)

    def build(self) -> SiameseNet:
        """The network with random weights."""
        backbone = build_backbone(self.backbone, (self.level,))
        neck: Neck = FuseLevels(backbone.channels, self.width) if self.width else IdentityNeck()
        head = ScoreHead(self.gain, self.bias, self.learned)
        coder = PointCoder(float(backbone.stride), self.enlarge)
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, coder)

    def loss(self, net: SiameseNet, batch: TrainingBatch, rngs: Generators) -> Terms:
        """Forward pass and loss of one batch: `cls` and `total`, which are the same; nothing is drawn."""
        del rngs
        maps = net.respond(net.embed(batch.template, batch.template_sizes), batch.search)
        return weighted(siamfc_loss(maps, response_labels(maps, batch, net.coder.stride)), (1.0,))
