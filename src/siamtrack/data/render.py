"""Making the pixels of one side of a batch, from what chance has decided about them.

There are two ways, held to each other by a test. On a GPU all crops are cut, pasted into and recoloured at once. On a
CPU each crop is made from beginning to end while it lies in the processor's cache, and the threads share the crops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from siamtrack.data.paste import PasteSpec, PasteWindows, paste, paste_one
from siamtrack.data.photometric import PhotometricParams, recolour, recolour_one
from siamtrack.data.pixels import edge_colour, region_warps, warp
from siamtrack.data.resident import ResidentSet
from siamtrack.geometry import crop

__all__ = ["View", "render"]


@dataclass(frozen=True)
class View:
    """What B crops of a batch show; all of it on the CPU.

    Attributes:
        index: (B,) of which pictures.
        region: B regions of these; a negative stretch mirrors.
        size: side of the crops in pixels.
        looks: what becomes of their pixels.
        pieces: what is pasted into them.
    """

    index: Tensor
    region: crop.Region
    size: int
    looks: PhotometricParams
    pieces: PasteSpec | None = None


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
    region = crop.Region(*(None if a is None else a.to(index.device, non_blocking=True) for a in parts))  # type: ignore[arg-type]
    pixels = crop.cut(crops.images[index], region, view.size, edge_colour(crops.images, index)).pixels
    if view.pieces is not None:
        paste(pixels, view.pieces, crops)
    recolour(pixels, view.looks)
    return pixels


def _each(crops: ResidentSet, views: Sequence[View]) -> list[Tensor]:
    frames = crops.images.permute(0, 2, 3, 1).numpy()
    made = [np.empty((len(view.index), view.size, view.size, 3), np.float32) for view in views]
    _share([_maker(frames, view, pixels) for view, pixels in zip(views, made, strict=True)], len(made[0]))
    return [torch.from_numpy(pixels).permute(0, 3, 1, 2) for pixels in made]


def _maker(frames: npt.NDArray[np.uint8], view: View, made: npt.NDArray[np.float32]) -> Callable[[int], None]:
    """What makes one crop of a view, by its number, into `made` (B, size, size, 3)."""
    shape = frames.shape[2], frames.shape[1]
    index, warps = view.index.tolist(), region_warps(view.region, view.size, shape)
    patches = PasteWindows.of(view.pieces, view.size, shape) if view.pieces is not None else None

    def make(row: int) -> None:
        """Make crop number `row`."""
        cut = warp(np.ascontiguousarray(frames[index[row]]), warps, row, view.size, view.size)
        if patches is not None and (number := patches.number.get(row)) is not None:
            paste_one(cut, patches, number, np.ascontiguousarray(frames[patches.sources[number]]))
        recolour_one(cut, view.looks, row, made[row])

    return make


def _share(makers: Sequence[Callable[[int], None]], count: int) -> None:
    """Call each maker with 0 .. count - 1, in as many threads as PyTorch uses."""
    jobs = iter([partial(make, row) for make in makers for row in range(count)])

    def work() -> None:
        for job in jobs:  # whichever thread is free takes the next one
            job()

    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        work()
        return
    with ThreadPoolExecutor(threads, "crops") as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
