"""What a tracker answers: any object with `init` and `update` can be evaluated, whatever it returns.

`Session` is the one place in which an evaluation calls a tracker: it times, checks and counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamtrack.errors import SiamtrackError
from siamtrack.formats.sequence import FrameList
from siamtrack.geometry.inputs import Image
from siamtrack.geometry.regions import FloatArray
from siamtrack.tracking.interface import TrackerLike


class BadPredictionError(SiamtrackError):
    """A tracker that answered with something other than a finite box."""


@dataclass(frozen=True)
class Prediction:
    """One frame's answer: 4 (x, y, w, h) or 8 numbers, all nan if nothing was found; its confidence or nan."""

    region: tuple[float, ...]
    confidence: float = math.nan


_NOTHING = Prediction((math.nan,) * 4)


def read_prediction(value: Any) -> Prediction:
    """Understand what a tracker returned.

    That is None (nothing found), 4 or 8 numbers, or an object with `box` and, if it has them, `presence` or
    `score` (as `siamtrack.Result`). Presence is the confidence where both are there.

    Raises:
        BadPredictionError: anything else, or a number that is not finite.
    """
    if value is None:
        return _NOTHING
    box = getattr(value, "box", value)
    if box is None:
        return _NOTHING
    confidence = getattr(value, "presence", getattr(value, "score", math.nan))
    try:
        region = tuple(float(number) for number in np.asarray(box, dtype=np.float64).ravel())
        confidence = float(confidence)
    except (TypeError, ValueError):
        raise BadPredictionError(f"expected a box of four numbers, got {_shown(value)}") from None
    if len(region) not in (4, 8):
        raise BadPredictionError(f"expected a box of four numbers, got {len(region)}: {_shown(value)}")
    if not all(map(math.isfinite, region)):
        raise BadPredictionError(
            f"expected a box of finite numbers, got {_shown(value)}; None says that nothing was found"
        )
    return Prediction(region, confidence)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


class Session:
    """A tracker at work on one run: what it was asked, what it answered and how long it took.

    `beat` is called after every frame, so that a watcher can tell work from a hang.

    Attributes:
        reading: seconds spent on reading frames, but for the first one, in which the tracker is started.
        seconds: what the last call took, without reading.
    """

    def __init__(self, tracker: TrackerLike, beat: Callable[[], None] | None = None) -> None:
        self.tracker = tracker
        self.reading = 0.0
        self.seconds = 0.0
        self._beat = beat or (lambda: None)
        self._network = self._network_total()
        self._begun = False
        self._updates = 0

    def _network_total(self) -> float:
        """Return the seconds that the tracker says its network took so far; nan if it does not say."""
        return float(getattr(self.tracker, "network_seconds", math.nan))

    @property
    def network(self) -> float:
        """Seconds in the network since the tracker was first started; nan if unknown."""
        return self._network_total() - self._network

    def _read(self, frames: FrameList, index: int) -> Image:
        began = time.perf_counter()
        frame = frames[index]
        self.reading += time.perf_counter() - began
        return frame

    def init(self, frames: FrameList, index: int, box: FloatArray) -> None:
        """Start the tracker on a box x, y, w, h in a frame."""
        frame, began = self._read(frames, index), time.perf_counter()
        self._updates = 0
        self.tracker.init(frame, box)
        self.seconds = time.perf_counter() - began
        if not self._begun:
            self._begun, self.reading, self._network = True, 0.0, self._network_total()
        self._beat()

    def update(self, frames: FrameList, index: int) -> Prediction:
        """Return the tracker's answer for a frame; raises `BadPredictionError` where it is not a box."""
        frame, began = self._read(frames, index), time.perf_counter()
        value = self.tracker.update(frame)
        self.seconds = time.perf_counter() - began
        self._updates += 1
        self._beat()
        try:
            return read_prediction(value)
        except BadPredictionError as error:
            raise BadPredictionError(f"update {self._updates}: {error}") from None
