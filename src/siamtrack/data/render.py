"""Making the pixels of a batch from a plan: cut, pasted into, recoloured.

There are two ways, which a test compares. On a GPU all crops are cut, pasted into and recoloured at once. On a
CPU each crop is made from beginning to end while it lies in the processor's cache, and the threads share the crops: on
one core that takes a tenth of the time that all at once would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from siamtrack.config import Data
from siamtrack.data.photometric import PhotometricParams, recolour, recolour_one
from siamtrack.data.resident import ResidentSet
from siamtrack.geometry.crop import Region, affine, cut
from siamtrack.geometry.inputs import Image
from siamtrack.geometry.regions import FloatArray

_FLAGS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_LINE = 64  # bytes that a processor fetches at a time


@dataclass(frozen=True)
class Warps:
    """N affine maps from crops to pictures of one size.

    Attributes:
        matrices: (N, 2, 3) crop pixel -> picture pixel, counted from the middle of the first one, as OpenCV does.
        lines: first line of the picture that is seen, and the one behind the last.
        beyond: whether something outside of the picture is seen.
    """

    matrices: FloatArray
    lines: list[tuple[int, int]]
    beyond: list[bool]

    @staticmethod
    def of(matrices: FloatArray, low: FloatArray, high: FloatArray, picture: tuple[int, int]) -> Warps:
        """Maps whose crops reach from `low` (N, 2) to `high` in pictures of `picture` (width, height)."""
        beyond = (low.min(1) < 0) | (high[:, 0] > picture[0]) | (high[:, 1] > picture[1])
        top = np.clip(low[:, 1].astype(np.int64), 0, picture[1])
        bottom = np.clip(high[:, 1].astype(np.int64) + 2, top, picture[1])
        return Warps(matrices, list(zip(top.tolist(), bottom.tolist(), strict=True)), beyond.tolist())


def edge_colour(images: Tensor, index: Tensor) -> Tensor:
    """(B, 3) mean colours of some pictures.

    Shards are padded with their own mean colour; so is what a shifted region sees beyond them.
    """
    return images[:, :, ::16, ::16][index.to(images.device, non_blocking=True)].float().mean((2, 3))


def region_warps(region: Region, size: int, picture: tuple[int, int]) -> Warps:
    """Maps of N regions of pictures (width, height) to crops of `size` pixels; a negative stretch mirrors."""
    matrices, centre = affine(region, size), region.centre.double().numpy()
    reach = np.abs(matrices[..., :2]).sum(2) * (size / 2)
    return Warps.of(matrices, centre - reach, centre + reach, picture)


def warp(picture: Image, warps: Warps, row: int, width: int, height: int) -> Image:
    """Cut crop number `row` of `width` x `height` pixels out of one picture (H, W, 3), contiguous in memory.

    What lies outside of the picture has its mean colour. Bit for bit what `cut()` gives.
    """
    top, bottom = warps.lines[row]
    if top < bottom:
        # One byte of each line of memory in order, ahead of its being needed: a turned region runs across the lines,
        # which took more than twice the time.
        picture[top:bottom].reshape(-1)[::_LINE].max()
    fill = picture[::16, ::16].mean((0, 1)).tolist() if warps.beyond[row] else (0.0, 0.0, 0.0)
    return cv2.warpAffine(  # type: ignore[return-value]
        picture, warps.matrices[row], (width, height), flags=_FLAGS, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )


_TAKEN = 2.9  # width of a shard's crop in template sides, which shows its object at search scale


@dataclass(frozen=True)
class PasteSpec:
    """K objects, and the search crops that they are pasted into; at most one for each.

    Attributes:
        rows: (K,) which search crops.
        sources: (K,) the pictures that they are taken from.
        taken: (K, 4) xyxy of their boxes there.
        places: (K, 4) where they go, xyxy in search pixels.
    """

    rows: Tensor
    sources: Tensor
    taken: Tensor
    places: Tensor


def draw_paste(
    boxes: Tensor, size: int, crops: ResidentSet, other: Tensor, data: Data, rng: torch.Generator
) -> PasteSpec | None:
    """Draw which search crops show another object, beside their target or over a part of it; None if none does.

    `boxes` (B, 4) are xyxy of the targets in search crops of `size` pixels; `other` (B,) is the crop whose object is
    pasted, -1 for none.
    """
    u = torch.rand(len(boxes), 5, generator=rng)
    beside = (u[:, 0] < data.distract) & (other >= 0)
    over = (u[:, 0] >= data.distract) & (u[:, 0] < data.distract + data.occlude) & (other >= 0)
    rows = torch.nonzero(beside | over)[:, 0]
    if not len(rows):
        return None
    taken = crops.boxes[other[rows]]
    places = _places(boxes[rows], taken, u[rows], over[rows], size / crops.images.shape[-1])
    return PasteSpec(rows, other[rows], taken, places)


def paste(search: Tensor, pasted: PasteSpec, crops: ResidentSet) -> None:
    """Paste all pieces into search crops (B, 3, S, S), in place."""
    device, size = search.device, search.shape[-1]
    pasted = PasteSpec(*(getattr(pasted, f.name).to(device, non_blocking=True) for f in fields(pasted)))
    low, per_pixel = pasted.taken[:, :2], _per_pixel(pasted)
    extent = per_pixel * size
    region = Region(low - pasted.places[:, :2] * per_pixel + extent / 2, extent[:, 0], extent / extent[:, :1])
    moved = cut(crops.images[pasted.sources], region, size, torch.zeros(len(low), 3, device=device)).pixels
    points = torch.arange(size, device=device) + 0.5
    left, top, right, bottom = pasted.places.T[..., None]
    mask = ((points > left) & (points < right))[:, None, :] & ((points > top) & (points < bottom))[:, :, None]
    search[pasted.rows] = torch.where(mask[:, None], moved, search[pasted.rows])


@dataclass(frozen=True)
class PasteWindows:
    """The same pieces as windows of search crops, of which `paste_one` changes no other pixel.

    Attributes:
        number: of the piece, by the search crop that it is pasted into.
        sources: (K,) pictures.
        low: (K, 2) first x and y of the windows.
        high: (K, 2) those behind the last.
        warps: from windows to pictures.
    """

    number: dict[int, int]
    sources: list[int]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    warps: Warps

    @staticmethod
    def of(pasted: PasteSpec, size: int, picture: tuple[int, int]) -> PasteWindows:
        """Windows in search crops of `size` pixels, of pieces of pictures (width, height)."""
        places, scale = pasted.places.double().numpy(), _per_pixel(pasted).double().numpy()
        # The pixels whose middles lie in the box.
        low, high = (np.clip(np.ceil(ends - 0.5).astype(np.int64), 0, size) for ends in (places[:, :2], places[:, 2:]))
        start = pasted.taken[:, :2].double().numpy() + (low - places[:, :2]) * scale
        matrices = np.zeros((len(places), 2, 3))
        matrices[:, 0, 0], matrices[:, 1, 1] = scale.T
        matrices[:, :, 2] = start + 0.5 * scale - 0.5
        return PasteWindows(
            {row: number for number, row in enumerate(pasted.rows.tolist())}, pasted.sources.tolist(), low, high,
            Warps.of(matrices, start, start + (high - low) * scale, picture),
        )  # fmt: skip


def paste_one(search: Image, windows: PasteWindows, number: int, source: Image) -> None:
    """Paste a piece of the picture `source` into one search crop (S, S, 3), in place."""
    (x0, y0), (x1, y1) = windows.low[number].tolist(), windows.high[number].tolist()
    if x1 <= x0 or y1 <= y0:
        return
    search[y0:y1, x0:x1] = warp(source, windows.warps, number, x1 - x0, y1 - y0)


def _per_pixel(pasted: PasteSpec) -> Tensor:
    """(K, 2) pixels of the picture for one of the search crop."""
    return (pasted.taken[:, 2:] - pasted.taken[:, :2]) / (pasted.places[:, 2:] - pasted.places[:, :2])


def _places(targets: Tensor, taken: Tensor, u: Tensor, over: Tensor, scale: float) -> Tensor:
    """(K, 4) boxes in search pixels: beside their target, or over at most 0.6 of its width and height."""
    size = targets[:, 2:] - targets[:, :2]
    shown = (taken[:, 2:] - taken[:, :2]) * (scale * _TAKEN / 2) * torch.exp(u[:, 1:2] - 0.5)
    shown = torch.where(over[:, None], torch.minimum(shown, 0.6 * size), shown).clamp(min=4)
    # Beside: further from the target's centre than half of both.
    angle = 2 * math.pi * u[:, 2]
    reach = torch.stack([angle.cos(), angle.sin()], 1) * (1.1 + u[:, 3:4]) * (size + shown) / 2
    centre = torch.where(over[:, None], targets[:, :2] + u[:, 2:4] * size, targets[:, :2] + size / 2 + reach)
    return torch.cat([centre - shown / 2, centre + shown / 2], 1)


@dataclass(frozen=True)
class View:
    """What B crops of a batch show, each of `size` pixels; all of it on the CPU.

    Attributes:
        index: (B,) of which pictures.
        region: B regions of these; a negative stretch mirrors.
        photometric: what becomes of their pixels.
        pasted: what is pasted into them.
    """

    index: Tensor
    region: Region
    size: int
    photometric: PhotometricParams
    pasted: PasteSpec | None = None


def render(crops: ResidentSet, views: Sequence[View]) -> list[Tensor]:
    """The pixels of each view: (B, 3, size, size) float32 RGB 0..255 on the device of the pictures.

    On a CPU they lie with channels last in memory.
    """
    if crops.images.device.type == "cpu":
        return _each(crops, views)
    return [_batched(crops, view) for view in views]


def _batched(crops: ResidentSet, view: View) -> Tensor:
    index = view.index.to(crops.images.device, non_blocking=True)
    parts = (view.region.centre, view.region.side, view.region.stretch, view.region.turn)
    region = Region(*(None if a is None else a.to(index.device, non_blocking=True) for a in parts))  # type: ignore[arg-type]
    pixels = cut(crops.images[index], region, view.size, edge_colour(crops.images, index)).pixels
    if view.pasted is not None:
        paste(pixels, view.pasted, crops)
    recolour(pixels, view.photometric)
    return pixels


def _each(crops: ResidentSet, views: Sequence[View]) -> list[Tensor]:
    """Make the crops one by one, in as many threads as PyTorch uses."""
    frames = crops.images.permute(0, 2, 3, 1).numpy()
    made = [np.empty((len(view.index), view.size, view.size, 3), np.float32) for view in views]
    makers = [_maker(frames, view, pixels) for view, pixels in zip(views, made, strict=True)]
    jobs = iter([partial(make, row) for make in makers for row in range(len(made[0]))])

    def work() -> None:
        for job in jobs:  # whichever thread is free takes the next one
            job()

    threads = min(torch.get_num_threads(), len(made[0]))
    if threads < 2:
        work()
    else:
        with ThreadPoolExecutor(threads, "crops") as pool:
            for done in [pool.submit(work) for _ in range(threads)]:
                done.result()
    return [torch.from_numpy(pixels).permute(0, 3, 1, 2) for pixels in made]


def _maker(frames: npt.NDArray[np.uint8], view: View, made: npt.NDArray[np.float32]) -> Callable[[int], None]:
    """Return a function that writes one crop of a view, by its number, into `made` (B, size, size, 3)."""
    shape = frames.shape[2], frames.shape[1]
    index, warps = view.index.tolist(), region_warps(view.region, view.size, shape)
    windows = PasteWindows.of(view.pasted, view.size, shape) if view.pasted is not None else None

    def make(row: int) -> None:
        pixels = warp(np.ascontiguousarray(frames[index[row]]), warps, row, view.size, view.size)
        if windows is not None and (number := windows.number.get(row)) is not None:
            paste_one(pixels, windows, number, np.ascontiguousarray(frames[windows.sources[number]]))
        recolour_one(pixels, view.photometric, row, made[row])

    return make
