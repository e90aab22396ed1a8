"""The sizes of images from their headers, files that are whole or not there, and errors that name a way out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamtrack.errors import DataError, missing_package
from siamtrack.io import (
    append_line,
    image_size,
    parse_json,
    parse_toml,
    read_as,
    read_bytes,
    read_lines,
    sweep_drafts,
    whole_file,
    write_whole,
)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([".png", ".jpg"]), st.booleans())
def test_an_images_size_is_read_from_its_header(width: int, height: int, suffix: str, progressive: bool) -> None:
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)] if suffix == ".jpg" else []
    data = cv2.imencode(suffix, np.zeros((height, width, 3), np.uint8), flags)[1].tobytes()
    assert image_size(data) == (width, height)
    assert image_size(data[:400]) in ((width, height), None)
    for end in range(24):
        assert image_size(data[:end]) is None


def test_segments_and_fill_bytes_before_the_frame_header_are_passed(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    thumbnail = b"\xff\xe1" + (2 + len(data)).to_bytes(2, "big") + data  # EXIF may hold a picture of another size
    path = tmp_path / "x.jpg"
    path.write_bytes(data[:2] + thumbnail + b"\xff\xff" + data[2:])
    assert image_size(path) == (30, 20)
    assert image_size(tmp_path / "missing.jpg") is None
    assert image_size(b"\xff\xd8\xff\xe0\x00\x00" * 9) is None


def test_a_file_that_cannot_be_finished_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_whole(path, "before")
    with pytest.raises(RuntimeError), whole_file(path) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before" and [p.name for p in path.parent.iterdir()] == ["file.txt"]
    with pytest.raises(DataError, match="cannot write"):
        write_whole(path / "below", "a file is no folder")


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_a_file_keeps_its_permissions_and_a_link_stays_one(tmp_path: Path) -> None:
    path, link, dangling = (tmp_path / name for name in ("file.txt", "link.txt", "dangling.txt"))
    link.symlink_to("file.txt")
    dangling.symlink_to("there/new.txt")
    before = os.umask(0o027)
    try:
        write_whole(path, "one")
        assert path.stat().st_mode & 0o777 == 0o640
        with whole_file(path) as first, whole_file(path) as second:  # the second one's draft has another name
            first.write_text("two")
            second.write_text("two")
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o604)
        write_whole(link, "three")
        write_whole(dangling, "four")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o604 and path.read_text() == "three"
    assert link.is_symlink() and dangling.is_symlink()
    assert (tmp_path / "there" / "new.txt").read_text() == "four"


def test_a_missing_package_is_told_with_a_command_for_pip_and_one_for_a_clone() -> None:
    text = str(missing_package("a report", "matplotlib got10k==0.1.3", "report"))
    assert text == (
        "a report needs matplotlib and got10k==0.1.3: pip install matplotlib got10k==0.1.3 "
        "(or, from a clone of siamtrack, pip install -e '.[report]')"
    )
    assert "pip install 'torch<3'" in str(missing_package("it", "torch<3", "x"))


def test_a_draft_that_a_killed_program_left_is_used_again_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:  # as another program would
            assert second != first
            second.write_text("second")
        sweep_drafts(tmp_path)
        assert first.read_text() == "first" and path.read_text() == "second"
    assert path.read_text() == "first"
    first.write_text("left behind by a kill, and longer")
    with whole_file(path) as again:
        assert again == first and again.read_text() == ""
    first.write_text("left behind by a kill")
    sweep_drafts(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_draft_that_cannot_be_opened_is_left_alone(tmp_path: Path) -> None:
    """As another user's is in a folder that all may write to."""
    (tmp_path / ".part-file.txt").mkdir()
    write_whole(tmp_path / "file.txt", "whole")
    assert (tmp_path / "file.txt").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".part-file.txt", "file.txt"]


def test_pipes_and_devices_are_neither_read_nor_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "zero", tmp_path):
        for work in (lambda p: read_bytes(p), lambda p: write_whole(p, "x"), lambda p: append_line(p, "x")):
            with pytest.raises(DataError, match="expected a file; it is a"):
                work(path)
        assert image_size(path) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipe", "zero"]


def test_a_line_after_half_a_line_begins_on_its_own(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "one")
    with (tmp_path / "log").open("a") as stream:
        stream.write('{"tw')
    append_line(tmp_path / "log", "three", sync=True)
    assert (tmp_path / "log").read_text() == 'one\n{"tw\nthree\n'


@pytest.mark.parametrize("text", ["a\nb\r\nc", "bell \a", "\ud800", "\x1b[31mred", "null \0", "\u2028"])
def test_every_message_is_one_line_that_can_be_printed(text: str) -> None:
    message = str(DataError(f"in {text} out"))
    assert message.isprintable() and message.encode().startswith(b"in ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("null", "expected a JSON object, got null"),
        ("[1]", "got a list"),
        ("1.5", "got a number"),
        ("true", "got true or false"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": "' + "x" * 50 + '"}', "59 bytes of JSON; expected at most 40"),
    ],
)
def test_what_is_no_json_object_is_told_in_the_words_of_json(text: str, words: str) -> None:
    with pytest.raises(DataError, match=f"^a file: .*{words}"):
        parse_json(text, "a file", 40 if "xxx" in text else 1 << 20)


@dataclass(frozen=True)
class Row:
    """What a file holds."""

    name: str
    sizes: list[float]


def test_fields_of_a_file_are_checked_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    path.write_text('{"name": "a", "sizes": [1, 2.5]}')
    assert read_as(path, Row) == Row("a", [1, 2.5])
    for text, where in {'{"name": "a"}': "sizes", '{"name": "a", "sizes": [1, "x"]}': "sizes.1"}.items():
        path.write_text(text)
        with pytest.raises(DataError, match=f"row.json: {where}: "):
            read_as(path, Row)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(30 << 30)
    with pytest.raises(DataError, match="32212254720 bytes; expected at most"):
        read_bytes(tmp_path / "large")


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 17 + " = 1",
        "[" + "a." * 17 + "a]",
        "x = {" + '"a" . ' * 17 + "a = 1}",
        "x = [{" + "'a'\t.\ta." * 9 + "a=1}]",
    ],
)
def test_keys_of_toml_have_few_dots(text: str) -> None:
    with pytest.raises(DataError, match=r"^a file: a key with more than 16 dots"):
        parse_toml(text, "a file")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.a.a.a.a.a.a.a = 1", {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}),
        ("# " + "." * 99 + "\na = 1", {"a": 1}),
        ("a = '" + "." * 99 + "' # " + "." * 99, {"a": "." * 99}),
        ('a = "' + '\\".' * 20 + '"', {"a": '".' * 20}),
        ('a = """\n' + 'x."#\n' * 20 + '"""', {"a": 'x."#\n' * 20}),
        ("a = '''" + "'.\\" * 20 + "'''", {"a": "'.\\" * 20}),
        ("a = [" + "0.5, " * 40 + "]", {"a": [0.5] * 40}),
    ],
)
def test_dots_in_texts_remarks_and_lists_are_no_dots_of_keys(text: str, value: object) -> None:
    assert parse_toml(text.encode(), "a file") == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff", "not a text file in UTF-8"),
        (b"a = ", "not valid TOML: Invalid value"),
        (b"a = " + b"[" * 100_000, "not valid TOML: nested too deep"),
        (b"a = " + b"9" * 5000, "not valid TOML: "),
        (b"#" * (1 << 20) + b"#", "1048577 bytes of TOML; expected at most 1048576"),
    ],
)
def test_what_is_no_toml_is_one_line(text: bytes, words: str) -> None:
    with pytest.raises(DataError, match=f"^a file: {words}"):
        parse_toml(text, "a file")


@pytest.mark.parametrize("inner", [b"[],", b"{},", b"0,", b"[[0,0]],"])
def test_json_whose_values_would_fill_the_memory_is_not_read(inner: bytes) -> None:
    size = 160 << 20
    text = b'{"a":[' + inner * (size // len(inner) - 10)
    with pytest.raises(DataError, match=r"its values would take .* MB of memory"):
        parse_json(text, "a file", size)


def test_lines_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\n\none\r\n\n two\n" + b"\n" * 9 + b"half")
    assert list(read_lines(path)) == [b"one", b"two", b"half"]
    path.write_bytes(b"one\n" + b"x" * 99)
    with pytest.raises(DataError, match="expected lines of at most 50 bytes"):
        list(read_lines(path, 50))
