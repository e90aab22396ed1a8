"""The two values that every scorer works on: the truth of a sequence and one run of a tracker on it.

Regions of both are continuous pixels, one row a frame. An (N, 4) array holds rectangles `x, y, w, h`; an (N,
8) array holds polygons of four corners `x1, y1, .., x4, y4`, and a row whose last four numbers are nan is a
rectangle. A row of nan is a frame without a region: the target is absent (truth) or nothing was reported
(run).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from siamtrack.errors import DataError

__all__ = [
    "BoolArray",
    "FloatArray",
    "IntArray",
    "Run",
    "Truth",
    "as_rectangles",
    "corners",
    "is_rectangle",
    "missing",
    "widen",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


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
class Run:
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


def is_rectangle(regions: FloatArray) -> BoolArray:
    """Return the (N,) mask of the rows that are rectangles (rows of nan count as such)."""
    if regions.shape[1] == 4:
        return np.ones(len(regions), dtype=np.bool_)
    return np.asarray(np.isnan(regions[:, 4:]).all(axis=1), dtype=np.bool_)


def missing(regions: FloatArray) -> BoolArray:
    """Return the (N,) mask of the rows without a usable region: some number of it is nan or infinite."""
    found = ~np.isfinite(regions[:, :4]).all(axis=1)
    if regions.shape[1] == 8:
        found |= ~(np.isfinite(regions[:, 4:]).all(axis=1) | is_rectangle(regions))
    return np.asarray(found, dtype=np.bool_)


def widen(regions: FloatArray) -> FloatArray:
    """Return the same regions as an (N, 8) array, rectangles padded with nan."""
    if regions.shape[1] == 8:
        return regions
    wide = np.full((len(regions), 8), np.nan)
    wide[:, :4] = regions
    return wide


def corners(regions: FloatArray) -> FloatArray:
    """Return the (N, 4, 2) corners of all regions; a rectangle's go x, x + w, x + w, x."""
    boxes = is_rectangle(regions)
    points = np.empty((len(regions), 4, 2))
    if regions.shape[1] == 8:
        points[~boxes] = regions[~boxes].reshape(-1, 4, 2)
    x, y, w, h = regions[boxes, :4].T
    points[boxes] = np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1).reshape(-1, 4, 2)
    return points


def as_rectangles(regions: FloatArray) -> FloatArray:
    """Return (N, 4) rectangles: as they are, or the axis-aligned bounds of polygons."""
    if regions.shape[1] == 4:
        return regions
    rectangles = regions[:, :4].copy()
    polygons = ~is_rectangle(regions)
    xs, ys = regions[polygons, 0::2], regions[polygons, 1::2]
    left, top = xs.min(axis=1, initial=np.inf), ys.min(axis=1, initial=np.inf)
    width, height = xs.max(axis=1, initial=-np.inf) - left, ys.max(axis=1, initial=-np.inf) - top
    rectangles[polygons] = np.stack([left, top, width, height], axis=1)
    return rectangles
