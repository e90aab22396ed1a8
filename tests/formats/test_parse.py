from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamtrack.errors import DataError
from siamtrack.formats.records import parse_boxes, parse_column, parse_flags, parse_regions

numbers = st.floats(-1e6, 1e6, allow_nan=False) | st.just(float("nan"))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=8),
    st.sampled_from([",", "\t", " ", ", ", ";", "   ", " \t"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_boxes_come_back_whatever_separates_them(rows: list, separator: str, end: str, last: bool) -> None:
    text = end.join(separator.join(repr(v) for v in row) for row in rows) + (end if last else "")
    np.testing.assert_array_equal(parse_boxes(text.encode(), "x"), np.array(rows))


def test_odd_but_readable_text() -> None:
    np.testing.assert_array_equal(parse_boxes(b"\xef\xbb\xbf1,2,3,4\n\n\n", "x"), [[1, 2, 3, 4]])
    np.testing.assert_array_equal(parse_boxes(b" 1.00, 2, 3e0,NaN,", "x"), [[1, 2, 3, np.nan]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "results of cat: the file is empty"),
        (b" \n\n", "results of cat: the file is empty"),
        (b"1,2,3,4\n1,2,3\n", "results of cat: line 2 has 3 numbers; expected 4 or 8"),
        (b"1,2,3\n", "results of cat: line 1 has 3 numbers; expected 4 or 8"),
        (b"1,2,3,4\n1,2,three,4\n", "results of cat: line 2: expected numbers, got 'three'"),
        (b"1,2,3,4\n\n1,2,3,4\n", "results of cat: line 2 is blank"),
        (b"1,2,3,4\n1,2,3.4.5,4\n", "results of cat: line 2: expected numbers, got '3.4.5'"),
        (b"\x00\x01\x02\x80", "results of cat"),
        (b"1,2,3,4\n1,2," + b"9" * 5000 + b",4\n", r"line 2: the number '9{20}\.\.' is too large"),
        (b"1,2,3,4\n1,-1e999,3,4\n", r"line 2: the number '-1e999\.\.' is too large"),
        (b"1_0,2,3,4\n", "line 1: expected numbers, got '1_0'"),
        (b"1,2,3,4\nm1,2,3,4,5,6\n", "results of cat: line 2 is a mask; expected boxes or polygons"),
    ],
)
def test_malformed_boxes_are_told_by_name_and_line(text: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_boxes(text, "results of cat")


def test_regions_mix_codes_rectangles_and_polygons() -> None:
    run = parse_regions(b"1\n1,2,3,4\n1,2,3,4,5,6,7,8\n2\n0\nnan,nan,nan,nan\n", "x")
    assert run.codes is not None
    assert run.codes.tolist() == [1, -1, -1, 2, 0, -1]
    np.testing.assert_array_equal(run.regions[1], [1, 2, 3, 4, *[np.nan] * 4])
    np.testing.assert_array_equal(run.regions[2], np.arange(1, 9))
    with pytest.raises(DataError, match="x: line 2 has 2 numbers; expected 1, 4 or 8"):
        parse_regions(b"1\n1,2\n", "x")


def test_columns_and_flags() -> None:
    np.testing.assert_array_equal(parse_column(b"\n0.5\n\n1\n", "x"), [np.nan, 0.5, np.nan, 1])
    for text in (b"0110", b"0\n1\n1\n0\n", b"0,1,1,0", b"0 1 1 0\r\n", b"0.0\n1.0\n0.5\n0\n"):
        assert parse_flags(text, "x").tolist() == [False, True, True, False]
    assert len(parse_flags(b"", "x")) == 0
