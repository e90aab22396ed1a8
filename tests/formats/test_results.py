from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from siamtrack.errors import DataError
from siamtrack.formats.results import read_results, result_path

BOXES = "1,2,30,40\n2,3,30,40\n3,4,30,40\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def zipped(root: Path) -> Path:
    return Path(shutil.make_archive(str(root.with_name(root.name + "_packed")), "zip", root))


LAYOUTS = {
    "flat": {"Jogging-1.txt": BOXES, "Car1.txt": BOXES},
    "lower case": {"jogging_1.txt": BOXES.replace(",", "\t"), "car1.txt": BOXES.replace(",", " ")},
    "nested": {"results/OTB100/ATOM/Jogging-1.txt": BOXES, "results/OTB100/ATOM/Car1.txt": BOXES},
    "got10k": {
        "ATOM/Jogging-1/Jogging-1_001.txt": BOXES,
        "ATOM/Jogging-1/Jogging-1_time.txt": "0.1\n0.1\n0.1\n",
        "ATOM/Car1/Car1_001.txt": BOXES,
        "ATOM/Car1/Car1_002.txt": BOXES,
    },
    "with times": {
        "Jogging-1.txt": BOXES,
        "Car1.txt": BOXES,
        "times/Car1_time.txt": "0.1\n",
        "times/Car1.txt": "1",
    },
    "mac": {"Jogging-1.txt": BOXES, "Car1.txt": BOXES, "__MACOSX/Car1.txt": "x", ".hidden/Car1.txt": "x"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pack", [False, True])
def test_one_pass_layouts(tmp_path: Path, layout: str, pack: bool) -> None:
    root = write(tmp_path / "raw", LAYOUTS[layout])
    found = read_results(zipped(root) if pack else root, ["Jogging-1", "Car1", "Never"], "ope")
    assert list(found) == ["Jogging-1", "Car1"]
    assert len(found["Car1"]) == (2 if layout == "got10k" else 1)
    np.testing.assert_array_equal(found["Jogging-1"][0].regions[2], [3, 4, 30, 40])


@pytest.mark.parametrize(("protocol", "key"), [("ope", ""), ("reset", "001"), ("tre", "tre00_00000000")])
@pytest.mark.parametrize(
    "names", [("lap", "lap_time"), ("car-1", "car_1", "car.1"), ("Walk", "walk"), ("gt", "time", "times")]
)
def test_every_sequence_finds_the_file_that_was_written_for_it(
    tmp_path: Path, names: tuple[str, ...], protocol: str, key: str
) -> None:
    files = {str(result_path(protocol, name, key)): f"{n},2,30,40\n" for n, name in enumerate(names)}
    found = read_results(write(tmp_path, files), names, protocol)
    assert {name: [run.regions[0, 0] for run in runs] for name, runs in found.items()} == {
        name: [n] for n, name in enumerate(names)
    }


def test_times_are_no_results_of_a_sequence_that_is_called_so(tmp_path: Path) -> None:
    files = {f"{name}/{name}_001.txt": BOXES for name in ("Lap", "Lap_time")}
    files |= {f"{name}/{name}_time.txt": "0.1\n0.1\n0.1\n" for name in ("Lap", "Lap_time")}
    found = read_results(write(tmp_path, files), ["lap", "lap_time"], "ope")
    assert {name: len(runs) for name, runs in found.items()} == {"lap": 1, "lap_time": 1}


def test_one_pass_takes_the_polygons_that_eval_keeps(tmp_path: Path) -> None:
    root = write(tmp_path, {"Car1.txt": "1,2,30,40\n1,2,31,2,31,42,1,42\nnan,nan,nan,nan\n"})
    (run,) = read_results(root, ["Car1"], "ope")["Car1"]
    nan = [np.nan] * 4
    np.testing.assert_array_equal(run.regions, [[1, 2, 30, 40, *nan], [1, 2, 31, 2, 31, 42, 1, 42], [*nan, *nan]])
    with pytest.raises(DataError, match="line 2 has 1 numbers; expected 4 or 8"):
        read_results(write(tmp_path, {"Car1.txt": "1,2,30,40\n2\n"}), ["Car1"], "ope")


def test_vot_keeps_to_its_experiment(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "T/baseline/bag/bag_001.txt": "1\n1,2,3,4\n2\n",
            "T/baseline/bag/bag_002.txt": "1\n1,2,3,4\n1,2,3,4\n",
            "T/unsupervised/bag/bag_001.txt": "1\n9,9,9,9\n9,9,9,9\n",
            "T/realtime/bag/bag_001.txt": "1\n9,9,9,9\n9,9,9,9\n",
            "T/baseline/bag/bag_001_time.value": "0.1\n",
        },
    )
    runs = read_results(root, ["bag"], "reset")["bag"]
    assert [run.is_code(2).sum() for run in runs] == [1, 0]


def test_multistart_and_longterm_files(tmp_path: Path) -> None:
    anchors = {f"baseline/bag/bag_{a:08d}.txt": "1\n1,2,3,4\n" for a in (0, 50)}
    runs = read_results(write(tmp_path / "a", anchors), ["bag"], "multistart")["bag"]
    assert [run.anchor for run in runs] == [0, 50]
    files = {
        "longterm/bag/bag_001.txt": "1\n1,2,3,4\n1,2,3,4\n",
        "longterm/bag/bag_001_confidence.value": "\n0.5\n0.25\n",
    }
    (run,) = read_results(write(tmp_path / "b", files), ["bag"], "longterm")["bag"]
    np.testing.assert_array_equal(run.confidence, [np.nan, 0.5, 0.25])


def test_several_trackers_are_an_error_that_names_them(tmp_path: Path) -> None:
    root = write(tmp_path, {"A/Car1.txt": BOXES, "B/Car1.txt": BOXES})
    with pytest.raises(DataError, match=r"one tracker, found several folders \(A, B\)"):
        read_results(root, ["Car1"], "ope")


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected result files such as Car1\.txt"):
        read_results(write(tmp_path, {"notes.txt": "hello"}), ["Car1"], "ope")
    with pytest.raises(DataError, match="expected a folder or a zip file"):
        read_results(tmp_path / "nowhere", ["Car1"], "ope")


def test_a_malformed_file_is_told_by_sequence(tmp_path: Path) -> None:
    root = write(tmp_path, {"Car1.txt": BOXES + "1,2,x,4\n"})
    with pytest.raises(DataError, match="results of Car1: line 4: expected numbers, got 'x'"):
        read_results(root, ["Car1"], "ope")
