"""Drawing results into frames: box, number, score and trail."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from siamtrack.tracking.tracker import Status

__all__ = ["PALETTE", "Mark", "Trails", "colour_of", "draw"]

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
_SHIFT = 4  # OpenCV draws in 1/16 pixels
_FONT = cv2.FONT_HERSHEY_SIMPLEX


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


def draw(frame: np.ndarray, marks: Sequence[Mark]) -> np.ndarray:
    """Return a copy of a frame (RGB uint8, (H, W, 3)) with the marks drawn into it.

    Every line lies on a wider dark one, so that it shows on any ground; sizes follow the frame's.
    """
    image = np.ascontiguousarray(frame).copy()
    unit = max(1, round(min(image.shape[:2]) / 300))
    for layer in (_draw_trail, _draw_box, _draw_label):
        for mark in marks:
            layer(image, mark, unit)
    return image


def _draw_trail(image: np.ndarray, mark: Mark, unit: int) -> None:
    """Draw past centres as a line that fades towards the oldest one."""
    points = _fixed(np.asarray(mark.trail, dtype=np.float64).reshape(-1, 2))
    if len(points) < 2:
        return
    colour = np.array(colour_of(mark.number), dtype=np.float64)
    cv2.polylines(image, [points], False, _DARK, unit + 3, cv2.LINE_AA, _SHIFT)
    for i in range(1, len(points)):
        strength = 0.45 + 0.55 * i / (len(points) - 1)
        shade = tuple(float(value) for value in colour * strength)
        cv2.polylines(image, [points[i - 1 : i + 1]], False, shade, unit + 1, cv2.LINE_AA, _SHIFT)


def _draw_box(image: np.ndarray, mark: Mark, unit: int) -> None:
    x, y, w, h = mark.box
    corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], dtype=np.float64)
    lines = [_fixed(np.vstack([corners, corners[:1]]))] if mark.status == "tracking" else _dashes(corners, 9.0 * unit)
    cv2.polylines(image, lines, False, _DARK, 2 * unit + 2, cv2.LINE_AA, _SHIFT)
    cv2.polylines(image, lines, False, colour_of(mark.number), 2 * unit, cv2.LINE_AA, _SHIFT)


def _draw_label(image: np.ndarray, mark: Mark, unit: int) -> None:
    """Write number, score and LOST on a plate above the box, below it where there is no room, inside the frame."""
    words = [f"#{mark.number}"] if mark.number is not None else []
    words += [f"{mark.score:.2f}"] if mark.score is not None else []
    words += ["LOST"] if mark.status == "lost" else []
    if not words:
        return
    text, scale, pad = " ".join(words), 0.45 * unit, 3 * unit
    (width, height), base = cv2.getTextSize(text, _FONT, scale, unit)
    x, y, _, h = mark.box
    rows, columns = image.shape[:2]
    plate = height + base + pad
    left = int(np.clip(x - unit, 0, max(0, columns - width - 2 * pad)))
    top = y - plate - unit if y - plate - unit >= 0 else y + h + unit
    top = int(np.clip(top, 0, max(0, rows - plate)))
    colour = colour_of(mark.number)
    cv2.rectangle(image, (left, top), (left + width + 2 * pad, top + plate), colour, cv2.FILLED)
    ink = _DARK if np.dot(colour, (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)
    cv2.putText(image, text, (left + pad, top + plate - base), _FONT, scale, ink, unit, cv2.LINE_AA)


def _dashes(corners: np.ndarray, length: float) -> list[np.ndarray]:
    """Cut the outline of (4, 2) corners into strokes of about `length` pixels with gaps as long."""
    strokes = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        # An odd number of equal parts, of which every second is drawn, puts a stroke at both corners.
        parts = min(2 * int(np.linalg.norm(b - a) / (2 * length)) + 1, 201)
        stops = a + (b - a) * np.linspace(0, 1, parts + 1)[:, None]
        strokes += [_fixed(stops[i : i + 2]) for i in range(0, parts, 2)]
    return strokes


def _fixed(points: np.ndarray) -> np.ndarray:
    """Turn continuous pixels (K, 2) into OpenCV's fixed point numbers, in which whole pixels are centres."""
    limit = 2.0**31 / 2 ** (_SHIFT + 2)
    fixed: np.ndarray = np.rint((np.clip(points, -limit, limit) - 0.5) * 2**_SHIFT).astype(np.int32)
    return fixed
