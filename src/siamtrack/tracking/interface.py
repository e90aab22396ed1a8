"""What everything that runs a tracker expects of it; it needs no torch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["TrackerLike"]


class TrackerLike(Protocol):
    """A tracker: `siamtrack.Tracker` is one, and so is any object with these two methods."""

    def init(self, frame: npt.NDArray[np.uint8], boxes: Any, /) -> Any:
        """Begin with a frame, RGB uint8 (H, W, 3), and a box x, y, w, h in continuous pixels, or (N, 4) of them."""

    def update(self, frame: npt.NDArray[np.uint8], /) -> Any:
        """Return what was found in the next frame.

        For one box that is what `evaluation.tracker_session.read_prediction` understands; for N boxes a list of N
        results, as `siamtrack.Result`.
        """
