from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from siamtrack.errors import ConfigError, DataError
from siamtrack.evaluation.suites import SUITES, find_suite
from siamtrack.formats.datasets import read_dataset, read_truths

BOXES = "1,2,30,40\n2,3,30,40\n3,4,30,40\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


LAYOUTS = {
    "otb": ("otb100", {"Car1/groundtruth_rect.txt": BOXES, "Jog/groundtruth_rect.1.txt": BOXES,
                       "Jog/groundtruth_rect.2.txt": BOXES}, ["Car1", "Jog-1", "Jog-2"]),
    "human4": ("otb100", {"Human4/groundtruth_rect.1.txt": "", "Human4/groundtruth_rect.2.txt": BOXES},
               ["Human4-2"]),
    "flat": ("folder", {"gt/Car1.txt": BOXES, "tracker/Car1.txt": "x", "README.txt": "hello"}, ["Car1"]),
    "uav123": ("uav123", {"anno/UAV123/bike1.txt": BOXES, "anno/UAV20L/bike1.txt": BOXES,
                          "anno/UAV123/att/bike1.txt": "1,0,0,0,0,0,0,0,0,0,0,1"}, ["bike1"]),
    "tc128": ("tc128", {"Bike_ce1/Bike_ce1_gt.txt": BOXES, "Bike_ce1/Bike_ce1_frames.txt": "1,3"},
              ["Bike_ce1"]),
    "nfs": ("nfs", {"ball/30/ball.txt": '0 1 2 31 42 1 0 0 0 "ball"\n' * 3}, ["ball"]),
    "lasot": ("lasot", {"cat-1/groundtruth.txt": BOXES, "cat-1/full_occlusion.txt": "0,1,0",
                        "cat-1/out_of_view.txt": "0,0,1"}, ["cat-1"]),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pack", [False, True])
def test_layouts_as_distributed(tmp_path: Path, layout: str, pack: bool) -> None:
    suite, files, names = LAYOUTS[layout]
    root = write(tmp_path / "raw", files)
    path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", root)) if pack else root
    found = read_truths(path, find_suite(suite).data)
    assert sorted(found) == names
    truth = found[names[-1]]
    np.testing.assert_array_equal(truth.regions[0], [1, 2, 30, 40])
    if layout == "lasot":
        assert truth.visible is not None
        assert truth.visible.tolist() == [True, False, False]
    if layout == "uav123":
        assert sorted(truth.tags) == ["SOB", "SV"]


def test_got10k_reads_cover_and_size(tmp_path: Path) -> None:
    files = {
        "GOT-10k_Val_000001/groundtruth.txt": BOXES,
        "GOT-10k_Val_000001/cover.label": "8\n0\n3\n",
        "GOT-10k_Val_000001/meta_info.ini": "[METAINFO]\nresolution: (1920, 1080)\n",
        "list.txt": "GOT-10k_Val_000001\n",
    }
    (truth,) = read_truths(write(tmp_path, files), "got10k-val", needs_size=True).values()
    assert truth.size == (1920, 1080)
    assert truth.visible is not None
    assert truth.visible.tolist() == [True, False, True]


@pytest.mark.parametrize("image", ["color/00000001.jpg", "00000001.jpg", "color/00000001.png"])
def test_vot_reads_size_tags_and_anchors(tmp_path: Path, image: str) -> None:
    files = {
        "bag/groundtruth.txt": "1,2,3,2,3,4,1,4\n" * 3,
        "bag/occlusion.tag": "0\n1\n",
        "bag/anchor.value": "1\n0\n-1\n",
    }
    write(tmp_path, files)
    (tmp_path / "bag" / image).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(tmp_path / "bag" / image), np.zeros((24, 32, 3), dtype=np.uint8))
    (truth,) = read_truths(tmp_path, "vot", needs_size=True).values()
    assert truth.size == (32, 24)
    assert truth.tags["occlusion"].tolist() == [False, True, False]
    assert truth.anchors is not None
    assert truth.anchors.tolist() == [1, 0, -1]


def test_pysot_json(tmp_path: Path) -> None:
    entry = {"gt_rect": [[1, 2, 3, 4]] * 2, "attr": ["OCC"], "img_names": [], "absent": [1, 0]}
    (tmp_path / "OTB100.json").write_text(json.dumps({"Car1": entry}))
    (truth,) = read_truths(tmp_path / "OTB100.json", "otb").values()
    assert truth.visible is not None
    assert (len(truth), list(truth.tags), truth.visible.tolist()) == (2, ["OCC"], [True, False])


def test_subsets_take_their_sequences_and_miss_them_by_name(metrics_pack: Path, tmp_path: Path) -> None:
    for name, count in (("otb50", 50), ("otb2013", 51), ("otb100", 100)):
        assert len(read_truths(metrics_pack / "gt" / "otb100.zip", "otb", only=find_suite(name).only)) == count
    with pytest.raises(DataError, match="expected the truth of Basketball, Biker"):
        read_truths(write(tmp_path, {"Car1.txt": BOXES}), "otb", only=find_suite("otb50").only)


def test_flags_of_another_length_are_told_by_name(tmp_path: Path) -> None:
    write(tmp_path, {"gt/cat-1.txt": BOXES, "gt/absent/cat-1.txt": "0101"})
    with pytest.raises(DataError, match=r"absent/cat-1\.txt: 4 values for 3 frames"):
        read_truths(tmp_path, "lasot")


def test_names_in_any_spelling() -> None:
    assert find_suite("OTB2015").name == "otb100"
    assert find_suite("GOT-10k").name == "got10k-val"
    assert find_suite("VOT2018_LT").name == "vot2018-lt"
    assert SUITES["vot2019"].stack.interval == (46, 291)
    with pytest.raises(ConfigError, match="did you mean 'vot2018'"):
        find_suite("vot2o18")


def test_files_at_the_top_are_the_annotation(tmp_path: Path) -> None:
    files = {"Car1.txt": BOXES, "extra/Car1.txt": "x", "cover/Car1.txt": "1\n0\n1\n"}
    (truth,) = read_truths(write(tmp_path, files), "got10k-val").values()
    assert truth.visible is not None
    assert truth.visible.tolist() == [True, False, True]


def test_masks_are_read_as_when_a_tracker_is_run(tmp_path: Path) -> None:
    truth = "m1,2,3,4,0,12\nm0,0,0,0,0\n0\nm5,6,7,8,2,3,51\n9,9,2,2\n"
    write(tmp_path, {"ants1/groundtruth.txt": truth, "ants1/anchor.value": "1\n0\n0\n0\n-1\n", "list.txt": "ants1\n"})
    (tmp_path / "ants1" / "color").mkdir()
    for n in range(5):
        cv2.imwrite(str(tmp_path / "ants1" / "color" / f"{n:08d}.jpg"), np.zeros((24, 32, 3), dtype=np.uint8))
    (found,) = read_truths(tmp_path, "vot", needs_size=True).values()
    nothing = [np.nan] * 4
    np.testing.assert_array_equal(found.regions, [[1, 2, 3, 4], nothing, nothing, [5, 6, 7, 8], [9, 9, 2, 2]])
    (run,) = read_dataset("vot", tmp_path)
    np.testing.assert_array_equal(run.annotation().regions, found.regions)


def test_a_mask_that_is_none_is_named(tmp_path: Path) -> None:
    for wrong in ("m1,2,3", "m1,2,3,x,4", "mask"):
        write(tmp_path, {"ants1/groundtruth.txt": f"m1,2,3,4,0,12\n{wrong}\n"})
        with pytest.raises(DataError, match=r"ants1/groundtruth\.txt: line 2: expected a mask"):
            read_truths(tmp_path, "vot")
