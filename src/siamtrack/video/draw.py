"""Drawing results into frames: box, number, score and trail. Places are continuous pixels, edges are smooth."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from siamtrack.arguments import checked
from siamtrack.errors import InputError

if TYPE_CHECKING:
    from siamtrack.tracking.tracker import Status

PALETTE: tuple[tuple[int, int, int], ...] = (
    (240, 228, 66),
    (86, 180, 233),
    (230, 159, 0),
    (204, 121, 167),
    (0, 158, 115),
    (213, 94, 0),
    (0, 114, 178),
)
"""RGB colours told apart by people with any colour vision (Okabe, Ito: Color Universal Design, 2008)."""

_DARK = (16, 16, 16)


@dataclass(frozen=True)
class Mark:
    """What is drawn for one target in one frame.

    `box` is x, y, w, h in continuous pixels; `score` is in [0, 1], None to leave it out; `number` counts
    from 1, None to leave it out; `trail` holds past centres (x, y), the oldest first. A box is drawn dashed
    unless its `status` is "tracking"; one that is "lost" says so.
    """

    box: Sequence[float]
    score: float | None = None
    number: int | None = None
    trail: Sequence[tuple[float, float]] = ()
    status: Status = "tracking"


class Trails:
    """The last centres of each target, at most `length` of them."""

    def __init__(self, targets: int, length: int = 40) -> None:
        self._centres: list[deque[tuple[float, float]]] = [deque(maxlen=length) for _ in range(targets)]

    def add(self, boxes: Sequence[Sequence[float]]) -> list[list[tuple[float, float]]]:
        """Take the boxes (N, 4) xywh of a frame and return the N trails that end in them."""
        for centres, (x, y, w, h) in zip(self._centres, boxes, strict=True):
            centres.append((x + w / 2, y + h / 2))
        return [list(centres) for centres in self._centres]


def colour_of(number: int | None) -> tuple[int, int, int]:
    """Return the RGB colour of target `number`, counted from 1; None has the first one's."""
    return PALETTE[((number or 1) - 1) % len(PALETTE)]


@checked
def draw(frame: np.ndarray, marks: Sequence[Mark]) -> np.ndarray:
    """Return a copy of a frame (RGB uint8, (H, W, 3)) with the marks drawn into it.

    Every line lies on a wider dark one, so that it shows on any ground; sizes follow the frame's.

    Raises:
        InputError: another kind of frame, or a mark whose box, score or trail are no finite numbers.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise InputError(f"expected a frame of RGB uint8 (H, W, 3); got {frame.shape} {frame.dtype}")
    for mark in marks:
        _check(mark)
    image = np.ascontiguousarray(frame).copy()
    unit = max(1, round(min(image.shape[:2]) / 300))
    for layer in (_draw_trail, _draw_box, _draw_label):
        for mark in marks:
            layer(image, mark, unit)
    return image


def draw_line(
    image: np.ndarray, points: np.ndarray, colour: Sequence[float], width: float, dash: float | None = None
) -> None:
    """Draw a line with round ends through points (K, 2) into an image, RGB uint8 (H, W, 3), in place.

    A pixel is covered by as much as the line reaches over its centre: 1 inside, 0 outside, linear over one pixel.
    With `dash`, each straight part is cut into strokes of about that many pixels with gaps as long, a stroke at both
    ends.
    """
    rows, columns = image.shape[:2]
    reach, paint = width / 2 + 0.5, np.asarray(colour, dtype=np.float32)
    for (ax, ay), (bx, by) in pairwise(np.asarray(points, dtype=np.float64).tolist()):
        left, right = max(0, floor(min(ax, bx) - reach)), min(columns, ceil(max(ax, bx) + reach))
        top, bottom = max(0, floor(min(ay, by) - reach)), min(rows, ceil(max(ay, by) + reach))
        if left >= right or top >= bottom:
            continue
        x, y = np.arange(left, right) + (0.5 - ax), np.arange(top, bottom)[:, None] + (0.5 - ay)
        length = max(float(np.hypot(bx - ax, by - ay)), 1e-9)
        dx, dy = (bx - ax) / length, (by - ay) / length
        along = x * dx + y * dy
        outside = np.maximum(np.maximum(-along, along - length), 0)  # how far before or behind the line
        if dash is not None:
            stroke = length / (2 * int(length / (2 * dash)) + 1)
            place = np.mod(along, 2 * stroke)
            gap = np.minimum(np.maximum(place - stroke, 0), 2 * stroke - place)
            outside = np.where(outside > 0, outside, gap)
        cover = np.clip(reach - np.hypot(x * dy - y * dx, outside), 0, 1).astype(np.float32)[..., None]
        part = image[top:bottom, left:right]
        part[:] = np.rint(part + (paint - part) * cover)


@cache
def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font in about `size` pixels."""
    return ImageFont.load_default(size)


def _check(mark: Mark) -> None:
    try:
        x, y, w, h = map(float, mark.box)
        trail = np.asarray(mark.trail, dtype=np.float64).reshape(-1, 2)
        usable = bool(np.isfinite([x, y, w, h, float(mark.score or 0), int(mark.number or 0)]).all())
        usable = usable and bool(np.isfinite(trail).all())
    except (TypeError, ValueError, OverflowError):
        usable = False
    if not usable:
        raise InputError(
            f"expected a Mark of a box x,y,w,h, a score and places that are numbers; got {str(mark)[:200]}"
        )


def _draw_trail(image: np.ndarray, mark: Mark, unit: int) -> None:
    """Draw past centres as a line that fades towards the oldest one."""
    points = np.asarray(mark.trail, dtype=np.float64).reshape(-1, 2)
    margin = unit + 4
    limits = np.array(image.shape[1::-1])
    low = np.clip(np.floor(points.min(0, initial=np.inf)) - margin, 0, limits).astype(int)
    high = np.clip(np.ceil(points.max(0, initial=-np.inf)) + margin, 0, limits).astype(int)
    if len(points) < 2 or (high <= low).any():
        return
    # Pillow draws hard edges: draw the part of the frame some times larger and make it small again.
    part = image[low[1] : high[1], low[0] : high[0]]
    times = 4 if part.size < 1_000_000 else 2
    large = Image.fromarray(part).resize((part.shape[1] * times, part.shape[0] * times), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(large)
    places = [(x, y) for x, y in ((np.clip(points - low, -1e5, 1e5)) * times - 0.5).tolist()]
    pen.line(places, _DARK, times * (unit + 3), joint="curve")
    colour = np.array(colour_of(mark.number), dtype=np.float64)
    for i in range(1, len(places)):
        red, green, blue = (colour * (0.45 + 0.55 * i / (len(places) - 1))).astype(int).tolist()
        pen.line(places[i - 1 : i + 1], (red, green, blue), times * (unit + 1))
    part[:] = np.asarray(large.reduce(times))


def _draw_box(image: np.ndarray, mark: Mark, unit: int) -> None:
    x, y, w, h = mark.box
    corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)], dtype=np.float64)
    dash = None if mark.status == "tracking" else 9.0 * unit
    draw_line(image, corners, _DARK, 2 * unit + 2, dash)
    draw_line(image, corners, colour_of(mark.number), 2 * unit, dash)


def _draw_label(image: np.ndarray, mark: Mark, unit: int) -> None:
    """Write number, score and LOST on a plate above the box, below it where there is no room, inside the frame."""
    words = [f"#{mark.number}"] if mark.number is not None else []
    words += [f"{mark.score:.2f}"] if mark.score is not None else []
    words += ["LOST"] if mark.status == "lost" else []
    if not words:
        return
    text, letters, pad = " ".join(words), font(13 * unit), 3 * unit
    width, height = ceil(letters.getlength(text)) + 2 * pad, 14 * unit + pad
    x, y, _, h = mark.box
    rows, columns = image.shape[:2]
    left = int(np.clip(x - unit, 0, max(0, columns - width)))
    top = y - height - unit if y - height - unit >= 0 else y + h + unit
    top = int(np.clip(top, 0, max(0, rows - height)))
    colour = colour_of(mark.number)
    ink = _DARK if np.dot(colour, (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)
    plate = Image.new("RGB", (width, height), colour)
    ImageDraw.Draw(plate).text((pad, height - pad - unit), text, ink, letters, anchor="ls")
    part = image[top : top + height, left : left + width]
    part[:] = np.asarray(plate)[: part.shape[0], : part.shape[1]]
