"""Whole files by one set of calls, on a disk and on a real S3-compatible server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from siamtrack.errors import ConfigError, DataError
from siamtrack.storage import (
    Place,
    exists,
    is_url,
    join,
    list_files,
    open_for_reading,
    parse_place,
    read_from,
    remove,
    write_whole_to,
)


@pytest.fixture(params=["disk", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "disk":
        return tmp_path / "root"
    return join(request.getfixturevalue("bucket"), tmp_path.name)


def test_what_is_written_is_listed_read_and_removed(root: Place) -> None:
    assert list_files(root) == [] and not exists(join(root, "a.txt"))
    write_whole_to(join(root, "b", "two.bin"), b"\x00\x01")
    write_whole_to(join(root, "a.txt"), "naïve")
    write_whole_to(join(root, "a.txt"), "naïve again")
    assert list_files(root) == ["a.txt", "b/two.bin"] and list_files(join(root, "b")) == ["two.bin"]
    assert exists(join(root, "a.txt")) and not exists(join(root, "b"))
    assert read_from(join(root, "a.txt")).decode() == "naïve again"
    with open_for_reading(join(root, "b", "two.bin")) as stream:
        assert stream.read(1) == b"\x00" and stream.read() == b"\x01"
    remove(join(root, "a.txt"))
    remove(join(root, "a.txt"))
    assert list_files(root) == ["b/two.bin"]


def test_what_is_not_there_is_named_on_one_line(root: Place) -> None:
    for read in (read_from, lambda place: open_for_reading(place).__enter__()):
        with pytest.raises(DataError, match=r"gone\.txt") as error:
            read(join(root, "gone.txt"))
        assert "\n" not in str(error.value)


def test_a_bucket_that_is_not_there_is_named(bucket: str) -> None:
    with pytest.raises(DataError, match="s3://no-such-bucket-here/x"):
        write_whole_to("s3://no-such-bucket-here/x", b"1")


def test_paths_and_urls_are_told_apart(tmp_path: Path) -> None:
    assert parse_place("s3://bucket/out/") == "s3://bucket/out" and is_url("s3://bucket/out")
    assert parse_place(str(tmp_path)) == tmp_path and not is_url(tmp_path)
    assert join("s3://bucket/out", "a", "b") == "s3://bucket/out/a/b"
    with pytest.raises(ConfigError, match="expected a path or a URL"):
        exists("nonsense://x")


def test_paths_need_no_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from pathlib import Path; from siamtrack.storage import *; from siamtrack.errors import ConfigError\n"
        f"root = Path({str(tmp_path)!r}); write_whole_to(root / 'a', 'x'); assert list_files(root) == ['a']\n"
        "try: exists('s3://b/a')\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs s3fs: pip install s3fs (or, from a clone" in done.stdout
