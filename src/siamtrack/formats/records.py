"""The two values that every scorer works on: the truth of a sequence and one run of a tracker on it.

Regions of both are arrays as `geometry.regions` describes them. A row of nan is a frame without a region: the target is
absent (truth) or nothing was reported (run).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from siamtrack.errors import DataError
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray

__all__ = ["Predictions", "Truth"]


def _checked(regions: npt.ArrayLike, name: str) -> FloatArray:
    array = np.asarray(regions, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] not in (4, 8):
        raise DataError(f"{name}: regions must be an (N, 4) or (N, 8) array, got shape {array.shape}")
    return array


@dataclass(frozen=True)
class Truth:
    """The annotation of one sequence.

    `size` is the image's (width, height) in pixels. `visible` is (N,) and False where the target is absent.
    `tags` maps an attribute to an (N,) mask of the frames that have it. `anchors` is (N,): 1 where a
    multi-start run goes forward from the frame, -1 where it goes backward, 0 elsewhere.
    """

    name: str
    regions: FloatArray
    size: tuple[int, int] | None = None
    visible: BoolArray | None = None
    tags: Mapping[str, BoolArray] = field(default_factory=dict)
    anchors: IntArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", _checked(self.regions, f"truth of {self.name}"))
        per_frame = {"visible": self.visible, "anchors": self.anchors, **self.tags}
        for what, array in per_frame.items():
            if array is not None and len(array) != len(self):
                raise DataError(
                    f"truth of {self.name}: {what} has {len(array)} values for {len(self)} frames; "
                    "there must be one a frame"
                )

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.regions)


@dataclass(frozen=True)
class Predictions:
    """What a tracker reported on one sequence.

    `codes` is (N,): -1 where the row is a region, else VOT's special code (0 unknown or skipped, 1
    initialised, 2 failed). `confidence` is (N,), nan where none was given. `anchor` is the start frame of a
    multi-start run.
    """

    regions: FloatArray
    codes: IntArray | None = None
    confidence: FloatArray | None = None
    anchor: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", _checked(self.regions, "a run"))
        if self.codes is None:
            object.__setattr__(self, "codes", np.full(len(self.regions), -1, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.regions)

    def is_code(self, code: int) -> BoolArray:
        """Return the (N,) mask of the rows that hold this special code."""
        return np.asarray(self.codes == code, dtype=np.bool_)
