"""Whether the box is on the target: from the score to a presence and a status."""

from __future__ import annotations

from typing import Literal

from siamtrack.config import Track

__all__ = ["Status", "presence", "status"]

Status = Literal["tracking", "uncertain", "lost"]


def presence(score: float, track: Track) -> float:
    """Estimate in [0, 1] that the box is on the target: the score on the scale of the preset's two thresholds.

    Piecewise linear: 0 at score 0, 1/3 at `status_lost_below`, 2/3 at `sure_over`, 1 at score 1.
    """
    low, high = track.status_lost_below, track.sure_over
    if score < low:
        return score / low / 3
    if score < high:
        return (1 + (score - low) / (high - low)) / 3
    return (2 + (score - high) / (1 - high)) / 3


def status(share: float) -> Status:
    """The word for a presence."""
    if share < 1 / 3:
        return "lost"
    return "uncertain" if share < 2 / 3 else "tracking"
