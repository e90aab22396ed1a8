"""Fast reading of numeric text: boxes, regions, flags and confidences from the bytes of one file.

Every parser takes `where`, the name that an error message gives to the file, and raises `DataError` with the
number of the first bad line. Numbers may be separated by commas, semicolons, tabs, spaces or any mix of them.
"""

from __future__ import annotations

import warnings

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.records import Predictions
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray

__all__ = ["parse_boxes", "parse_column", "parse_flags", "parse_regions", "parse_table", "parse_truth"]

_BLANK = bytes.maketrans(b",;\t\r\v\f", b"      ")
_BOM = b"\xef\xbb\xbf"
_SPACE, _NEWLINE = 32, 10


def _fail(text: bytes, where: str) -> DataError:
    """Name the first token that is not a number."""
    for number, line in enumerate(text.split(b"\n"), start=1):
        for token in line.split():
            try:
                float(token)
            except ValueError:
                if token.startswith(b"m") and token[1:].isdigit():
                    return DataError(f"{where}: line {number} is a mask; expected boxes or polygons")
                shown = token[:20].decode("utf-8", "replace")
                return DataError(f"{where}: line {number}: expected numbers, got '{shown}'")
    return DataError(f"{where}: expected lines of numbers")


def _table(data: bytes, where: str) -> tuple[FloatArray, IntArray]:
    """Return all numbers of the text in order, and how many each line has (a blank one 0)."""
    if data.startswith(_BOM):
        data = data[len(_BOM) :]
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    text = data.translate(_BLANK)
    if not text.endswith(b"\n"):
        text += b"\n"
    codes = np.frombuffer(text, dtype=np.uint8)
    ink = codes > _SPACE
    starts = ink.copy()
    starts[1:] &= ~ink[:-1]
    ends = np.flatnonzero(codes == _NEWLINE)
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
    return values, counts


def _no_gaps(counts: IntArray, where: str) -> IntArray:
    """Return the counts less the blank lines at the end; a blank line in the middle is an error."""
    filled = np.flatnonzero(counts)
    if not len(filled):
        raise DataError(f"{where}: the file is empty; expected one line a frame")
    counts = counts[: filled[-1] + 1]
    if len(filled) != len(counts):
        raise DataError(f"{where}: line {int(np.argmin(counts)) + 1} is blank; expected one line a frame")
    return counts


def parse_boxes(data: bytes, where: str) -> FloatArray:
    """Read rectangles `x, y, w, h` or polygons of four corners, one a line, as an (N, 4) or (N, 8) array."""
    values, counts = _table(data, where)
    counts = _no_gaps(counts, where)
    columns = int(counts[0])
    if columns not in (4, 8) or (counts != columns).any():
        wrong = 0 if columns not in (4, 8) else int(np.argmax(counts != columns))
        expected = "4 or 8" if columns not in (4, 8) else str(columns)
        raise DataError(f"{where}: line {wrong + 1} has {counts[wrong]} numbers; expected {expected}")
    return values.reshape(-1, columns)


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
    regions = np.full((len(counts), 8 if (counts == 8).any() else 4), np.nan)
    for width in (4, 8):
        rows = np.flatnonzero(counts == width)
        if len(rows):
            regions[rows, :width] = values[first[rows, None] + np.arange(width)]
    return Predictions(regions, codes)


def parse_truth(data: bytes, where: str) -> FloatArray:
    """Read the lines of an annotation as (N, 4) or (N, 8) regions: as `parse_regions` does, and of a mask its bounds.

    A special code, nan and an empty mask are rows of nan.
    """
    if b"m" in data:
        lines = enumerate(data.splitlines(), start=1)
        data = b"\n".join(_mask_bounds(row, f"{where}: line {n}") if row[:1] == b"m" else row for n, row in lines)
    return parse_regions(data, where).regions


def _mask_bounds(line: bytes, where: str) -> bytes:
    """Return the rectangle of a mask `mX,Y,W,H,RUN,RUN,..` as a line.

    VOT stores a mask cut to its bounds, so that the four numbers before the runs are the rectangle.
    """
    numbers = line[1:].split(b",")
    try:
        _, _, width, height = [float(number) for number in numbers][:4]
    except ValueError:
        raise DataError(f"{where}: expected a mask `mX,Y,W,H,RUN,..`, a box or a code") from None
    return b",".join(numbers[:4]) if width > 0 and height > 0 else b"nan"


def parse_table(data: bytes, where: str, columns: int) -> FloatArray:
    """Read rows of numbers, as many in each and at least `columns`, as an (N, M) array."""
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
