"""A tracker with the interface of OpenCV's own, as `cv2.TrackerMIL`; OpenCV itself is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from siamtrack.presets import DEFAULT_MODEL
from siamtrack.tracking.tracker import Tracker
from siamtrack.zoo import load


class TrackerSiam:
    """Follows one target through frames as OpenCV has them: BGR, BGRA or grey, uint8.

    Made by `TrackerSiam.create()`, or of a tracker that was loaded with `colour="bgr"`.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._score = 0.0

    @classmethod
    def create(cls, model: str | Path = DEFAULT_MODEL, device: str = "cpu", threads: int | None = None) -> TrackerSiam:
        """Load a model; arguments and errors are those of `siamtrack.load`."""
        return cls(load(model, device, threads=threads, colour="bgr"))

    def init(self, image: npt.NDArray[np.uint8], boundingBox: Sequence[float]) -> None:
        """Begin with a box x, y, w, h, whole pixels or not; raises `InputError` if box or frame cannot be used."""
        self._tracker.init(image, boundingBox)
        self._score = 1.0

    def update(self, image: npt.NDArray[np.uint8]) -> tuple[bool, tuple[int, int, int, int]]:
        """Find the target in the next frame: whether it was found, and its box x, y, w, h in whole pixels.

        Raises:
            InputError: `init` was not called, or the frame cannot be used.
        """
        result = self._tracker.update(image)
        self._score = result.presence
        x, y, w, h = (round(value) for value in result.box)
        return result.status != "lost", (x, y, w, h)

    def getTrackingScore(self) -> float:  # noqa: N802
        """Return how likely the last box is on the target, in [0, 1]: `Result.presence`."""
        return self._score
