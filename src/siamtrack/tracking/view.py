"""The square regions around targets that the network sees in one frame, and the way back from their crops."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from siamtrack.config import Crops
from siamtrack.geometry.crop import Region, Rounding, cut, target_region
from siamtrack.geometry.inputs import Frame


@dataclass(frozen=True)
class View:
    """N square regions of a frame, to be cut out as crops of `size` pixels.

    Attributes:
        frame: the frame.
        region: the N regions, on the CPU.
        size: side of the crops in pixels.
        fill: (N, 3) colour 0..255 of what lies outside the frame.
        rounding: see `cut`.
        device: the network's; crops are made there.
    """

    frame: Frame
    region: Region
    size: int
    fill: Tensor
    rounding: Rounding
    device: torch.device | str

    @classmethod
    def around(
        cls, frame: Frame, boxes: Tensor, crops: Crops, size: int, fill: Tensor, device: torch.device | str
    ) -> View:
        """Look around targets, (N, 4) xyxy in frame pixels, at the scale of `crops.template`.

        `size` is `crops.template_side` for templates, `crops.search` or more to search.
        """
        region = target_region(boxes, crops.context, size / crops.template)
        return cls(frame, region, size, fill, crops.rounding, device)

    def to_search(self) -> View:
        """The same view at regions of whole pixels, but where a published rule rounds.

        Two engines, whose boxes differ in the fifth digit, then look at the same crop, and their difference does not
        grow from frame to frame. Templates are cut where the box is: what they show off their middle, boxes inherit.
        """
        return self if self.rounding != "none" else replace(self, region=self.region.on_whole_pixels())

    @property
    def scale(self) -> Tensor:
        """(N, 2) frame pixels per crop pixel, for x and y."""
        return self.region.extent() / self.size

    def pixels(self) -> Tensor:
        """Cut the regions out: (N, 3, size, size) float32 0..255."""
        return cut(self.frame, self.region, self.size, self.fill, self.device, self.rounding).pixels

    def sizes_of(self, boxes: Tensor) -> Tensor:
        """Xyxy boxes (N, 4) in frame pixels -> (N, 2) width and height in crop pixels, on the device."""
        return ((boxes[:, 2:] - boxes[:, :2]) / self.scale).to(self.device, non_blocking=True)

    def to_frame(self, boxes: Tensor) -> Tensor:
        """Map boxes (N, ..., 4), centre and size, from crop pixels to frame pixels, on the CPU."""
        found = boxes.float().cpu()
        scale = self.scale.reshape(-1, *(1,) * (found.ndim - 2), 2)
        return torch.cat([self.region.to_frame(found[..., :2], self.size), found[..., 2:] * scale], -1)

    def pyramid(self, factors: Tensor) -> View:
        """The same targets at S scales: N * S regions, the scales of a target in a row.

        Args:
            factors: (S,) on the regions' sides.
        """
        count, region = len(factors), self.region
        side = (region.side[:, None] * factors).flatten()
        return replace(self, region=Region(repeated(region.centre, count), side), fill=repeated(self.fill, count))


def repeated(values: Tensor, count: int) -> Tensor:
    """(N, ...) -> (N * count, ...), each row `count` times in succession."""
    return values[:, None].expand(-1, count, *values.shape[1:]).flatten(0, 1)
