"""Correlations of a template with a search region, all called (z, x) -> (B, out, H, W).

Each example of the batch is correlated with its own template. A batch is folded into groups of one convolution.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.models.necks import centre_cells

CorrelationPart = Literal["depthwise", "pixelwise", "search"]


def cross(z: Tensor, x: Tensor) -> Tensor:
    """SiamFC's cross-correlation (equation 2): (B, C, h, w), (B, C, H, W) -> (B, 1, H - h + 1, W - w + 1)."""
    return up_channel(z, x)


def depthwise(z: Tensor, x: Tensor) -> Tensor:
    """DW-XCorr (SiamRPN++, section 3.4): each channel with its own: (B, C, h, w), (B, C, H, W) -> (B, C, ., .)."""
    return _each_with_its_own(z[:, :, None], x, x.shape[1])


def up_channel(z: Tensor, x: Tensor) -> Tensor:
    """UP-XCorr (SiamRPN, section 3.2): (B, K * C, h, w) holds K kernels: (B, C, H, W) -> (B, K, ., .)."""
    return _each_with_its_own(z.reshape(-1, z.shape[1] // x.shape[1], x.shape[1], *z.shape[2:]), x, 1)


def _each_with_its_own(kernels: Tensor, x: Tensor, groups: int) -> Tensor:
    """Convolve each example with kernels of its own: (B, K, C / groups, h, w), (B, C, H, W) -> (B, K, ., .)."""
    batch, (height, width) = x.shape[0], x.shape[2:]
    outputs, last = kernels.shape[1], (height - kernels.shape[-2] + 1, width - kernels.shape[-1] + 1)
    if torch.compiler.is_exporting():
        # An ONNX convolution has a fixed number of groups: the exporter writes a loop over the examples in its place.
        attributes: dict[str, Any] = {"groups": groups, "kernels": list(kernels.shape[1:]), "map": list(x.shape[1:])}
        attributes["response"] = [outputs, *last]
        attributes["count"] = batch if isinstance(batch, int) else 0
        return torch.onnx.ops.symbolic(
            "siamtrack::Correlate", (kernels, x), attributes, dtype=x.dtype, shape=(batch, outputs, *last), version=1
        )
    kernel = kernels.reshape(-1, *kernels.shape[2:])
    out = F.conv2d(x.reshape(1, -1, height, width), kernel, groups=batch * groups)
    return out.reshape(batch, outputs, *last)


def pixelwise(z: Tensor, x: Tensor) -> Tensor:
    """Every template cell as a 1 x 1 kernel (Alpha-Refine, section 3.2): -> (B, h * w, H, W), scaled by 1/sqrt(C)."""
    batch, channels, height, width = x.shape
    out: Tensor = z.flatten(2).transpose(1, 2) @ x.flatten(2) * channels**-0.5
    return out.reshape(batch, -1, height, width)


class CorrelationMerge(nn.Module):
    """Correlates template and search features and merges the responses with a 1 x 1 convolution.

    Args:
        width: channels of each level's features.
        levels: how many levels come in; each is correlated apart, which is the same as SiamCAR's
            correlation of all levels in a row (section 3.1).
        output: channels after the merge.
        parts: of the concatenation: "depthwise" (the paper), "pixelwise" (each template cell against each search cell)
            and "search" (the search features).
        template_cells: side of the template's features.
        norm: BatchNorm and ReLU after the merge; the reference has none.
    """

    def __init__(
        self, width: int, levels: int, output: int, parts: tuple[CorrelationPart, ...], template_cells: int, norm: bool
    ) -> None:
        super().__init__()
        sizes = {"depthwise": width, "pixelwise": template_cells**2, "search": width}
        self.parts = parts
        total = levels * sum(sizes[p] for p in parts)
        self.scale = nn.BatchNorm2d(total) if norm else nn.Identity()
        self.merge = nn.Conv2d(total, output, 1, bias=not norm)
        self.norm = nn.Sequential(nn.BatchNorm2d(output), nn.ReLU(inplace=True)) if norm else nn.Identity()

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Tensor:
        """(B, width, 7, 7) and (B, width, 31, 31) a level -> (B, output, 25, 25)."""
        maps = []
        for z, x in zip(template, search, strict=True):
            inner = x.shape[-1] - z.shape[-1] + 1
            for part in self.parts:
                if part == "depthwise":
                    maps.append(depthwise(z, x))
                else:
                    middle = centre_cells(x, inner)
                    maps.append(pixelwise(z, middle) if part == "pixelwise" else middle)
        out: Tensor = self.norm(self.merge(self.scale(torch.cat(maps, 1))))
        return out
