"""The truth of a sequence and one run of a tracker on it, and reading such numbers from the bytes of a text.

Regions are arrays as `geometry.regions` describes them. A row of nan is a frame without a region: the target is absent
(truth) or nothing was reported (run).

Every parser takes `where`, the file's name in messages, and raises `DataError` with the number of the first bad line.
Numbers may be separated by commas, semicolons, tabs, spaces or any mix of them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from siamtrack.errors import DataError, reason
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray
from siamtrack.io import parse_number

_BLANK = bytes.maketrans(b",;\t\r\v\f", b"      ")


def _array(values: npt.ArrayLike, kind: npt.DTypeLike, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(values, dtype=kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name} must be an array of numbers: {reason(error)}") from None


def _per_frame(values: npt.ArrayLike, kind: npt.DTypeLike, name: str, count: int) -> npt.NDArray[Any]:
    array = _array(values, kind, name)
    if array.shape != (count,):
        got = f"{len(array)} values" if array.ndim == 1 else f"shape {array.shape}"
        raise DataError(f"{name} has {got} for {count} frames; there must be one a frame")
    return array


def _checked(regions: npt.ArrayLike, name: str) -> FloatArray:
    array = _array(regions, np.float64, f"{name}: regions")
    if array.ndim != 2 or array.shape[1] not in (4, 8):
        raise DataError(f"{name}: regions must be an (N, 4) or (N, 8) array, got shape {array.shape}")
    return array


@dataclass(frozen=True)
class Truth:
    """The annotation of one sequence.

    `size` is the image's (width, height) in pixels. `visible` (N,) is False where the target is absent. `tags` maps an
    attribute to an (N,) mask of its frames. `anchors` (N,) is 1 where a multi-start run goes forward from the frame,
    -1 where it goes backward, else 0.
    """

    name: str
    regions: FloatArray
    size: tuple[int, int] | None = None
    visible: BoolArray | None = None
    tags: Mapping[str, BoolArray] = field(default_factory=dict)
    anchors: IntArray | None = None

    def __post_init__(self) -> None:
        where = f"truth of {self.name}"
        object.__setattr__(self, "regions", _checked(self.regions, where))
        for what, kind in (("visible", np.bool_), ("anchors", np.int64)):
            if (values := getattr(self, what)) is not None:
                object.__setattr__(self, what, _per_frame(values, kind, f"{where}: {what}", len(self)))
        if not isinstance(self.tags, Mapping):
            raise DataError(f"{where}: tags must be a mapping of names to masks; got {type(self.tags).__name__}")
        tags = {tag: _per_frame(mask, np.bool_, f"{where}: {tag}", len(self)) for tag, mask in self.tags.items()}
        object.__setattr__(self, "tags", tags)

    def __len__(self) -> int:
        return len(self.regions)


@dataclass(frozen=True)
class Predictions:
    """What a tracker reported on one sequence.

    `codes` (N,) is -1 where the row is a region, else VOT's special code (0 unknown or skipped, 1 initialised, 2
    failed). `confidence` (N,) is nan where none was given. `anchor` is the start frame of a multi-start run.
    """

    regions: FloatArray
    codes: IntArray | None = None
    confidence: FloatArray | None = None
    anchor: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", _checked(self.regions, "a run"))
        codes = np.full(len(self), -1) if self.codes is None else self.codes
        object.__setattr__(self, "codes", _per_frame(codes, np.int64, "a run: codes", len(self)))
        if self.confidence is not None:
            confidence = _per_frame(self.confidence, np.float64, "a run: confidence", len(self))
            object.__setattr__(self, "confidence", confidence)

    def __len__(self) -> int:
        return len(self.regions)

    def is_code(self, code: int) -> BoolArray:
        """Return the (N,) mask of the rows that hold this special code."""
        return np.asarray(self.codes == code, dtype=np.bool_)


def _fail(text: bytes, where: str) -> DataError:
    """Name the first token that is not a number, or one that is too large."""
    for number, line in enumerate(text.split(b"\n"), start=1):
        for token in line.split():
            try:
                if math.isinf(parse_number(token.decode("latin-1"))) and b"n" not in token.lower():
                    return DataError(f"{where}: line {number}: the number '{token[:20].decode()}..' is too large")
            except ValueError:
                if token.startswith(b"m") and token[1:].isdigit():
                    return DataError(f"{where}: line {number} is a mask; expected boxes or polygons")
                shown = token[:20].decode("utf-8", "replace")
                return DataError(f"{where}: line {number}: expected numbers, got '{shown}'")
    return DataError(f"{where}: expected lines of numbers")


def _table(data: bytes, where: str) -> tuple[FloatArray, IntArray]:
    """Return all numbers of the text in order, and the count of numbers on each line."""
    data = data.removeprefix(b"\xef\xbb\xbf")  # the byte order mark
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    text = data.translate(_BLANK)
    if not text.endswith(b"\n"):
        text += b"\n"
    codes = np.frombuffer(text, dtype=np.uint8)
    ink = codes > ord(" ")
    starts = ink.copy()
    starts[1:] &= ~ink[:-1]
    ends = np.flatnonzero(codes == ord("\n"))
    counts = np.diff(np.searchsorted(np.flatnonzero(starts), ends), prepend=0)
    expected = int(counts.sum())
    if expected == 0:
        return np.empty(0), counts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy 1 warns where numpy 2 raises
        try:
            values = np.fromstring(text, dtype=np.float64, sep=" ")
        except ValueError:
            raise _fail(text, where) from None
    if len(values) != expected:
        raise _fail(text, where)
    if np.isinf(values).any() and b"inf" not in text.lower():
        raise _fail(text, where)
    return values, counts


def _no_gaps(counts: IntArray, where: str) -> IntArray:
    """Return the counts without the blank lines at the end; a blank line in the middle is an error."""
    filled = np.flatnonzero(counts)
    if not len(filled):
        raise DataError(f"{where}: the file is empty; expected one line a frame")
    counts = counts[: filled[-1] + 1]
    if len(filled) != len(counts):
        raise DataError(f"{where}: line {int(np.argmin(counts)) + 1} is blank; expected one line a frame")
    return counts


def parse_boxes(data: bytes, where: str) -> FloatArray:
    """Read rectangles `x, y, w, h` and polygons of four corners, one a line, as an (N, 4) or (N, 8) array."""
    values, counts = _table(data, where)
    counts = _no_gaps(counts, where)
    odd = np.flatnonzero((counts != 4) & (counts != 8))
    if len(odd):
        raise DataError(f"{where}: line {odd[0] + 1} has {counts[odd[0]]} numbers; expected 4 or 8")
    return _regions(values, counts)


def _regions(values: FloatArray, counts: IntArray) -> FloatArray:
    """Return the rows of 4 and 8 numbers as an (N, 4) or (N, 8) array; rectangles among polygons end with nan."""
    if counts[0] in (4, 8) and (counts == counts[0]).all():
        return values.reshape(-1, int(counts[0]))
    first = np.cumsum(counts) - counts
    regions = np.full((len(counts), 8 if (counts == 8).any() else 4), np.nan)
    for width in (4, 8):
        rows = np.flatnonzero(counts == width)
        if len(rows):
            regions[rows, :width] = values[first[rows, None] + np.arange(width)]
    return regions


def parse_regions(data: bytes, where: str) -> Predictions:
    """Read VOT's lines: special codes (1 number), rectangles (4) and polygons of four corners (8), mixed."""
    values, counts = _table(data, where)
    counts = _no_gaps(counts, where)
    odd = np.flatnonzero(~np.isin(counts, (1, 4, 8)))
    if len(odd):
        raise DataError(f"{where}: line {odd[0] + 1} has {counts[odd[0]]} numbers; expected 1, 4 or 8")
    first = np.cumsum(counts) - counts
    codes = np.full(len(counts), -1, dtype=np.int64)
    single = counts == 1
    with np.errstate(invalid="ignore"):
        codes[single] = np.nan_to_num(values[first[single]], nan=0.0).astype(np.int64)
    return Predictions(_regions(values, counts), codes)


def parse_truth(data: bytes, where: str) -> FloatArray:
    """Read the lines of an annotation as (N, 4) or (N, 8) regions, like `parse_regions`; of a mask, its bounds.

    A special code, nan and an empty mask are rows of nan. VOT stores a mask `mX,Y,W,H,RUN,RUN,..` cut to its bounds, so
    the four numbers before the runs are the rectangle.
    """
    if b"m" in data:
        lines = data.splitlines()
        for n, line in enumerate(lines):
            if not line.startswith(b"m"):
                continue
            numbers = line[1:].split(b",")
            try:
                _, _, width, height = [float(number) for number in numbers][:4]
            except ValueError:
                expected = "expected a mask `mX,Y,W,H,RUN,..`, a box or a code"
                raise DataError(f"{where}: line {n + 1}: {expected}") from None
            lines[n] = b",".join(numbers[:4]) if width > 0 and height > 0 else b"nan"
        data = b"\n".join(lines)
    return parse_regions(data, where).regions


def parse_table(data: bytes, where: str, columns: int) -> FloatArray:
    """Read rows of equal length, of at least `columns` numbers, as an (N, M) array."""
    values, counts = _table(data, where)
    counts = _no_gaps(counts, where)
    width = int(counts[0])
    if width < columns or (counts != width).any():
        raise DataError(f"{where}: expected rows of {columns} numbers or more, as many in each")
    return values.reshape(-1, width)


def parse_column(data: bytes, where: str) -> FloatArray:
    """Read one number a line, as VOT's `.value` files hold them; a blank line is nan."""
    if data and not data.endswith(b"\n"):
        data += b"\n"
    values, counts = _table(data, where)
    if (counts > 1).any():
        raise DataError(f"{where}: line {int(np.argmax(counts > 1)) + 1} has several numbers; expected one")
    column = np.full(len(counts), np.nan)
    column[counts == 1] = values
    return column


def parse_flags(data: bytes, where: str) -> BoolArray:
    """Read flags 0 or 1, one a frame: on lines, separated, or as one string of digits without separators."""
    digits = np.frombuffer(data.translate(None, b" \n,;\t\r"), dtype=np.uint8) - ord("0")
    if (digits > 1).any():
        # written as 0.0 and 1.0, or as levels: anything above zero is a yes
        return _table(data, where)[0] > 0
    return np.asarray(digits == 1, dtype=np.bool_)
