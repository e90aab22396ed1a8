"""Tracking through a source: the loop between frames that are read and boxes that are used."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from siamtrack.geometry.boxes import Box
from siamtrack.tracking.interface import MultiTrackerLike
from siamtrack.tracking.tracker import Result

__all__ = ["Step", "follow"]


@dataclass(frozen=True)
class Step:
    """One frame and what was found in it.

    Attributes:
        number: of the frame, from 0 at the source's first one.
        frame: RGB uint8 (H, W, 3).
        results: one for each target; given boxes have score and presence 1.
        seconds: what the tracker took.
    """

    number: int
    frame: np.ndarray
    results: Sequence[Result]
    seconds: float


def follow(
    tracker: MultiTrackerLike, frames: Iterable[np.ndarray], boxes: Sequence[Sequence[float]], start: int = 0
) -> Iterator[Step]:
    """Track boxes through frames: the first step has the given boxes, the others what the tracker finds.

    Args:
        tracker: begun anew with the first frame.
        frames: RGB uint8 (H, W, 3).
        boxes: (N, 4) x, y, w, h in the first frame.
        start: the number of the first frame.
    """
    for number, frame in enumerate(frames, start):
        began = time.perf_counter()
        if number == start:
            tracker.init(frame, np.asarray(boxes, dtype=np.float64))
            results: Sequence[Result] = [Result(Box(*map(float, box)), 1.0, 1.0, "tracking") for box in boxes]
        else:
            results = tracker.update(frame)
        yield Step(number, frame, results, time.perf_counter() - began)
