from __future__ import annotations

import csv
import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamtrack.errors import InputError
from siamtrack.geometry.inputs import Box
from siamtrack.tracking.tracker import Result, Status
from siamtrack.video.box_writer import BoxWriter, box_paths

BOXES = [(10.0, 20.5, 30.25, 40.125), (-3.5, 0.0, 1234.56789, 7.0)]


def found(box: Sequence[float], score: float = 0.5, presence: float = 0.5, status: Status = "tracking") -> Result:
    return Result(Box(*box), score, presence, status)


def test_txt_has_a_bare_line_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with BoxWriter(path, 1) as writer:
        for frame, box in enumerate(BOXES, 100):
            writer.write(frame, [found(box)])
    assert path.read_bytes() == b"10,20.5,30.25,40.125\n-3.5,0,1234.5679,7\n"


def test_txt_of_two_targets_is_two_files(tmp_path: Path) -> None:
    with BoxWriter(tmp_path / "out.txt", 2) as writer:
        writer.write(0, [found((1, 2, 3, 4)), found((5, 6, 7, 8))])
        writer.write(1, [found((2, 2, 3, 4)), found((6, 6, 7, 8))])
    assert writer.paths == [tmp_path / "out-1.txt", tmp_path / "out-2.txt"]
    assert [path.read_text() for path in writer.paths] == ["1,2,3,4\n2,2,3,4\n", "5,6,7,8\n6,6,7,8\n"]
    assert box_paths("a/b.c.txt", 2) == [Path("a/b.c-1.txt"), Path("a/b.c-2.txt")]


def test_rows_carry_frame_target_score_and_status(tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl", ".json", ".CSV"):
        with BoxWriter(tmp_path / f"out{suffix}", 2) as writer:
            writer.write(40, [found((1, 2, 3, 4), 1, 1), found((5, 6, 7, 8), 0.25, 0.2, "lost")])
            writer.write(41, [found((1.5, 2, 3, 4)), found((5, 6, 7, 8), 0.123456, 0.4, "uncertain")])
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = [{k: v if k == "status" else float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    objects = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows == objects == json.loads((tmp_path / "out.json").read_text())
    assert list(rows[0]) == ["frame", "target", "x", "y", "w", "h", "score", "presence", "status"]
    box = {"x": 5, "y": 6, "w": 7, "h": 8}
    assert objects[3] == {"frame": 41, "target": 2, **box, "score": 0.1235, "presence": 0.4, "status": "uncertain"}
    assert (tmp_path / "out.CSV").read_bytes() == (tmp_path / "out.csv").read_bytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e5, 1e5, width=32)] * 4), min_size=1, max_size=5))
def test_numbers_come_back_to_four_decimals(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple[float, float, float, float]]
) -> None:
    folder = tmp_path_factory.mktemp("boxes")
    with BoxWriter(folder / "a.txt", 1) as txt, BoxWriter(folder / "a.jsonl", 1) as lines:
        for n, box in enumerate(boxes):
            txt.write(n, [found(box)])
            lines.write(n, [found(box)])
    read = np.loadtxt(folder / "a.txt", delimiter=",", ndmin=2)
    np.testing.assert_allclose(read, boxes, atol=5.1e-5, rtol=0)
    parsed = [json.loads(line) for line in (folder / "a.jsonl").read_text().splitlines()]
    np.testing.assert_array_equal([[row[key] for key in "xywh"] for row in parsed], read)
    assert "-0," not in (folder / "a.txt").read_text() + ","


def test_numpy_values_are_written_like_floats(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.txt"):
        with BoxWriter(tmp_path / name, 1) as writer:
            writer.write(0, [found(np.array([1, 2, 3, 4.5], np.float32), np.float32(0.5))])
    assert json.loads((tmp_path / "a.jsonl").read_text())["h"] == 4.5
    assert (tmp_path / "a.txt").read_text() == "1,2,3,4.5\n"


def test_lines_are_there_before_the_file_is_closed(tmp_path: Path) -> None:
    writer = BoxWriter(tmp_path / "out.txt", 1)
    writer.write(0, [found((1, 2, 3, 4))])
    assert (tmp_path / "out.txt").read_text() == "1,2,3,4\n"
    writer.close()
    writer.close()


def test_json_is_a_whole_list_after_each_frame(tmp_path: Path) -> None:
    with BoxWriter(tmp_path / "out.json", 1) as writer:
        for number in range(3):
            writer.write(number, [found((1, 2, 3, 4))])
            assert len(json.loads((tmp_path / "out.json").read_text())) == number + 1


def test_bad_names_and_counts_are_refused(tmp_path: Path) -> None:
    for name in ("out.yaml", "out", "out.mp4"):
        with pytest.raises(InputError, match=r"written as \.txt, \.csv, \.json, \.jsonl, \.xml, \.zip, or as --format"):
            BoxWriter(tmp_path / name, 1)
    with pytest.raises(InputError, match="no such file or directory"):
        BoxWriter(tmp_path / "none" / "out.txt", 1)
    with BoxWriter(tmp_path / "out.csv", 2) as writer, pytest.raises(InputError, match="of 2 targets; got 1"):
        writer.write(0, [found((1, 2, 3, 4))])


def test_full_device_is_one_clear_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    link = tmp_path / "out.txt"
    link.symlink_to("/dev/full")
    with (
        BoxWriter(link, 1) as writer,
        pytest.raises(InputError, match="any further: no space left on device"),
    ):
        writer.write(0, [found((1, 2, 3, 4))])


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".json", ".jsonl"])
def test_full_disk_keeps_whole_lines_only(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    code = f"""
        import resource
        from siamtrack.errors import InputError
        from siamtrack.geometry.inputs import Box
        from siamtrack.tracking.tracker import Result
        from siamtrack.video.box_writer import BoxWriter
        resource.setrlimit(resource.RLIMIT_FSIZE, (1003, 1003))
        try:
            with BoxWriter({str(path)!r}, 1) as writer:
                for number in range(1000):
                    writer.write(number, [Result(Box(number, 2.5, 30, 40), 0.5, 0.5, "tracking")])
        except InputError as error:
            print(number, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300, check=True
    )
    number, _, message = done.stdout.strip().partition(" ")
    assert message == f"cannot write '{path}' any further: file too large; the lines written before are kept"
    text = path.read_text()
    assert text.endswith("\n") and 900 < len(text) <= 1003
    assert len(text.splitlines()) - {".csv": 1, ".json": 2}.get(suffix, 0) == int(number)
    assert suffix != ".json" or len(json.loads(text)) == int(number)
