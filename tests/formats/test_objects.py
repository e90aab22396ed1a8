"""Readers of original annotations, on tiny copies of the real layouts; and the index that they fill."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from layouts import (
    BY_NAME,
    HEIGHT,
    LAYOUTS,
    WIDTH,
    citypersons,
    got10k,
    lasot,
    mot,
    save,
    sequences,
    trackingnet,
    widerface,
    write,
)
from made_crops import picture
from siamtrack.data.index import Index, build_index, load_index, read_pictures, save_index
from siamtrack.errors import ConfigError, DataError
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import Problem, is_validation, picture_size
from siamtrack.formats.objects import find_object_layout
from siamtrack.video.reader import open_source


def boxes(index: Index) -> dict[str, dict[int, tuple[float, ...]]]:
    found: dict[str, dict[int, tuple[float, ...]]] = {}
    for track, frame, box in zip(index.track, index.frame, index.boxes, strict=True):
        found.setdefault(index.track_names[track], {})[int(frame)] = tuple(box.tolist())
    return found


def read(root: Path, name: str = "") -> tuple[Index, list[Problem]]:
    return build_index(root, find_object_layout(root, name), validation=True)


@pytest.mark.parametrize("case", ["vid", "det", "coco", "youtubebb", "widerface", "citypersons"])
def test_a_validation_split_trains_when_it_is_asked_for(tmp_path: Path, case: str) -> None:
    LAYOUTS[case][1](tmp_path)
    if case == "coco":
        shutil.copy(tmp_path / "annotations/instances_train2017.json", tmp_path / "annotations/instances_val2017.json")
        shutil.copytree(tmp_path / "train2017", tmp_path / "val2017")
    if case == "det":
        for kind in ("Annotations", "Data"):
            shutil.copytree(tmp_path / f"{kind}/DET/train", tmp_path / f"{kind}/DET/val")
    if case == "youtubebb":
        shutil.copy(tmp_path / "yt_bb_detection_train.csv", tmp_path / "yt_bb_detection_validation.csv")
        shutil.copytree(tmp_path / "train", tmp_path / "validation")
    layout = find_object_layout(tmp_path, LAYOUTS[case][0])
    everything, _ = build_index(tmp_path, layout, validation=True)
    index, problems = build_index(tmp_path, layout)
    assert 0 < len(index) < len(everything)
    assert any("val" in name for name in everything.track_names) and not any("val" in t for t in index.track_names)
    (told,) = (problem for problem in problems if problem.kind == "validation split")
    assert "left out; --validation takes them" in told.detail


@pytest.mark.parametrize("part", ["VID/val/ILSVRC2015_val_00000001", "instances_val2017", "validation", "labels/valid"])
def test_validation_is_told_by_the_name_of_a_folder_or_file(part: str) -> None:
    assert is_validation(part)
    assert not is_validation(part.replace("val", "trainval")) and not is_validation(part.replace("val", "valley"))


def test_a_category_has_one_name_in_several_sets(tmp_path: Path) -> None:
    """What SPM's generalized training takes for one category does not depend on the set."""
    found = {}
    for case in ("vid", "coco", "det", "citypersons"):
        LAYOUTS[case][1](tmp_path / case)
        found[case] = set(read(tmp_path / case, LAYOUTS[case][0])[0].category_names)
    assert found["vid"] == {"dog"} <= found["coco"]
    assert found["det"] == {"n01440764"}, "of no other set"
    assert found["citypersons"] == {"person"}, "pedestrians and riders"


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_layout_is_recognised_and_read(tmp_path: Path, case: str):
    name, make, category = LAYOUTS[case]
    truth = make(tmp_path)
    assert find_object_layout(tmp_path).name == name
    index, problems = read(tmp_path)
    assert problems == []
    found = boxes(index)
    assert found.keys() == truth.keys()
    for track, frames in truth.items():
        assert found[track].keys() == frames.keys()
        for frame, box in frames.items():
            assert found[track][frame] == pytest.approx(box, abs=1e-3)
    assert category in index.category_names
    pictures = list(read_pictures(index.root, index.image_names))
    assert [(p.shape if p is not None else None, wrong) for _, p, wrong in pictures] == [
        ((HEIGHT, WIDTH, 3), "") for _ in index.image_names
    ]


@pytest.mark.parametrize("name", BY_NAME)
def test_a_layout_is_read_by_its_name(tmp_path: Path, name: str):
    truth = BY_NAME[name](tmp_path)
    index, problems = read(tmp_path, name)
    assert problems == []
    assert index.category_names == ("dog",)
    found = boxes(index)
    assert found.keys() == truth.keys()
    for track, frames in truth.items():
        assert {f: pytest.approx(b, abs=1e-3) for f, b in frames.items()} == found[track]
    assert not any(track in truth for track in read(tmp_path)[0].track_names)  # else they are stills


def test_objects_of_one_class_in_one_frame_are_no_track(tmp_path: Path):
    BY_NAME["yolo-video"](tmp_path)
    label = tmp_path / "walk/labels/001.txt"
    label.write_text(label.read_text() * 2)
    index, _ = read(tmp_path, "yolo-video")
    assert len(index.track_names) == 4 and set(index.frame.tolist()) == {0}


@pytest.mark.parametrize("last", ["1", "1.0", "0", "0.0"])
def test_three_points_in_a_folder_of_polygons_are_no_box_with_a_track(tmp_path: Path, last: str):
    for name, line in (("a", f"0 0.5 0.5 0.75 0.5 0.6 {last}"), ("b", "0 0.1 0.2 0.3 0.4 0.5 0.6 0.1 0.1")):
        save(tmp_path / f"images/{name}.png")
        write(tmp_path / f"labels/{name}.txt", line + "\n")
    index, problems = read(tmp_path)
    assert problems == []
    low, high = sorted((0.5 * HEIGHT, float(last) * HEIGHT))
    (found,) = boxes(index)["labels/a/0"].values()
    assert found == pytest.approx((0.5 * WIDTH, low, 0.75 * WIDTH, high))
    write(tmp_path / "labels/b.txt", "0 0.1 0.2 0.3 0.4 0.9 7\n")  # boxes with tracks
    tracks = boxes(read(tmp_path)[0])
    (found,) = tracks[{"1": "labels/1", "0": "labels/0"}.get(last, "labels/a/0")].values()
    assert found == pytest.approx((0.125 * WIDTH, 0.25 * HEIGHT, 0.875 * WIDTH, 0.75 * HEIGHT))


def test_a_problem_of_imagenets_second_object_names_the_file(tmp_path: Path):
    place = "VID/val/ILSVRC2015_val_00000001"
    save(tmp_path / f"Data/{place}/000000.JPEG")
    thing = "<object><trackid>0</trackid><name>n02084071</name><bndbox>{}</bndbox></object>"
    good = thing.format("<xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax>")
    write(tmp_path / f"Annotations/{place}/000000.xml", f"<annotation>{good}{thing.format('')}</annotation>")
    (problem,) = read(tmp_path)[1]
    assert problem.path.endswith(f"Annotations/{place}/000000.xml")


def test_frames_of_a_sequence_are_in_natural_order(tmp_path: Path):
    sequences(tmp_path)
    index, _ = read(tmp_path)
    row = np.flatnonzero((index.frame == 2) & (index.track == index.track_names.index("one")))[0]
    assert index.image_names[index.image[row]] == "one/2.jpg"


@pytest.mark.parametrize("suffix", [".pgm", ".jp2", ".PNM", ".Tif"])
def test_images_are_found_as_track_finds_them(tmp_path: Path, suffix: str):
    images = tmp_path / "walk" / "img"
    images.mkdir(parents=True)
    for number in range(1, 4):
        Image.new("L", (WIDTH, HEIGHT), 40 * number).save(images / f"{number}{suffix}")
    (tmp_path / "walk" / "groundtruth.txt").write_text("2,3,9,8\n" * 3)
    index, problems = read(tmp_path)
    with open_source(images) as frames:
        tracked = [frame.mean() for frame in frames]
    found = {name: picture for name, picture, _ in read_pictures(index.root, index.image_names)}
    assert problems == [] and len(tracked) == len(index) == 3
    assert [found[name].mean() for name in index.image_names] == tracked


def test_frames_of_a_video_are_the_right_ones(tmp_path: Path):
    LAYOUTS["cvat_video"][1](tmp_path)
    names = ("clip.mp4#1", "clip.mp4#4", "clip.mp4#0", "clip.mp4#99")
    found = {name: (shown, wrong) for name, shown, wrong in read_pictures(tmp_path, names)}
    for name, number in (("clip.mp4#1", 1), ("clip.mp4#4", 4), ("clip.mp4#0", 0)):
        differences = [
            np.abs(found[name][0].astype(int) - picture(seed, WIDTH, HEIGHT).astype(int)).mean() for seed in range(6)
        ]
        assert int(np.argmin(differences)) == number
    assert found["clip.mp4#99"] == (None, "unreadable frame")


def test_an_index_comes_back_as_it_was_and_is_whole_or_nothing(tmp_path: Path):
    got10k(tmp_path / "data")
    index, _ = read(tmp_path / "data")
    path = tmp_path / "sub" / "i.npz"
    save_index(index, path)
    again = load_index(path)
    for name in ("image", "track", "frame", "category", "boxes"):
        assert np.array_equal(getattr(again, name), getattr(index, name))
    assert (again.source, again.root, again.image_names, again.track_names, again.category_names) == (
        index.source, index.root, index.image_names, index.track_names, index.category_names,
    )  # fmt: skip
    assert [p.name for p in path.parent.iterdir()] == ["i.npz"]
    for content in (b"", b"text", path.read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"i\.npz is no index"):
            load_index(path)


def test_an_index_is_compact(tmp_path: Path):
    trackingnet(tmp_path)
    index, _ = read(tmp_path)
    repeated = Index(
        "x", index.root, *(np.tile(getattr(index, c), 2000) for c in ("image", "track", "frame", "category")),
        np.tile(index.boxes, (2000, 1)), index.image_names, index.track_names, index.category_names, index.track_videos,
    )  # fmt: skip
    save_index(repeated, tmp_path / "i.npz")
    assert (tmp_path / "i.npz").stat().st_size < 10 * len(repeated)


def test_an_index_with_pickled_objects_is_refused(tmp_path: Path):
    np.savez(tmp_path / "i.npz", header=np.array([{"version": 1}], dtype=object))
    with pytest.raises(DataError, match="is no index"):
        load_index(tmp_path / "i.npz")


@pytest.mark.parametrize("name", ["image", "image_names"])
def test_an_index_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path, name: str):
    got10k(tmp_path / "data")
    save_index(read(tmp_path / "data")[0], tmp_path / "i.npz")
    with zipfile.ZipFile(tmp_path / "i.npz") as whole, zipfile.ZipFile(tmp_path / "bomb.npz", "w", 8) as bomb:
        for member in whole.infolist():
            if member.filename != f"{name}.npy":
                bomb.writestr(member.filename, whole.read(member))
        with bomb.open(f"{name}.npy", "w", force_zip64=True) as out:
            np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": (2200 << 20,)})
            for _ in range(2200):
                out.write(bytes(1 << 20))
    with pytest.raises(DataError, match=r"bomb\.npz is no index .* it unpacks to 2200 MB"):
        load_index(tmp_path / "bomb.npz")


def test_wrong_lengths_are_told(tmp_path: Path):
    for make, name in ((got10k, "got10k"), (trackingnet, "trackingnet"), (lasot, "lasot"), (mot, "mot")):
        root = tmp_path / name
        make(root)
        victim = max(root.glob("**/*.jpg"), key=lambda p: ("-2" not in str(p), int(p.stem)))
        victim.unlink()
        index, problems = read(root)
        assert {p.kind for p in problems} == {"wrong length"}, name
        assert len(index) > 0


def test_unreadable_annotations_do_not_stop_the_rest(tmp_path: Path):
    truth = LAYOUTS["vid"][1](tmp_path)
    broken = next((tmp_path / "Annotations/VID/val").glob("*/000001.xml"))
    broken.write_text("<annotation><object>")
    index, problems = read(tmp_path)
    assert [(p.kind, p.path) for p in problems] == [("unreadable annotation", str(broken))]
    assert len(index) == sum(map(len, truth.values())) - 1


@pytest.mark.parametrize("text", ["1,2,3\n", "a,b,c,d\n", "1,2,3,4\n1,2,3\n", ""])
def test_malformed_boxes_are_told(tmp_path: Path, text: str):
    save(tmp_path / "one/0.jpg")
    write(tmp_path / "one.txt", text)
    index, problems = read(tmp_path)
    assert [p.kind for p in problems] == ["unreadable annotation"]
    assert len(index) == 0


def test_no_layout(tmp_path: Path):
    with pytest.raises(DataError, match="found no annotations"):
        find_object_layout(tmp_path)
    with pytest.raises(ConfigError, match=r"unknown layout 'got1k'; did you mean 'got10k'"):
        find_object_layout(tmp_path, "got1k")
    with pytest.raises(DataError, match="nothing of that name is there"):
        find_object_layout(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("suffix", "options"), [(".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), (".png", []), (".bmp", [])]
)
def test_the_size_of_a_picture(tmp_path: Path, suffix: str, options: list[int]):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.zeros((37, 91, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] * (suffix == ".jpg"))
    assert picture_size(Archive(path.parent), path.name) == (91, 37)
    path.write_bytes(path.read_bytes()[:12])
    assert picture_size(Archive(path.parent), path.name) is None
    assert picture_size(Archive(tmp_path), "none.jpg") is None


def test_linked_folders_are_followed(tmp_path: Path):
    sequences(tmp_path / "far")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "two").symlink_to(tmp_path / "far" / "two")
    index, problems = read(tmp_path / "near")
    assert (len(index), problems) == (11, [])


@pytest.mark.parametrize("listed", [True, False])
def test_lasot_test_sequences_are_never_trained_on(tmp_path: Path, listed: bool):
    truth = lasot(tmp_path)
    if not listed:
        (tmp_path / "testing_set.txt").unlink()
    index, _ = read(tmp_path)
    assert (index.source, set(index.track_names)) == ("lasot", set(truth))
    shutil.rmtree(tmp_path / "airplane" / "airplane-3")
    for name in ("", "folder"):  # nor where only test sequences are left, by any layout
        with pytest.raises(DataError, match="found no annotations"):
            find_object_layout(tmp_path, name)


def test_got10k_validation_is_not_taken_for_ones_own_clips(tmp_path: Path):
    folder = tmp_path / "val" / "GOT-10k_Val_000001"
    save(folder / "00000001.jpg")
    write(folder / "groundtruth.txt", "1,2,3,4\n")
    with pytest.raises(DataError, match="found no annotations"):
        find_object_layout(tmp_path)


@pytest.mark.parametrize("make", [widerface, citypersons])
def test_a_missing_image_of_faces_or_persons_is_told(tmp_path: Path, make):
    truth = make(tmp_path)
    victim = min(path for path in tmp_path.rglob("*") if "_799.jpg" in path.name or "_000019_left" in path.name)
    victim.unlink()
    index, (problem,) = read(tmp_path)
    assert (problem.kind, problem.path) == ("missing file", str(victim))
    assert problem.detail == f"{len(truth) - len(index)} boxes" and len(index) > 0
    assert str(victim.relative_to(tmp_path)) not in index.image_names


@pytest.mark.parametrize("zeros", ["", "0 0 0 0 0 0 0 0 0 0 \n"])
def test_an_image_without_faces_has_no_box_and_needs_no_file(tmp_path: Path, zeros: str):
    save(tmp_path / "WIDER_train/images/1--A/b.png")
    text = f"1--A/a.jpg\n0\n{zeros}1--A/b.png\n1\n20 40 30 24 0 0 0 0 0 0\n"
    write(tmp_path / "wider_face_split/wider_face_train_bbx_gt.txt", text)
    index, problems = read(tmp_path)
    assert problems == []
    assert boxes(index) == {"train/1--A/b/0": {0: (20, 40, 50, 64)}}
    assert index.image_names == ("WIDER_train/images/1--A/b.png",)


@pytest.mark.parametrize(
    ("text", "said", "kept"),
    [
        ("a.jpg\n2\n{face}\nb.jpg\n1\n{face}\n", "a.jpg: 1 lines of faces; expected as many as told, '2'", 2),
        ("a.jpg\n1\n{face}\n{face}\n", "a.jpg: 2 lines of faces; expected as many as told, '1'", 2),
        ("a.jpg\n0\n{face}\n", "a.jpg: 1 lines of faces; expected as many as told, '0'", 1),
        ("a.jpg\n{face}\n{face}\n", "a.jpg: 1 lines of faces; expected as many as told, '{face}'", 1),
        ("a.jpg", "a.jpg: 0 lines of faces; expected as many as told, ''", 0),
        ("1\n{face}\n", "expected the name of an image, got '1'", 0),
        ("", "expected the name of an image, got ''", 0),
        ("a.jpg\n2\n20 40 30 24\n{face}\n", "a.jpg, face 1: 4 numbers; expected 10", 1),
        ("a.jpg\n2\n{face}\n20 40 x 24 0 0 0 0 0 0\n", "a.jpg, face 2: expected a number, got 'x'", 1),
        ("a.jpg\n1\n20 40 nan 24 0 0 0 0 0 0\n", "a.jpg, face 1: a box of numbers that are not finite", 0),
    ],
)
def test_a_broken_list_of_faces_is_told_and_the_rest_is_read(tmp_path: Path, text: str, said: str, kept: int):
    face = "20 40 30 24 0 0 0 0 0 0"
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path / f"WIDER_val/images/{name}")
    place = tmp_path / "wider_face_split/wider_face_val_bbx_gt.txt"
    write(place, text.format(face=face))
    index, (problem,) = read(tmp_path)
    assert problem == Problem("unreadable annotation", str(place), said.format(face=face))
    assert index.boxes.tolist() == [[20, 40, 50, 64]] * kept


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"objects": [{"label": "rider"}, THING]}', "object 0: 'bbox' is missing"),
        ('{"objects": [{"bbox": [1, 2, 3, 4]}, THING]}', "object 0: 'label' is missing"),
        ('{"objects": [THING, {"label": "rider", "bbox": [1, 2, 3]}]}', "object 1: not enough values"),
        ('{"objects": [THING, {"label": "rider", "bbox": "1234"}]}', "object 1: a value of another kind"),
        ('{"objects": [THING, {"label": "rider", "bbox": [1, 2, 1e999, 4]}]}', "object 1: a box of numbers"),
        ('{"objects": [THING, {"label": 7, "bbox": [1, 2, 3, 4]}]}', "object 1: a value of another kind"),
        ('{"objects": [THING, 5]}', "object 1: a value of another kind"),
        ('{"imgHeight": 1024}', "not CityPersons' objects: 'objects' is missing"),
        ('{"objects": 5}', "not CityPersons' objects: a value of another kind"),
        ("[", "not CityPersons' objects: expected JSON"),
    ],
)
def test_a_broken_file_of_persons_is_told_and_the_rest_is_read(tmp_path: Path, content: str, said: str):
    citypersons(tmp_path)
    (victim,) = tmp_path.glob("gtBboxCityPersons/train/*/*_000019_*")
    thing = '{"label": "sitting person", "bbox": [20, 40, 30, 24]}'
    write(victim, content.replace("THING", thing))
    index, (problem,) = read(tmp_path)
    assert (problem.kind, problem.path) == ("unreadable annotation", str(victim))
    assert problem.detail.startswith(said) and "\n" not in problem.detail
    assert len(index) == 2 + ("THING" in content)


@pytest.mark.parametrize(
    "case",
    [
        "got10k", "lasot", "trackingnet", "coco", "vid", "youtubebb", "cvat_images", "mot", "widerface", "citypersons",
    ],
)  # fmt: skip
def test_zip_files_are_read_as_folders(tmp_path: Path, case: str):
    truth = LAYOUTS[case][1](tmp_path / "data")
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data"))
    index, problems = read(packed)
    assert problems == []
    assert {track: set(frames) for track, frames in boxes(index).items()} == {t: set(f) for t, f in truth.items()}
    assert all(picture is not None for _, picture, _ in read_pictures(index.root, index.image_names))
