"""What everything that runs a tracker expects of it; this module needs no torch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["TrackerLike"]


class TrackerLike(Protocol):
    """A tracker of one target, as `siamtrack.Tracker`; frames are RGB (H, W, 3)."""

    def init(self, frame: npt.NDArray[np.uint8], box: Any, /) -> Any:
        """Begin with a frame and the target's box x, y, w, h in it, in continuous pixels."""

    def update(self, frame: npt.NDArray[np.uint8], /) -> Any:
        """Return the target's box x, y, w, h in the next frame, or an object that has it as `box`."""
