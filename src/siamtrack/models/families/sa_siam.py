"""SA-Siam (He et al., CVPR 2018): SiamFC's appearance branch and a semantic branch, trained apart and blended.

The template is z^s, as wide as the search region (`crops.template_crop`); the appearance branch uses its middle, which
for networks without padding equals the narrow template. Scales are searched as SiamFC's.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.families.siamfc import PointCoder, ScoreHead, response_labels, siamfc_loss
from siamtrack.models.fields import STRICT, LossWeight, SearchPyramid, refusing
from siamtrack.models.losses import Generators, Terms, TrainingBatch, weighted
from siamtrack.models.necks import centre_cells, odd_cells, optional_projection, projection, resized
from siamtrack.models.siamese import Backbone, Head, Maps, Neck, Normalise, SiameseNet

# Side of the grid that channel attention pools over (section 3.2).
_GRID = 3
# The branches' names, which their parameters have, by the field `branches`.
_BRANCHES: dict[str, tuple[str, ...]] = {
    "appearance": ("appearance",),
    "semantic": ("semantic",),
    "both": ("appearance", "semantic"),
    "two_appearance": ("appearance", "appearance_2"),
    "two_semantic": ("semantic", "semantic_2"),
}


@refusing
@dataclass(frozen=True, config=STRICT)
class SaSiam(SearchPyramid):
    """Fields are the paper's choices and ablations (table 1, section 4.3); the defaults are the published tracker.

    The paper gives neither the gain of the responses nor how to combine layers of different sizes; see `ScoreHead` and
    `SemanticNeck`.

    Attributes:
        backbone: A-Net; see `build_backbone`.
        level: of A-Net.
        width: channels of A-Net's features after a 1 x 1 projection, for backbones with padding; 0 for none.
        semantic_backbone: S-Net, with ImageNet weights and never trained.
        semantic_levels: S-Net's last two stages (section 3.1), shallower first.
        fused: channels of each of its layers after the 1 x 1 fusion.
        branches: both, one alone, or two of one kind that begin with other random weights: the ensembles of table 2,
            of which `appearance_weight` is the first one's weight (two semantic branches share S-Net).
        multilevel: all semantic levels, or the last alone.
        attention: channel attention on the semantic template (section 3.2).
        appearance_weight: lambda, of the appearance branch's response in the blend.
        joint: train both branches on the blended response, not apart (section 4.3).
        template_cells: side of the template's middle: 6 for AlexNet without padding, 7 with padding.
        gain: factor on the correlations.
        learned: gain and bias are learned and not fixed.
        enlarge: factor of the bicubic up-sampling of the response.
        loss_weights: of the appearance and the semantic branch's loss, or of the two branches of one kind; trained
            jointly there is one loss, of weight 1.
    """

    family: Literal["sa_siam"] = "sa_siam"
    backbone: str = "alexnet_siamfc"
    level: int = Field(default=5, ge=2, le=5)
    width: int = Field(default=0, ge=0, le=1024)
    semantic_backbone: str = "alexnet_relu"
    semantic_levels: tuple[int, ...] = Field(default=(4, 5), min_length=1)
    fused: int = Field(default=128, ge=1, le=1024)
    branches: Literal["appearance", "semantic", "both", "two_appearance", "two_semantic"] = "both"
    multilevel: bool = True
    attention: bool = True
    appearance_weight: float = Field(default=0.3, ge=0, le=1)
    joint: bool = False
    template_cells: int = Field(default=6, ge=1, le=64)
    gain: float = 0.001
    learned: bool = False
    enlarge: int = Field(default=16, ge=1, le=64)
    loss_weights: tuple[LossWeight, LossWeight] = (1.0, 1.0)

    def build(self) -> SiameseNet:
        """The network with random weights."""
        names = _BRANCHES[self.branches]
        nets: dict[str, Backbone] = {}
        necks: dict[str, Neck] = {}
        semantic: dict[str, SemanticNeck] = {}
        deep = None
        for name in names:
            if name.startswith("appearance"):
                own = nets[name] = build_backbone(self.backbone, (self.level,))
                necks[name] = optional_projection(own.channels, self.width, self.template_cells)
            else:
                levels = self.semantic_levels[0 if self.multilevel else -1 :]
                deep = deep or build_backbone(self.semantic_backbone, levels)
                semantic[name] = SemanticNeck(
                    deep.channels, deep.strides, self.fused, self.template_cells, self.attention
                )
        kinds = (self.backbone, self.semantic_backbone)
        backbone = Branches(nets, deep, kinds, (normalisation(kinds[0]), normalisation(kinds[1])))
        heads = {name: ScoreHead(self.gain, 0.0, self.learned) for name in names}
        head = Blend(heads, self.appearance_weight)
        plain = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        coder = PointCoder(float(backbone.stride), self.enlarge)
        net = SiameseNet(plain, backbone, TwinNeck(necks, semantic, self.template_cells), head, coder)
        if not self.joint:
            net.trained_apart = names
        return net

    def loss(self, net: SiameseNet, batch: TrainingBatch, rngs: Generators) -> Terms:
        """Forward pass and loss of one batch; nothing is drawn.

        The existing branches on their own responses, by name, and `total`; the branches share no trained parameters, so
        one run trains both as two runs would. With `joint`, `cls` on the blend and `total`.
        """
        del rngs
        maps = net.maps_of(batch)
        labels = response_labels(maps, batch, net.coder.stride)
        if self.joint:
            return weighted(siamfc_loss(maps, labels), (1.0,))
        branches = _BRANCHES[self.branches]
        own = dict(zip(branches if len(branches) > 1 else _BRANCHES["both"], self.loss_weights, strict=True))
        terms = {name: siamfc_loss({"response": maps[name]}, labels)["cls"] for name in branches}
        return weighted(terms, [own[name] for name in branches])


class Frozen(nn.Module):
    """A network that is never trained: no gradients, BatchNorm always in evaluation mode (SA-Siam, section 3.3)."""

    def __init__(self, net: Backbone) -> None:
        super().__init__()
        self.net: Backbone = net.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Frozen:
        """Stays in evaluation mode whatever `mode` is."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """As the network itself, without gradients."""
        maps: tuple[Tensor, ...] = self.net(x)
        return maps


class Branches(Backbone):
    """The A-Nets, of one level each, and S-Net, which is frozen, on the same image; either may be missing.

    Args:
        appearance: A-Nets by branch.
        semantic: S-Net.
        names: of both kinds, as in `build_backbone`.
        normalise: of both kinds.
    """

    def __init__(
        self,
        appearance: dict[str, Backbone],
        semantic: Backbone | None,
        names: tuple[str, str],
        normalise: tuple[Normalise, Normalise],
    ) -> None:
        super().__init__()
        self.appearance = appearance.get("appearance")
        self.appearance_2 = appearance.get("appearance_2")
        self.semantic = None if semantic is None else Frozen(semantic)
        self.names = names
        self.normalise = nn.ModuleList(normalise)
        parts = [*appearance.values(), *([] if semantic is None else [semantic])]
        self.channels = tuple(c for part in parts for c in part.channels)
        self.strides = tuple(stride for part in parts for stride in part.strides)

    def _own(self) -> list[Backbone]:
        return [net for net in (self.appearance, self.appearance_2) if net is not None]

    @property
    def stride(self) -> int:
        """The coarser of the branches' finest strides, at which all respond."""
        return max(part.stride for part in (*self._own(), *([] if self.semantic is None else [self.semantic.net])))

    def stages(self) -> list[nn.Module]:
        """The parts of the A-Nets in order of depth; S-Net is never trained."""
        depths = zip(*(net.stages() for net in self._own()), strict=True)
        return [nn.ModuleList(parts) if len(parts) > 1 else parts[0] for parts in depths]

    def pretrained_parts(self, name: str) -> list[tuple[Backbone, str]]:
        """All networks, by their own names."""
        del name
        parts = [(net, self.names[0]) for net in self._own()]
        return parts if self.semantic is None else [*parts, (self.semantic.net, self.names[1])]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """RGB 0..255 -> a map of each A-Net, then S-Net's levels, of the branches that exist."""
        maps: tuple[Tensor, ...] = ()
        for net in self._own():
            maps += net(self.normalise[0](x))
        if self.semantic is not None:
            maps += self.semantic(self.normalise[1](x))
        return maps


def grid_maxima(x: Tensor, centre: int) -> Tensor:
    """The maximum of each channel in the cells of a 3 x 3 grid whose middle cell is the target's.

    (B, C, n, n) -> (B, C, 9), row by row; `centre` is the side of the middle cell, 6 of the 22 of AlexNet's conv5.

    Raises:
        ConfigError: the map shows nothing around its middle.
    """
    side = x.shape[-1]
    if side < centre + 2:
        raise ConfigError(
            f"channel attention needs the target's surroundings, a map wider than {centre} cells; got {side} "
            "(set crops.template_crop, such as 255)"
        )
    start = (side - centre) // 2
    bounds = (0, start, start + centre, side)
    cells = [
        x[..., bounds[row] : bounds[row + 1], bounds[column] : bounds[column + 1]].amax((-2, -1))
        for row in range(_GRID)
        for column in range(_GRID)
    ]
    return torch.stack(cells, -1)


class ChannelAttention(nn.Module):
    """A weight for each channel of a template, from its activations in and around the target (SA-Siam, section 3.2).

    One multilayer perceptron, 9 - 9 - 1 with ReLU, for all channels of a layer; sigmoid + 0.5 bounds the weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_GRID**2, _GRID**2), nn.ReLU(), nn.Linear(_GRID**2, 1))

    def forward(self, x: Tensor, centre: int) -> Tensor:
        """(B, C, n, n) and the side of the middle cell -> (B, C, 1, 1) weights in [0.5, 1.5]."""
        weights: Tensor = self.mlp(grid_maxima(x, centre)).sigmoid() + 0.5
        return weights[..., None]


class SemanticNeck(nn.Module):
    """Attention on the template, its middle, and a 1 x 1 fusion of each layer (SA-Siam, sections 3.1 and 3.2).

    Layers of different strides (padded networks) are first resized to the finest one. Layers of one stride but other
    sizes (no padding) keep them: zeros around the smaller ones make one map whose correlation is the sum over the
    layers. A BatchNorm after each convolution, not in the paper, brings the layers to one scale.

    Args:
        channels: of the layers.
        strides: of the layers.
        width: channels of each layer after the fusion.
        template_cells: side of the template's middle on the last layer.
        attention: weight the template's channels.
    """

    def __init__(
        self, channels: tuple[int, ...], strides: tuple[int, ...], width: int, template_cells: int, attention: bool
    ) -> None:
        super().__init__()
        self.fuse = nn.ModuleList(projection(c, width) for c in channels)
        self.attention = nn.ModuleList(ChannelAttention() for _ in channels) if attention else None
        self.resize = len(set(strides)) > 1
        self.template_cells = template_cells

    def forward(self, layers: tuple[Tensor, ...], template: bool) -> Tensor:
        """S-Net's layers -> (B, layers * width, n, n); of the template, the weighted middle."""
        if self.resize:
            layers = tuple(resized(x, like=layers[0]) for x in layers)
        if self.template_cells % 2:
            layers = tuple(odd_cells(x) for x in layers)
        if template:
            middles, last = [], layers[-1].shape[-1]
            for i, x in enumerate(layers):
                cells = self.template_cells + x.shape[-1] - last
                weights = self.attention[i](x, cells) if self.attention is not None else 1.0
                middles.append(centre_cells(x, cells) * weights)
            layers = tuple(middles)
        fused = [fuse(x) for fuse, x in zip(self.fuse, layers, strict=True)]
        widest = max(x.shape[-1] for x in fused)
        return torch.cat([F.pad(x, ((widest - x.shape[-1]) // 2,) * 4) for x in fused], 1)


class TwinNeck(Neck):
    """The branches' necks by name; `template_cells` is the side of A-Net's template middle."""

    def __init__(self, appearance: dict[str, Neck], semantic: dict[str, SemanticNeck], template_cells: int) -> None:
        super().__init__()
        self.appearance = appearance.get("appearance")
        self.appearance_2 = appearance.get("appearance_2")
        self.semantic = semantic.get("semantic")
        self.semantic_2 = semantic.get("semantic_2")
        self.template_cells = template_cells

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """What `Branches` gives -> one map a branch."""
        maps: list[Tensor] = []
        for appearance in (self.appearance, self.appearance_2):
            if appearance is not None:
                (own,) = appearance(features[:1], template)
                maps.append(centre_cells(own, self.template_cells) if template else own)
                features = features[1:]
        semantic = (self.semantic, self.semantic_2)
        return (*maps, *(neck(features, template) for neck in semantic if neck is not None))


class Blend(Head):
    """Correlates each branch and blends the responses with `weight` lambda and 1 - lambda (SA-Siam, section 3.1).

    Maps: `response` (B, 1, R, R) the blend, and each branch's own by its name, as `appearance` and `semantic`.
    """

    def __init__(self, heads: dict[str, ScoreHead], weight: float) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(heads)
        self.weight = weight

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """One map a branch of both sides -> responses.

        Raises:
            ConfigError: the branches' backbones differ in geometry.
        """
        pairs = zip(self.heads.items(), template, search, strict=True)
        maps: Maps = {name: head((z,), (x,))["response"] for (name, head), z, x in pairs}
        responses = list(maps.values())
        if len(responses) == 1:
            return {**maps, "response": responses[0]}
        first, second = responses
        if first.shape != second.shape:
            sides = f"{first.shape[-1]} and {second.shape[-1]}"
            raise ConfigError(f"both branches need responses of one size; got {sides} cells: choose like backbones")
        return {**maps, "response": self.weight * first + (1 - self.weight) * second}
