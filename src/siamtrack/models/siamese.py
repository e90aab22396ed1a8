"""What a tracker needs of a network (`Matcher`), and `SiameseNet`: backbone, neck, head and the head's coder.

A template is embedded once and matched against search regions. Modules hold weights only; a template is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.models.losses import TrainingBatch

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
        grid_positions: (K, 2) in [-1, 1]: where each candidate's cell lies on the response map; drives the cosine
            window.
        response_size: side of the response map, when the K candidates are one square map in rows; else 0.
        classes: (B, K) in [0, 1] the classification alone, where `scores` combines it with something else; else None.
        quality: (B, K) a raw prediction of each place's quality, such as centre-ness logits; else None.
        stride: of the network's response map in crop pixels; 0 where the matcher does not say.
    """

    centres: Tensor
    sizes: Tensor | None
    scores: Tensor
    grid_positions: Tensor
    response_size: int = 0
    classes: Tensor | None = None
    quality: Tensor | None = None
    stride: float = 0.0


def joined(parts: Sequence[Candidates]) -> Candidates:
    """The candidates of several batches from one network, as one batch."""

    def rows(values: list[Tensor | None]) -> Tensor | None:
        there = [value for value in values if value is not None]
        return torch.cat(there) if there else None

    first = parts[0]
    one_grid = first.grid_positions.ndim == 2
    return replace(
        first, centres=torch.cat([p.centres for p in parts]), sizes=rows([p.sizes for p in parts]),
        scores=torch.cat([p.scores for p in parts]),
        grid_positions=first.grid_positions if one_grid else torch.cat([p.grid_positions for p in parts]),
        classes=rows([p.classes for p in parts]), quality=rows([p.quality for p in parts]),
    )  # fmt: skip


@dataclass(frozen=True)
class LinearMap:
    """From one backbone's features of a level, x (C,), to those of another, y (D,) = weight @ x + bias.

    `mean` and `variance` (C,) are of x.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor


@runtime_checkable
class Matcher(Protocol):
    """What `start` and `step` call. N targets; patches are float32 RGB, 0..255, (N, 3, side, side).

    The target is in the middle of its template crop, and was last seen in the middle of its search crop; its width and
    height complete the box. Most networks ignore the sizes; a second stage that pools features of boxes needs them.
    """

    def embed(self, patch: Tensor, sizes: Tensor) -> Template:
        """Template features of crops; `sizes` (N, 2) are the targets' width and height in pixels of these crops."""

    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        """Score candidates in search crops; `sizes` (N, 2) are the targets' last width and height in their pixels."""


class Coder(Protocol):
    """Decodes a head's maps into candidates; encoding of targets for the loss lives beside it."""

    @property
    def stride(self) -> float:
        """Of the response map in crop pixels."""

    def decode(self, maps: Maps, size: int) -> Candidates:
        """Raw maps of search crops of `size` pixels -> candidates."""


class Backbone(nn.Module):
    """Base of feature extractors: normalised images (B, 3, H, W) -> one map for each level, in their order.

    Attributes:
        channels: of the levels.
        strides: of the levels in pixels.
        centred: the middle of each map is the image's middle even if its side is even, as without padding.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    centred: bool = False

    @property
    def stride(self) -> int:
        """The finest of the strides, in pixels."""
        return min(self.strides)

    def stages(self) -> list[nn.Module]:
        """The parts in order of depth, which a training schedule freezes and unfreezes."""
        raise NotImplementedError

    def first_cells(self, size: int) -> tuple[float, ...]:
        """The middle (same x and y) of each level's first cell in images of `size` pixels; pixel i is [i, i + 1)."""
        raise NotImplementedError

    def pretrained_parts(self, name: str) -> list[tuple[Backbone, str]]:
        """The networks in it that start from ImageNet weights, and their names; `name` is its own."""
        return [(self, name)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images -> feature maps."""
        raise NotImplementedError


class Neck(nn.Module):
    """Base of what adapts features for the correlation; template and search region may be cut differently."""

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone features -> features for the head."""
        raise NotImplementedError

    def adopt(self, other: Neck, maps: Sequence[LinearMap]) -> None:
        """Do as `other` does, whose backbone's features are about `maps` of the own backbone's, level by level.

        Raises:
            ConfigError: there is no linear layer that could take the maps in.
        """
        raise ConfigError("a head moves to another backbone where a projection lies between them (model.width)")


class Head(nn.Module):
    """Base of what correlates template and search features and predicts maps."""

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """Features of both sides -> raw maps."""
        raise NotImplementedError


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
    """Backbone, neck and head shared by template and search region, with the coder that reads the head's maps.

    Attributes:
        trained_apart: names of branches that share no parameters and learn from losses of their own, as parts of the
            names of their parameters.
        quick: gives the features of float32 search crops in place of `features`; set by `freeze`.
    """

    trained_apart: tuple[str, ...] = ()
    quick: Callable[[Tensor], tuple[Tensor, ...]] | None = None

    def __init__(self, normalise: Normalise, backbone: Backbone, neck: Neck, head: Head, coder: Coder) -> None:
        super().__init__()
        self.normalise = normalise
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.coder = coder

    def features(self, patch: Tensor, template: bool) -> tuple[Tensor, ...]:
        """RGB patches (B, 3, S, S), 0..255 -> features after the neck."""
        fixed = not (template or self.training or torch.is_grad_enabled() or torch.compiler.is_exporting())
        if fixed and self.quick is not None and patch.dtype == torch.float32:
            return self.quick(patch)
        levels: tuple[Tensor, ...] = self.neck(self.backbone(self.normalise(patch)), template)
        return levels

    def adopt(self, other: SiameseNet, maps: Sequence[LinearMap]) -> None:
        """See `Neck.adopt`; `other` differs in its backbone alone."""
        self.neck.adopt(other.neck, maps)

    def embed(self, patch: Tensor, sizes: Tensor) -> Template:
        """See `Matcher`; the sizes are not used."""
        del sizes
        return self.features(patch, template=True)

    def respond(self, template: Template, patch: Tensor) -> Maps:
        """Template features and search crops -> the head's raw maps."""
        maps: Maps = self.head(template, self.features(patch, template=False))
        return maps

    def maps_of(self, batch: TrainingBatch) -> Maps:
        """The head's raw maps of training pairs."""
        return self.respond(self.embed(batch.template, batch.template_sizes), batch.search)

    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        """See `Matcher`; the sizes are not used."""
        del sizes
        found = self.coder.decode(self.respond(template, patch), patch.shape[-1])
        return replace(found, stride=float(self.coder.stride))
