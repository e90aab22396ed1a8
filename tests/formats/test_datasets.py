"""Readers of data sets, each on a small copy of the layout as it is distributed, special cases included."""

from __future__ import annotations

import gc
import os
import pickle
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from siamtrack.errors import ConfigError, DataError
from siamtrack.formats.archive import SharedArchive
from siamtrack.formats.datasets import LAYOUTS, read_dataset
from siamtrack.formats.lasot import LASOT_TEST
from siamtrack.formats.otb import OTB_ATTRIBUTES
from siamtrack.formats.sequence import ImageFrames, VideoSequence
from siamtrack.formats.uav123 import UAV123_STARTS
from toy_sets import SIZE, draw, lines, path_of

ONE = np.array([1.0, 1.0, 0.0, 0.0])  # files that count pixels from one
TWO = np.array([2.0, 0.0, 0.0, 0.0])


def by_name(name: str, root: Path) -> dict[str, VideoSequence]:
    return {s.name: s for s in read_dataset(name, root)}


def names(sequence: VideoSequence) -> tuple[str, ...]:
    assert isinstance(sequence.frames, ImageFrames)
    return tuple(name.rpartition("/")[2] for name in sequence.frames.names)


def touch(folder: Path, pattern: str, first: int, count: int) -> None:
    """Frames that are never opened."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(first, first + count):
        (folder / (pattern % n)).touch()


def seen_at(sequence: VideoSequence, index: int) -> np.ndarray:
    """The block's box in the frame itself, found from its pixels."""
    ys, xs = np.nonzero(sequence.frames[index][:, :, 0] > 200)
    return np.array([xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()], dtype=float)


def assert_on_target(sequence: VideoSequence) -> None:
    """Truth and frames belong together: no frame too early or late, no pixel off."""
    for index in range(len(sequence)):
        if not np.isnan(sequence.truth[index]).any():
            np.testing.assert_array_equal(sequence.box(index), seen_at(sequence, index), str(index))


def test_folder(tmp_path: Path) -> None:
    boxes = path_of(5)
    boxes[3] = np.nan
    draw(tmp_path / "b" / "img", boxes)
    (tmp_path / "b" / "groundtruth.txt").write_text(lines(boxes))
    draw(tmp_path / "a", path_of(4))
    (tmp_path / "a" / "groundtruth.txt").write_text(lines(path_of(4)))
    (tmp_path / "notes").mkdir()
    found = by_name("folder", tmp_path)
    assert list(found) == ["a", "b"]
    assert_on_target(found["a"])
    assert_on_target(found["b"])
    assert found["b"].absent(3) and not found["b"].absent(2)
    assert found["b"].size == SIZE
    assert list(by_name("folder", tmp_path / "b")) == ["b"]


def test_dev_folder(shared: Path) -> None:
    found = read_dataset("folder", shared / "data" / "dev")
    assert len(found) == 16
    assert all(s.has_truth and s.frames[len(s) - 1].shape[:2] == s.size[::-1] for s in found[:3])


def test_otb_special_cases(tmp_path: Path) -> None:
    def write(folder: str, count: int, first: int, images: int, pattern: str, file: str, extra: int = 0) -> None:
        boxes = path_of(count)
        draw(tmp_path / folder / "img", boxes, pattern, first)
        touch(tmp_path / folder / "img", pattern, first + count, images - count)
        (tmp_path / folder / file).write_text(lines(np.pad(boxes + ONE, ((extra, 0), (0, 0)))))

    write("Basketball", 6, 1, 6, "%04d.jpg", "groundtruth_rect.txt")
    write("David", 5, 300, 9, "%04d.jpg", "groundtruth_rect.txt")
    write("Football1", 6, 1, 8, "%04d.jpg", "groundtruth_rect.txt")
    write("BlurCar1", 5, 247, 5, "%04d.jpg", "groundtruth_rect.txt")
    write("BlurCar3", 5, 3, 5, "%04d.jpg", "groundtruth_rect.txt")
    write("BlurCar4", 5, 18, 5, "%04d.jpg", "groundtruth_rect.txt")
    write("Board", 5, 1, 5, "%05d.jpg", "groundtruth_rect.txt")
    write("Jogging", 5, 1, 5, "%04d.jpg", "groundtruth_rect.1.txt")
    (tmp_path / "Jogging" / "groundtruth_rect.2.txt").write_text(lines(path_of(5) + ONE + TWO))
    write("Human4", 5, 1, 5, "%04d.jpg", "groundtruth_rect.2.txt")
    (tmp_path / "Human4" / "groundtruth_rect.1.txt").write_text("")
    found = by_name("otb", tmp_path)
    assert set(found) == {
        *("Basketball", "David", "Football1", "BlurCar1", "BlurCar3", "BlurCar4", "Board"),
        *("Jogging-1", "Jogging-2", "Human4-2"),
    }
    for name in set(found) - {"Jogging-2"}:
        assert_on_target(found[name])
    assert names(found["David"])[0] == "0300.jpg" and names(found["Board"])[0] == "00001.jpg"
    np.testing.assert_array_equal(found["Jogging-2"].truth, path_of(5) + TWO)
    np.testing.assert_array_equal(found["David"].annotation().regions, path_of(5) + ONE)
    assert set(found["Jogging-2"].tags) == {"OCC", "DEF", "OPR"}
    assert found["Board"].tags["BC"].all()


def test_otb_tiger1_leaves_its_first_five_frames_out(tmp_path: Path) -> None:
    boxes = path_of(354, speed=(0.1, 0.05))
    folder = tmp_path / "Tiger1"
    draw(folder / "img", boxes[:12])
    touch(folder / "img", "%08d.jpg", 1, 0)
    for path in sorted((folder / "img").iterdir()):
        path.rename(path.with_name(path.name[4:]))
    touch(folder / "img", "%04d.jpg", 13, 354 - 12)
    truth = folder / "groundtruth_rect.txt"
    for kept in (boxes, boxes[5:]):  # the official file, and PySOT's copy of it
        truth.write_text("\n".join("\t".join(f"{v:g}" for v in row) for row in kept + ONE))
        (found,) = read_dataset("otb", tmp_path)
        assert len(found) == 349 and names(found)[0] == "0006.jpg" and names(found)[-1] == "0354.jpg"
        np.testing.assert_array_equal(found.box(2), seen_at(found, 2))


def test_otb_lists_agree_with_the_attributes() -> None:
    from siamtrack.evaluation.suites import find_suite

    known = set().union(*OTB_ATTRIBUTES.values())
    assert len(known) == 98  # folders; Jogging and Skating2 count twice in the 100
    for name in ("otb2013", "otb50"):
        listed = {re.sub(r"-\d$", "", n) for n in find_suite(name).only}
        assert listed <= known


@pytest.mark.parametrize("colour", ["", "color"])
def test_vot_reset_layouts(tmp_path: Path, colour: str) -> None:
    boxes = path_of(6)
    x, y, w, h = boxes.T
    polygons = np.stack([x, y + h, x, y, x + w, y, x + w, y + h], axis=1)
    folder = tmp_path / "bag"
    draw(folder / colour, boxes)
    (folder / "groundtruth.txt").write_text(lines(polygons))
    (folder / "occlusion.tag").write_text("0\n1\n1\n")
    (folder / "size_change.label").write_text("1\n0\n0\n0\n0\n0\n")
    if colour:
        (folder / "sequence").write_text("channels.color=color/%08d.jpg\nfps=30\nformat=default\nname=bag\n")
    (tmp_path / "list.txt").write_text("bag\n")
    (tmp_path / "other").mkdir()
    (found,) = read_dataset("vot", tmp_path)
    assert found.truth.shape == (6, 8)
    assert_on_target(found)
    np.testing.assert_array_equal(found.tags["occlusion"], [0, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(found.tags["size_change"], [1, 0, 0, 0, 0, 0])
    assert found.anchors is None


def test_vot_multistart_with_masks(tmp_path: Path) -> None:
    boxes = path_of(5)
    folder = tmp_path / "sequences" / "ants1"
    draw(folder / "color", boxes)
    masks = [f"m{x:g},{y:g},{w:g},{h:g},0,{w * h:g}" for x, y, w, h in boxes]
    masks[3] = "m0,0,0,0,0"
    (folder / "groundtruth.txt").write_text("\n".join(masks))
    (folder / "anchor.value").write_text("1\n0\n0\n0\n-1\n")
    (tmp_path / "sequences" / "list.txt").write_text("ants1\n")
    (found,) = read_dataset("vot", tmp_path)
    assert_on_target(found)
    assert found.absent(3)
    np.testing.assert_array_equal(found.anchors, [1, 0, 0, 0, -1])


def test_vot_longterm(tmp_path: Path) -> None:
    boxes = path_of(5)
    boxes[2] = np.nan
    draw(tmp_path / "ballet" / "color", boxes)
    (tmp_path / "ballet" / "groundtruth.txt").write_text(lines(boxes))
    (tmp_path / "list.txt").write_text("ballet")
    (found,) = read_dataset("vot", tmp_path)
    assert_on_target(found)
    assert [found.absent(i) for i in range(5)] == [False, False, True, False, False]


def test_a_listed_vot_sequence_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("bag\n")
    with pytest.raises(DataError, match="bag"):
        read_dataset("vot", tmp_path)


def uav(root: Path, benchmark: str, videos: str, table: dict[str, tuple[str, int]]) -> None:
    for name, (video, first) in table.items():
        boxes = path_of(4)
        draw(root / "data_seq" / videos / video, boxes, "%06d.jpg", first)
        place = root / "anno" / benchmark
        (place / "att").mkdir(parents=True, exist_ok=True)
        (place / f"{name}.txt").write_text(lines(boxes + ONE).replace("nan", "NaN"))
        (place / "att" / f"{name}.txt").write_text("1,0,0,0,0,0,0,0,0,0,0,1")


def test_uav123(tmp_path: Path) -> None:
    uav(
        tmp_path,
        "UAV123",
        "UAV123",
        {"bike1": ("bike1", 1), "car1_2": ("car1", 751), "car1_s": ("car1_s", 1)},
    )
    uav(tmp_path, "UAV123_10fps", "UAV123_10fps", {"bird1_2": ("bird1", 259), "uav1_3": ("uav1", 825)})
    uav(tmp_path, "UAV20L", "UAV123", {"car8": ("car8", 1)})
    for name, count in (("uav123", 3), ("uav123-10fps", 2), ("uav20l", 1)):
        found = read_dataset(name, tmp_path)
        assert len(found) == count
        for sequence in found:
            assert_on_target(sequence)
            assert set(sequence.tags) == {"SV", "SOB"} and sequence.origin == 1
    assert len(UAV123_STARTS) == 32


def test_lasot(tmp_path: Path) -> None:
    boxes = path_of(5)
    for folder in (tmp_path / "airplane" / "airplane-1", tmp_path / "zebra-10", tmp_path / "zebra-1"):
        draw(folder / "img", boxes)
        (folder / "groundtruth.txt").write_text(lines(boxes + ONE))
        (folder / "full_occlusion.txt").write_text("0,0,1,0,0")
        (folder / "out_of_view.txt").write_text("0,0,0,1,0")
        (folder / "nlp.txt").write_text("white airplane landing")
    found = by_name("lasot", tmp_path)
    assert list(found) == ["airplane-1", "zebra-10"]  # zebra-1 is for training
    for sequence in found.values():
        assert_on_target(sequence)
        np.testing.assert_array_equal(sequence.visible, [1, 1, 0, 0, 1])
    (tmp_path / "testing_set.txt").write_text("zebra-1\n")
    assert list(by_name("lasot", tmp_path)) == ["zebra-1"]


def test_lasot_list_is_that_of_the_reference_annotation(shared: Path) -> None:
    import zipfile

    with zipfile.ZipFile(shared / "golden" / "metrics" / "gt" / "lasot_test.zip") as archive:
        listed = {Path(n).stem for n in archive.namelist() if n.endswith(".txt")}
    assert set(LASOT_TEST) == listed


def test_trackingnet(tmp_path: Path) -> None:
    boxes = path_of(12)
    draw(tmp_path / "TEST" / "frames" / "abc_0", boxes, "%d.jpg", 0)
    (tmp_path / "TEST" / "anno").mkdir()
    (tmp_path / "TEST" / "anno" / "abc_0.txt").write_text(lines(boxes[:1]))
    (found,) = read_dataset("trackingnet", tmp_path)
    assert len(found) == 12 and not found.has_truth
    for index in range(12):  # 10.jpg comes after 9.jpg
        np.testing.assert_array_equal(seen_at(found, index), boxes[index])


def test_got10k(tmp_path: Path) -> None:
    boxes = path_of(4)
    for split, rows in (("val", 4), ("test", 1)):
        folder = tmp_path / split / f"GOT-10k_{split.title()}_000001"
        draw(folder, boxes)
        (folder / "groundtruth.txt").write_text(lines(boxes[:rows]))
        (tmp_path / split / "list.txt").write_text(f"{folder.name}\n")
    val = tmp_path / "val" / "GOT-10k_Val_000001"
    (val / "cover.label").write_text("8\n8\n0\n1\n")
    (val / "absence.label").write_text("0\n0\n1\n0\n")
    (val / "meta_info.ini").write_text("[METAINFO]\nresolution: (64, 48)\n")
    (found,) = read_dataset("got10k-val", tmp_path)
    assert_on_target(found)
    np.testing.assert_array_equal(found.visible, [1, 1, 0, 1])
    for place in (tmp_path, tmp_path / "test"):
        (hidden,) = read_dataset("got10k-test", place)
        assert hidden.name == "GOT-10k_Test_000001" and len(hidden) == 4 and not hidden.has_truth


def test_tc128(tmp_path: Path) -> None:
    boxes = path_of(5)
    folder = tmp_path / "Ball_ce1"
    draw(folder / "img", boxes, "%04d.jpg", 3)
    touch(folder / "img", "%04d.jpg", 1, 2)
    (folder / "Ball_ce1_gt.txt").write_text(lines(boxes + ONE))
    (folder / "Ball_ce1_frames.txt").write_text("3,7\n")
    (folder / "Ball_ce1_att.txt").write_text("OCC, FM")
    (found,) = read_dataset("tc128", tmp_path)
    assert_on_target(found)
    (folder / "Ball_ce1_frames.txt").write_text("3,9\n")
    with pytest.raises(DataError, match="of 5 frames"):
        read_dataset("tc128", tmp_path)


def test_dtb70(tmp_path: Path) -> None:
    boxes = path_of(5)
    draw(tmp_path / "Animal1" / "img", boxes, "%05d.jpg")
    (tmp_path / "Animal1" / "groundtruth_rect.txt").write_text(lines(boxes + ONE))
    (found,) = read_dataset("dtb70", tmp_path)
    assert_on_target(found)


@pytest.mark.parametrize(("rate", "every", "surplus"), [("240", 1, 0), ("30", 1, 1), ("30", 8, 3)])
def test_nfs(tmp_path: Path, rate: str, every: int, surplus: int) -> None:
    count = 5
    boxes = path_of(count * every if every > 1 else count + surplus, speed=(1 / every, 0.5 / every))
    shown = boxes[::every][:count]
    folder = tmp_path / "airboard_1" / rate
    draw(folder / "airboard_1", shown, "%05d.jpg")
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    rows = [f'0 {a:g} {b:g} {c:g} {d:g} {n} 0 0 0 "airboard"' for n, (a, b, c, d) in enumerate(corners)]
    (folder / "airboard_1.txt").write_text("\n".join(rows) + "\n")
    (found,) = read_dataset(f"nfs{rate}", tmp_path)
    assert len(found) == count
    assert_on_target(found)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'lasot'"):
        read_dataset("lasott", tmp_path)
    with pytest.raises(DataError, match="nothing of that name is there"):
        read_dataset("otb", tmp_path / "nowhere")
    for name in LAYOUTS:
        with pytest.raises(DataError) as caught:
            read_dataset(name, tmp_path)
        assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_wrong_number_of_lines_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "x" / "img", path_of(5))
    (tmp_path / "x" / "groundtruth.txt").write_text(lines(path_of(4)))
    with pytest.raises(DataError, match="4 lines for 5 frames"):
        read_dataset("folder", tmp_path)


def test_a_frame_that_is_broken_or_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"not an image")
    frames = ImageFrames(SharedArchive(tmp_path, ""), ("1.jpg", "2.jpg"))
    with pytest.raises(DataError, match=r"1\.jpg"):
        frames[0]
    with pytest.raises(DataError, match=r"2\.jpg"):
        frames[1]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A zip file of 20 sequences of two frames."""
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(20):
            for frame in range(2):
                picture = cv2.imencode(".png", np.full((30, 40, 3), 10 * n + frame, np.uint8))[1]
                archive.writestr(f"s{n:02d}/img/{frame}.png", picture.tobytes())
            archive.writestr(f"s{n:02d}/groundtruth.txt", "5,5,9,9\n" * 2)
    return path


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_the_sequences_of_a_zip_file_share_one_open_file(packed: Path) -> None:
    def open_files() -> list[Path]:
        return [link for link in Path("/proc/self/fd").iterdir() if link.exists() and link.samefile(packed)]

    found = read_dataset("folder", packed)
    assert not open_files(), "nothing has been read from it yet"
    assert {sequence.annotation().size for sequence in found} == {(40, 30)}
    assert [int(sequence.frames[1][0, 0, 0]) for sequence in found] == list(range(1, 200, 10))
    assert len(open_files()) == 1
    copy = pickle.loads(pickle.dumps(found[3]))
    assert copy.frames[0][0, 0, 0] == 30 and copy.frames == found[3].frames
    del found, copy
    gc.collect()
    assert not open_files()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_threads_and_forked_processes_read_a_zip_file_at_once(packed: Path) -> None:
    found = read_dataset("folder", packed)

    def wrong() -> int:
        read = [int(found[n % 20].frames[n % 2][0, 0, 0]) == n % 20 * 10 + n % 2 for n in range(200)]
        return read.count(False)

    assert wrong() == 0
    child = os.fork()
    if child == 0:
        try:
            os._exit(min(wrong(), 99))
        except BaseException:
            os._exit(100)
    with ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(lambda _: wrong(), range(3)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and counts == [0, 0, 0]


def test_no_more_files_can_be_opened_is_told_as_that(packed: Path) -> None:
    resource = pytest.importorskip("resource")
    found = read_dataset("folder", packed)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                stack.enter_context(Path(os.devnull).open("rb"))
        with pytest.raises(DataError, match=r"packed\.zip: .*[Tt]oo many open files"):
            found[0].annotation()
    assert found[0].annotation().size == (40, 30)
