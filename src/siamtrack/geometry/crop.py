"""Square regions of a frame, and the one function that cuts them out.

`target_region` holds the context formula; `cut` makes every crop of the project, in training and in tracking. A
`Region` maps boxes into its crop and points back to the frame.

PySOT, SiamCAR and siamfc-pytorch round a region to whole pixels, cut that square out and resize it, and map boxes back
as if they had not rounded, up to one and a half pixels beside the place. Networks trained or tuned with that expect
it, so `cut` does it on request (`rounding`). This project's own trackers search in regions of whole pixels too
(`Region.on_whole_pixels`), and map back by the region that they cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from siamtrack.geometry.inputs import Frame

Rounding = Literal["none", "pysot", "siamfc"]
"""How a region is rounded: not at all, or as PySOT (and SiamCAR) or siamfc-pytorch do it."""


@dataclass(frozen=True)
class Region:
    """N squares of a frame, in continuous pixels.

    Attributes:
        centre: (N, 2) x, y.
        side: (N,).
        stretch: (N, 2) factors on the side in x and in y, from training's jitter; None for 1.
        turn: (N,) rotation around the centre in radians, clockwise on the screen, from training's jitter; None for 0.
    """

    centre: Tensor
    side: Tensor
    stretch: Tensor | None = None
    turn: Tensor | None = None

    def extent(self) -> Tensor:
        """(N, 2) width and height of each region in frame pixels."""
        side = self.side[:, None].expand(-1, 2)
        return side if self.stretch is None else side * self.stretch

    def on_whole_pixels(self) -> Region:
        """The nearest region whose centre and side are whole numbers, the side at least 1."""
        centre, side = (self.centre + 0.5).floor(), (self.side + 0.5).floor().clamp(min=1)
        return replace(self, centre=centre, side=side)

    def to_frame(self, points: Tensor, size: int) -> Tensor:
        """Map points (N, ..., 2) from pixels of crops of `size` to frame pixels, for regions that are not turned."""
        if self.turn is not None:
            raise ValueError("only regions that are not turned are mapped back")
        shape = (-1,) + (1,) * (points.ndim - 2) + (2,)
        return self.centre.reshape(shape) + (points - size / 2) * (self.extent() / size).reshape(shape)

    def to_crop(self, boxes: Tensor, size: int) -> Tensor:
        """Map xyxy boxes (N, 4) or (N, K, 4) from frame pixels to pixels of crops of `size`.

        In a turned region, the upright box around the turned ellipse that filled the box: closer to what most
        objects look like than the box around its turned corners.
        """
        extent = self.extent()
        shape = (len(extent),) + (1,) * (boxes.ndim - 2) + (4,)
        low = (self.centre - extent / 2).repeat(1, 2).to(boxes).reshape(shape)
        scale = (extent / size).repeat(1, 2).to(boxes).reshape(shape)
        return ((boxes if self.turn is None else _turned(boxes, self, self.turn)) - low) / scale


@dataclass(frozen=True)
class Crop:
    """`pixels` (N, 3, size, size), float32 0..255, and the region of the frame that they show."""

    pixels: Tensor
    region: Region

    def to_crop(self, boxes: Tensor) -> Tensor:
        """Map xyxy boxes (N, 4) or (N, K, 4) from frame pixels to this crop's; see `Region.to_crop`."""
        return self.region.to_crop(boxes, self.pixels.shape[-1])


def _turned(boxes: Tensor, region: Region, turn: Tensor) -> Tensor:
    """Boxes (N, ..., 4) of the frame, turned back with their region around its centre."""
    shape = (len(turn),) + (1,) * (boxes.ndim - 1)
    cos, sin = turn.to(boxes).cos().reshape(shape), turn.to(boxes).sin().reshape(shape)
    middle = region.centre.to(boxes).reshape((len(turn),) + (1,) * (boxes.ndim - 2) + (2,))
    offset = (boxes[..., :2] + boxes[..., 2:]) / 2 - middle
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    x, y = offset[..., :1] * cos + offset[..., 1:] * sin, offset[..., 1:] * cos - offset[..., :1] * sin
    centre = torch.cat([x, y], -1) + middle
    w = ((half[..., :1] * cos) ** 2 + (half[..., 1:] * sin) ** 2).sqrt()
    h = ((half[..., :1] * sin) ** 2 + (half[..., 1:] * cos) ** 2).sqrt()
    size = torch.cat([w, h], -1)
    return torch.cat([centre - size, centre + size], -1)


def target_region(boxes: Tensor, context: float = 0.5, zoom: float = 1.0) -> Region:
    """The square around each target with its share of context (SiamFC, section 2.4).

    p = context * (w + h), side = sqrt((w + p) * (h + p)); the target's area inside a crop is then the same
    whatever its size in the frame.

    Args:
        boxes: (N, 4) xyxy, continuous pixels.
        context: share of w + h that is added to each side; 0.5 is "half the mean side on each edge".
        zoom: enlarges the side; a search region uses search size / template size.
    """
    side = context_side(boxes[:, 2:] - boxes[:, :2], context)
    return Region((boxes[:, :2] + boxes[:, 2:]) / 2, side * zoom)


def context_side(sizes: Tensor, context: float = 0.5) -> Tensor:
    """(..., 2) widths and heights -> (...) side of the square that holds each with its share of context."""
    return (sizes + context * sizes.sum(-1, keepdim=True)).prod(-1).sqrt()


def mean_colour(frame: Frame) -> Tensor:
    """(3,) mean colour of a frame, 0..255: what a crop shows outside of it."""
    if isinstance(frame, np.ndarray):
        return torch.tensor(cv2.mean(frame)[:3], dtype=torch.float32)
    # Runtimes add float32 numbers one by one, and a sum over all pixels of a large frame loses what is added last: rows
    # first. The clamp between keeps OpenVINO from joining the two means.
    return frame.float().mean(2).clamp(0, 255).mean(1).clamp(0, 255)


def cut(
    frame: Frame, region: Region, size: int, fill: Tensor, device: torch.device | str | None = None,
    rounding: Rounding = "none",
) -> Crop:  # fmt: skip
    """Cut square regions out of frames and resample them bilinearly to `size` pixels.

    Args:
        frame: one frame for all N regions, or a tensor (N, 3, H, W) with one frame for each.
        region: N regions; they may reach beyond the frame.
        size: side of the crops in pixels.
        fill: (N, 3) colour 0..255 outside the frame.
        device: of the pixels; by default a tensor frame's own, the CPU for a numpy frame.
        rounding: "none", or by a published tracker's rule; exact for numpy frames, and for tensor frames the same
            whole pixels but for the interpolation's last grey level.
    """
    if isinstance(frame, np.ndarray):
        pixels = _cut_numpy(frame, region, size, fill, rounding)
        return Crop(pixels if device is None else pixels.to(device, non_blocking=True), region)
    if torch.compiler.is_exporting():
        return Crop(_cut_in_graph(frame, region, size, fill, rounding), region)
    shown = region
    if rounding != "none":
        corner, side = _whole_square(region, rounding)
        shown = Region(corner + side[:, None] / 2, side.float())
    return Crop(_cut_tensor(frame, shown, size, fill).to(device or frame.device), region)


def affine(region: Region, size: int) -> npt.NDArray[np.float64]:
    """(N, 2, 3) maps from pixels of crops of `size` to pixels of the frame, for OpenCV.

    Pixels count from the middle of the first one; a negative stretch mirrors.
    """
    extent = region.extent().double().cpu().numpy()
    turn = np.zeros(len(extent)) if region.turn is None else region.turn.double().cpu().numpy()
    cos, sin = np.cos(turn), np.sin(turn)
    sx, sy = (extent / size).T
    out = np.empty((len(extent), 2, 3))
    out[:, 0, 0], out[:, 0, 1], out[:, 1, 0], out[:, 1, 1] = cos * sx, -sin * sy, sin * sx, cos * sy
    # Pixel u of the crop has its centre at u + 0.5; the same holds for the frame, hence the two halves.
    out[..., 2] = region.centre.double().cpu().numpy() + out[..., :2].sum(2) * (0.5 - size / 2) - 0.5
    return out


_LARGEST_SQUARE = 8192
"""Side in pixels of the largest square that is laid out whole, padding and all, as published code does; of larger ones
only the crop's own samples are read, which at such a scale differ by the grey levels at the frame's edge."""


def _cut_numpy(frame: np.ndarray, region: Region, size: int, fill: Tensor, rounding: Rounding) -> Tensor:
    """(N, 3, size, size) float32 of a frame (H, W, 3).

    A rounded region's `fill` is cut to whole grey levels by PySOT's rule and rounded by siamfc-pytorch's.
    """
    crops = np.empty((len(region.side), size, size, 3), np.uint8)
    if rounding == "none":
        for crop, matrix, colour in zip(crops, affine(region, size), fill.double().cpu().tolist(), strict=True):
            cv2.warpAffine(
                frame, matrix, (size, size), dst=crop, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT, borderValue=colour,
            )  # fmt: skip
    else:
        corners, sides = _whole_square(region, rounding)
        colours = (fill.floor() if rounding == "pysot" else fill.round()).cpu().numpy().astype(np.uint8)
        height, width = frame.shape[:2]
        shown = Region(corners + sides[:, None] / 2, sides.float())
        for i, ((left, top), side) in enumerate(zip(corners.tolist(), sides.tolist(), strict=True)):
            if side > _LARGEST_SQUARE:
                crops[i] = cv2.warpAffine(
                    frame, affine(shown, size)[i], (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                    borderMode=cv2.BORDER_CONSTANT, borderValue=colours[i].tolist(),
                )  # fmt: skip
                continue
            part = np.empty((side, side, 3), np.uint8)
            part[:] = colours[i]
            x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
            if x1 > x0 and y1 > y0:
                part[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
            crops[i] = cv2.resize(part, (size, size))
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float()


def _cut_tensor(frame: Tensor, region: Region, size: int, fill: Tensor) -> Tensor:
    device, count = frame.device, len(region.side)
    height, width = frame.shape[-2:]
    frames = frame if frame.ndim == 4 else frame[None].expand(count, -1, -1, -1)
    # Small copies to a GPU that wait for nothing.
    bounds = torch.tensor([width, height], dtype=torch.float32).to(device, non_blocking=True)
    extent = region.extent().to(device, non_blocking=True).float()
    places = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size - 0.5
    x = (extent[:, :1] * places)[:, None, :].expand(-1, size, -1)
    y = (extent[:, 1:] * places)[:, :, None].expand(-1, -1, size)
    if region.turn is not None:
        cos, sin = (f(region.turn).to(device, non_blocking=True).float()[:, None, None] for f in (torch.cos, torch.sin))
        x, y = x * cos - y * sin, x * sin + y * cos
    # grid_sample with align_corners=False puts the frame's edges at -1 and 1, in continuous pixels 0 and W.
    centre = region.centre.to(device, non_blocking=True).float()[:, None, None]
    grid = (torch.stack([x, y], dim=-1) + centre) / bounds * 2 - 1
    # Zero padding outside of (frame - fill) is the fill colour outside of the frame.
    colour = fill.to(device, non_blocking=True).float()[:, :, None, None]
    return F.grid_sample(frames.float() - colour, grid, mode="bilinear", align_corners=False) + colour


def _whole_square(region: Region, rounding: Rounding) -> tuple[Tensor, Tensor]:
    """Left and top (N, 2) and side (N,) in whole pixels, int64.

    PySOT floors the corner, siamfc-pytorch rounds it half to even; both round the side.
    """
    side = region.side.double().round()
    # The references count from the middle of the first pixel, hence the half.
    low = region.centre.double() - 0.5 - side[:, None] / 2
    edge = low.floor() if rounding == "pysot" else (low + 0.5).round()
    return edge.long(), side.long()


_PART = 64
"""Parts of a frame have sides of multiples of this many pixels where the frame has them: runtimes plan for each size
that they have not seen yet, and a target's size changes in every frame."""


def sampling(limits: Tensor, low: Tensor, side: Tensor, size: int, whole: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What `resample` needs to cut one square out of a frame: samples at the middles of `size` equal parts of its side.

    Args:
        limits: (2,) int64 height and width of the frame.
        low: (2,) left and top of the square in continuous pixels.
        side: () its side.
        size: side of the crop in pixels.
        whole: the square is cut out in whole pixels and then resized, so that its edges are repeated.

    Returns:
        (4,) top, left, bottom and right of the part of the frame that is read, which is never empty, `places` and
        `shares` of `resample`.
    """
    limit, line = limits.float()[:, None], torch.arange(size, dtype=torch.float32)
    if whole:
        start = low.flip(0)[:, None] - 0.5
        samples = start + (line + 0.5) / size * side
        samples = torch.minimum(torch.maximum(samples, start + 0.5), start + side - 0.5)
    else:
        # As OpenCV rounds: the map is made in double precision, a row is rounded twice and a column once.
        step = side.double() / size
        begin, step = (low.double() + step / 2 - 0.5).float(), step.float()
        across = (line.double() * step.double() + begin[0].double()).float()
        samples = torch.stack([line * step + begin[1], across])
    before = samples.floor()
    share = samples - before
    after = before + (share > 0) if whole else before + 1
    first = torch.minimum(before[:, :1].clamp(min=0), limit - 1)
    last = torch.maximum(torch.minimum(after[:, -1:] + 1, limit), first + 1)
    length = torch.minimum(((last - first) / _PART).ceil() * _PART, limit)
    first = torch.minimum(first, limit - length)
    at = torch.stack([before, after])
    inside = (at >= 0) & (at < limit)
    places = torch.where(inside, at - (first - 1), torch.zeros_like(at)).long()
    return torch.cat([first, first + length]).flatten().long(), places, share


def squares(region: Region, fill: Tensor, rounding: Rounding) -> tuple[Tensor, Tensor, Tensor]:
    """Regions as `sampling` and `resample` take them: left and top (N, 2), side (N,), and colour (N, 3) uint8."""
    if rounding == "none":
        side = region.side.double()
        return region.centre.double() - side[:, None] / 2, side, fill.round().to(torch.uint8)
    low, side = _whole_square(region, rounding)
    colour = fill.floor() if rounding == "pysot" else fill.round()
    return low.float(), side.float(), colour.to(torch.uint8)


def _cut_in_graph(frame: Tensor, region: Region, size: int, fill: Tensor, rounding: Rounding) -> Tensor:
    """(N, 3, size, size) float32 of a frame (3, H, W), as one node of an ONNX graph.

    The exporter writes `squares`, `sampling` and `resample` of each region in its place: there, the part of the frame
    has as many pixels as the region needs, which a tensor of N regions cannot say.
    """
    count = region.side.shape[0]
    attributes: dict[str, Any] = {"size": size, "rounding": rounding, "count": count if isinstance(count, int) else 0}
    crops: Tensor = torch.onnx.ops.symbolic(
        "siamtrack::Cut", (frame, region.centre, region.side, fill), attributes, dtype=torch.float32,
        shape=(count, 3, size, size), version=1,
    )  # fmt: skip
    return crops


def resample(part: Tensor, places: Tensor, shares: Tensor, colour: Tensor) -> Tensor:
    """One crop of a part of a frame, rounded to whole grey levels, as OpenCV makes it.

    Args:
        part: (h, w, 3) uint8.
        places: (2, 2, S) int64: the pixels before and after each sample, of these the row and the column in the part;
            from 1, 0 for the colour.
        shares: (2, S) of the row and of the column after it.
        colour: (3,) uint8 outside the frame.

    Returns:
        (3, S, S) float32.
    """
    size = places.shape[-1]
    # A row and a column of the colour before the first ones; all that moves whole pixels is done in uint8.
    part = torch.cat([colour.expand(part.shape[0], 1, 3), part], 1)
    part = torch.cat([colour.expand(1, part.shape[1], 3), part], 0)
    upper, lower = (part.index_select(0, places[i, 0]).flatten(1).float() for i in (0, 1))
    rows = upper + (lower - upper) * shares[0][:, None]
    # Columns first, so that whole rows of memory are picked again.
    columns = rows.T.reshape(-1, 3, size)
    left, right = (columns.index_select(0, places[i, 1]).flatten(1) for i in (0, 1))
    crop = left + (right - left) * shares[1][:, None]
    return crop.round().T.reshape(3, size, -1)
