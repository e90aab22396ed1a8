"""What a tracker needs of a network, and the network that most families are.

`Matcher` is the contract: `embed` a template once, `match` it against search regions. `SiameseNet` fulfils it with
a backbone, a neck, a head and the head's coder. Modules hold weights and nothing else; a template is a value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["Backbone", "Candidates", "Coder", "Head", "Maps", "Matcher", "Neck", "Normalise", "SiameseNet", "Template"]

Template = tuple[Tensor, ...]
"""Features of N templates: tensors with a leading N, one for each level or use."""

Maps = dict[str, Tensor]
"""Raw, undecoded outputs of a head by name: what the loss compares and what is exported."""


@dataclass(frozen=True)
class Candidates:
    """B x K places where the targets may be, in crop pixels.

    Attributes:
        centres: (B, K, 2) x, y.
        sizes: (B, K, 2) w, h, or None where the head finds places only.
        scores: (B, K) in [0, 1], before any penalty or window.
        places: (K, 2) in [-1, 1]: where each candidate's cell lies on the response map; drives the cosine window.
        cells: side of the response map, when the K candidates are one square map in rows; else 0.
        classes: (B, K) in [0, 1] the classification alone, where `scores` has more in it; else None.
        quality: (B, K) the raw prediction of how good a place is, such as centre-ness logits; else None.
        stride: of the network's response map in crop pixels; 0 where the matcher does not say.
    """

    centres: Tensor
    sizes: Tensor | None
    scores: Tensor
    places: Tensor
    cells: int = 0
    classes: Tensor | None = None
    quality: Tensor | None = None
    stride: float = 0.0


class Matcher(Protocol):
    """What `start` and `step` call. B = N targets; patches are float32 RGB, 0..255, (B, 3, size, size)."""

    def embed(self, patch: Tensor) -> Template:
        """Template crops -> template features, computed once for each target."""

    def match(self, template: Template, patch: Tensor) -> Candidates:
        """Template features and search crops -> scored candidates in crop pixels."""


class Coder(Protocol):
    """Decodes a head's maps into candidates; encoding of targets for the loss lives beside it."""

    @property
    def stride(self) -> float:
        """Of the response map in crop pixels."""

    def decode(self, maps: Maps, size: int) -> Candidates:
        """Raw maps of search crops of `size` pixels -> candidates."""


class Backbone(Protocol):
    """A feature extractor: normalised images (B, 3, H, W) -> one map for each of its levels.

    Attributes:
        channels: of the levels.
        strides: of the levels in pixels.
        stride: the finest of them.
        centred: the middle of each map is that of the image also where its side is even, as without padding.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    stride: int
    centred: bool

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """Images -> feature maps, in the order of the levels."""


class Neck(Protocol):
    """Adapts backbone features for the correlation; template and search region may be cut differently."""

    def __call__(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone features -> features for the head."""


class Head(Protocol):
    """Correlates template and search features and predicts maps."""

    def __call__(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """Features of both sides -> raw maps."""


class Normalise(nn.Module):
    """Turns RGB 0..255 into what a backbone was trained on: (x - mean) / std, with R and B swapped for BGR."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float], bgr: bool = False) -> None:
        super().__init__()
        self.bgr = bgr
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, patch: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0..255 -> the same shape, in the backbone's order and scale."""
        if self.bgr:
            patch = patch.flip(1)
        # In place on the difference: one map of the crop's size less to write.
        return (patch - self.mean).div_(self.std)


class SiameseNet(nn.Module):
    """Backbone, neck and head shared by template and search region, with the coder that reads the head's maps."""

    def __init__(
        self, normalise: Normalise, backbone: nn.Module, neck: nn.Module, head: nn.Module, coder: Coder
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.coder = coder

    def features(self, patch: Tensor, template: bool) -> tuple[Tensor, ...]:
        """RGB patches (B, 3, S, S), 0..255 -> features after the neck."""
        levels: tuple[Tensor, ...] = self.neck(self.backbone(self.normalise(patch)), template)
        return levels

    def embed(self, patch: Tensor) -> Template:
        """Template crops (B, 3, S, S), RGB 0..255 -> template features."""
        return self.features(patch, template=True)

    def respond(self, template: Template, patch: Tensor) -> Maps:
        """Template features and search crops -> the head's raw maps."""
        maps: Maps = self.head(template, self.features(patch, template=False))
        return maps

    def match(self, template: Template, patch: Tensor) -> Candidates:
        """Template features and search crops -> decoded candidates in crop pixels."""
        found = self.coder.decode(self.respond(template, patch), patch.shape[-1])
        return replace(found, stride=float(self.coder.stride))
