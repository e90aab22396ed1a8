"""The selection of SiamCAR's published code, which differs from the paper's: see `choose_upsampled`."""

from __future__ import annotations

from torch import Tensor

from siamtrack.config import Track
from siamtrack.models.siamese import Candidates
from siamtrack.tracking.rank import Choice, choose

__all__ = ["choose_upsampled"]


def choose_upsampled(found: Candidates, previous: Tensor, size: int, track: Track) -> Choice:
    """To be written with its parity test."""
    return choose(found, previous, track)
