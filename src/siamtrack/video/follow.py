"""Tracking through a source: the loop between frames that are read and boxes that are used."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["Step", "TrackerLike", "follow"]


class TrackerLike(Protocol):
    """What `follow` needs of a tracker: `siamtrack.Tracker` has it, and so may any other."""

    def init(self, frame: np.ndarray, boxes: Any) -> None:
        """Begin with the boxes (N, 4) xywh of a frame, RGB uint8 (H, W, 3)."""

    def update(self, frame: np.ndarray) -> Any:
        """Return N results with `box` (x, y, w, h), `score` in [0, 1] and `status`."""


@dataclass(frozen=True)
class Step:
    """One frame and what was found in it.

    Attributes:
        number: of the frame, from 0 at the source's first one.
        frame: RGB uint8 (H, W, 3).
        boxes: N of x, y, w, h in continuous pixels.
        scores: N in [0, 1]; 1 for given boxes.
        sure: N, whether the tracker takes the target for found.
        seconds: what the tracker took.
    """

    number: int
    frame: np.ndarray
    boxes: Sequence[Sequence[float]]
    scores: Sequence[float]
    sure: Sequence[bool]
    seconds: float


def follow(
    tracker: TrackerLike, frames: Iterable[np.ndarray], boxes: Sequence[Sequence[float]], start: int = 0
) -> Iterator[Step]:
    """Track boxes through frames: the first step has the given boxes, the others what the tracker finds.

    Args:
        tracker: begun anew with the first frame.
        frames: RGB uint8 (H, W, 3).
        boxes: (N, 4) x, y, w, h in the first frame.
        start: the number of the first frame.
    """
    count = len(boxes)
    for number, frame in enumerate(frames, start):
        began = time.perf_counter()
        if number == start:
            tracker.init(frame, np.asarray(boxes, dtype=np.float64))
            seconds = time.perf_counter() - began
            yield Step(number, frame, boxes, [1.0] * count, [True] * count, seconds)
            continue
        results = tracker.update(frame)
        seconds = time.perf_counter() - began
        yield Step(
            number,
            frame,
            [tuple(float(value) for value in result.box) for result in results],
            [float(result.score) for result in results],
            [str(result.status) == "tracking" for result in results],
            seconds,
        )
