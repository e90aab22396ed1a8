"""The parts of SA-Siam's two branches: a pair of backbones, the neck with the attention, and the blend of responses.

The two networks share nothing but the image. The template is z^s, as wide as the search region; the appearance
branch looks at its middle, which for networks without padding is exactly what it would see of the narrow template.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.models.attention import ChannelAttention
from siamtrack.models.heads.score import ScoreHead
from siamtrack.models.necks import centre_cells, odd_cells, projection, resized
from siamtrack.models.siamese import Maps, Normalise

__all__ = ["Blend", "Branches", "Frozen", "SemanticNeck", "TwinNeck"]


class Frozen(nn.Module):
    """A network that is never trained: no gradients, BatchNorm always in evaluation mode (SA-Siam, section 3.3)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Frozen:
        """Stays in evaluation mode whatever `mode` is."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """As the network itself, without gradients."""
        maps: tuple[Tensor, ...] = self.net(x)
        return maps


class Branches(nn.Module):
    """Up to two backbones on the same image, each with its own normalisation.

    Args:
        appearance: A-Net with one level, or None.
        semantic: S-Net, or None; it is frozen.
        names: of the two, as `build_backbone` knows them.
        normalise: of the two.
    """

    def __init__(
        self,
        appearance: nn.Module | None,
        semantic: nn.Module | None,
        names: tuple[str, str],
        normalise: tuple[Normalise, Normalise],
    ) -> None:
        super().__init__()
        self.appearance = appearance
        self.semantic = None if semantic is None else Frozen(semantic)
        self.names = names
        self.normalise = nn.ModuleList(normalise)

    def stages(self) -> list[nn.Module]:
        """The parts of A-Net in order of depth; none of S-Net is ever trained."""
        return [] if self.appearance is None else self.appearance.stages()  # type: ignore[operator]

    def pretrained_parts(self) -> list[tuple[nn.Module, str]]:
        """The networks that start from ImageNet weights, and their names."""
        parts = [] if self.appearance is None else [(self.appearance, self.names[0])]
        return parts if self.semantic is None else [*parts, (self.semantic.net, self.names[1])]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """RGB 0..255 -> A-Net's map, then S-Net's levels, as far as the branches are there."""
        maps: tuple[Tensor, ...] = ()
        if self.appearance is not None:
            maps += self.appearance(self.normalise[0](image))
        if self.semantic is not None:
            maps += self.semantic(self.normalise[1](image))
        return maps


class SemanticNeck(nn.Module):
    """Attention on the template, its middle, and a 1 x 1 fusion of each layer (SA-Siam, sections 3.1 and 3.2).

    Layers of different strides (padded networks) are first brought to the finest one. Layers of one stride whose
    sizes differ (networks without padding) keep their sizes; the middle of a larger one is larger by as much, and
    zeros around the smaller ones then make it one map whose correlation is the sum over the layers. A BatchNorm
    after each convolution, which the paper does not have, brings the layers to one scale.

    Args:
        channels: of the layers.
        strides: of the layers.
        width: channels of each layer after the fusion.
        template_cells: side of the template's middle on the last layer.
        attention: weigh the template's channels.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        width: int,
        template_cells: int,
        attention: bool,
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
            layers = tuple(self._middle(i, x, layers[-1].shape[-1]) for i, x in enumerate(layers))
        fused = [fuse(x) for fuse, x in zip(self.fuse, layers, strict=True)]
        widest = max(x.shape[-1] for x in fused)
        return torch.cat([_surrounded(x, widest) for x in fused], 1)

    def _middle(self, layer: int, x: Tensor, last: int) -> Tensor:
        cells = self.template_cells + x.shape[-1] - last
        weights = self.attention[layer](x, cells) if self.attention is not None else 1.0
        return centre_cells(x, cells) * weights


def _surrounded(x: Tensor, side: int) -> Tensor:
    """(B, C, n, n) -> (B, C, side, side) with zeros all around."""
    return F.pad(x, ((side - x.shape[-1]) // 2,) * 4)


class TwinNeck(nn.Module):
    """Both branches' necks; either may be missing.

    Args:
        appearance: neck of A-Net's map, called as those of `siamtrack.models.necks` are; or None.
        semantic: neck of S-Net's layers; or None.
        template_cells: side of the appearance template's middle.
    """

    def __init__(self, appearance: nn.Module | None, semantic: SemanticNeck | None, template_cells: int) -> None:
        super().__init__()
        self.appearance = appearance
        self.semantic = semantic
        self.template_cells = template_cells

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """What `Branches` gives -> one map a branch."""
        maps: list[Tensor] = []
        if self.appearance is not None:
            (own,) = self.appearance(features[:1], template)
            maps.append(centre_cells(own, self.template_cells) if template else own)
            features = features[1:]
        if self.semantic is not None:
            maps.append(self.semantic(features, template))
        return tuple(maps)


class Blend(nn.Module):
    """Correlates each branch and blends the responses (SA-Siam, section 3.1).

    Maps: `response` (B, 1, R, R) the blend, and each branch's own: `appearance`, `semantic`.

    Args:
        heads: of the branches that are there, by name.
        weight: of the appearance branch, lambda; the semantic one has 1 - lambda.
        joint: the branches are trained on the blend, not each on its own response.
    """

    def __init__(self, heads: dict[str, ScoreHead], weight: float, joint: bool) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(heads)
        self.weight = weight
        self.joint = joint

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """One map a branch of both sides -> responses.

        Raises:
            ConfigError: the branches' backbones differ in geometry.
        """
        maps: Maps = {}
        for (name, head), z, x in zip(self.heads.items(), template, search, strict=True):
            maps[name] = head((z,), (x,))["response"]
        responses = list(maps.values())
        if len(responses) == 1:
            return {**maps, "response": responses[0]}
        appearance, semantic = responses
        if appearance.shape != semantic.shape:
            sides = f"{appearance.shape[-1]} and {semantic.shape[-1]}"
            raise ConfigError(f"both branches need responses of one size; got {sides} cells: choose like backbones")
        return {**maps, "response": self.weight * appearance + (1 - self.weight) * semantic}
