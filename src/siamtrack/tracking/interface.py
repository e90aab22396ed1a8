"""What everything that runs a tracker expects of it, for one target or several; it needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from siamtrack.tracking.tracker import Result

__all__ = ["MultiTrackerLike", "TrackerLike"]


class TrackerLike(Protocol):
    """A tracker of one target, as `siamtrack.Tracker`; frames are RGB (H, W, 3)."""

    def init(self, frame: npt.NDArray[np.uint8], box: Any, /) -> Any:
        """Begin with a frame and the target's box x, y, w, h in it, in continuous pixels."""

    def update(self, frame: npt.NDArray[np.uint8], /) -> Any:
        """Return the target's box x, y, w, h in the next frame, or an object that has it as `box`."""


class MultiTrackerLike(Protocol):
    """A tracker of several targets at once, as `siamtrack.MultiTracker`; frames are RGB (H, W, 3)."""

    def init(self, frame: npt.NDArray[np.uint8], boxes: Any, /) -> Any:
        """Begin with a frame and N boxes (N, 4) x, y, w, h in it, in continuous pixels."""

    def update(self, frame: npt.NDArray[np.uint8], /) -> Sequence[Result]:
        """Return N results of the next frame, in the order of the boxes."""
