"""What a run is written as, read back by siamtrack's own readers of data sets and by other projects' code."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from siamtrack.errors import InputError
from siamtrack.video.box_writer import BoxWriter
from siamtrack.video.boxes import FORMATS, BoxRow, Clip, pack_boxes, render_boxes

SIZE, FRAMES, FPS = (160, 120), 8, 25.0
IMAGES = tuple(f"{n:04d}.png" for n in range(FRAMES))
CLIP = Clip("seq", SIZE, FPS, FRAMES, IMAGES, ("cat", "dog"))
VIDEO = Clip("clip.mp4", SIZE, FPS, FRAMES, (), ("cat", "dog"))
LOST = (3, 4)
"""The frames in which the first target is lost; the second one's rows end after frame 5."""


def rows() -> list[BoxRow]:
    found = []
    for n in range(FRAMES):
        lost = n in LOST
        found.append(BoxRow(n, 1, (10.5 + n, 20.25, 30, 40), 0.6, 0.1 if lost else 0.9, "lost" if lost else "tracking"))
        if n < 6:
            found.append(BoxRow(n, 2, (70, 60 + n, 24.5, 18), 0.5, 0.5, "uncertain"))
    return found


def seen(target: int) -> dict[int, tuple[float, float, float, float]]:
    """The boxes xyxy of a target by frame, without those in which it is lost."""
    return {
        r.frame: (r.box[0], r.box[1], r.box[0] + r.box[2], r.box[1] + r.box[3])
        for r in rows()
        if r.target == target and r.status != "lost"
    }


def save(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in IMAGES:
        Image.new("RGB", SIZE).save(folder / name)


def only(texts: dict[str, str]) -> str:
    assert len(texts) == 1
    return next(iter(texts.values()))


def near(found: dict[int, Sequence[float]], target: int, within: float = 1e-3) -> None:
    expected = seen(target)
    assert found.keys() == expected.keys()
    for frame, box in expected.items():
        assert list(found[frame]) == pytest.approx(list(box), abs=within)


@pytest.mark.parametrize("kind", ["mot", "cvat", "coco", "yolo"])
def test_the_projects_own_readers_find_the_same_tracks(tmp_path: Path, kind: str) -> None:
    objects = pytest.importorskip("siamtrack.formats.objects")
    archive = pytest.importorskip("siamtrack.formats.archive")
    texts = render_boxes(rows(), CLIP, kind)
    if kind == "mot":
        pictures(tmp_path / "seq" / "img1")
        save(tmp_path, {"seq/gt/gt.txt": only(texts)})
    elif kind == "yolo":
        pictures(tmp_path / "seq" / "images")
        save(tmp_path / "seq", {name: text for name, text in texts.items() if name.startswith("labels/")})
        save(tmp_path, {"classes.txt": texts["classes.txt"]})
    else:
        pictures(tmp_path / "images")
        save(tmp_path, {"annotations.xml" if kind == "cvat" else "annotations/instances_all.json": only(texts)})
    layout = objects.find_object_layout(tmp_path, "yolo-video" if kind == "yolo" else "")
    assert layout.name.startswith(kind)
    problems: list[object] = []
    with archive.Archive(tmp_path) as opened:
        boxes = [
            box
            for name, member in layout.find(opened).items()
            for box in layout.read(opened, name, member, problems.append)
        ]
    assert problems == []
    tracks: dict[str, dict[int, Sequence[float]]] = {}
    for box in boxes:
        tracks.setdefault(box.track, {})[box.frame] = box.box
        assert box.image.endswith(IMAGES[box.frame])
    for target, (track, label) in enumerate(zip(sorted(tracks), CLIP.labels, strict=True), 1):
        near(tracks[track], target, 2e-4 if kind != "yolo" else 1e-3)
        categories = {box.category for box in boxes if box.track == track}
        assert categories == ({label} if kind != "mot" else {""})


def test_mot_rows_are_those_of_the_challenge() -> None:
    first = only(render_boxes(rows(), CLIP, "mot")).splitlines()[0]
    assert first == "1,1,11.5,21.25,30,40,0.9,-1,-1,-1"


def test_cvat_is_outside_where_the_target_is_lost_and_after_its_end() -> None:
    from xml.etree import ElementTree

    tree = ElementTree.fromstring(only(render_boxes(rows(), VIDEO, "cvat")))
    outside = [
        [int(box.get("frame")) for box in t.iter("box") if box.get("outside") == "1"] for t in tree.iter("track")
    ]
    assert outside == [[3, 4], [6]]
    assert tree.findtext("version") == "1.1" and tree.findtext(".//source") == "clip.mp4"
    assert tree.findtext(".//size") == str(FRAMES)


def test_label_studio_counts_frames_from_one_and_stops_drawing_where_the_target_is_lost() -> None:
    task = json.loads(only(render_boxes(rows(), VIDEO, "labelstudio")))[0]
    assert task["data"] == {"video": "clip.mp4"}
    first, second = (region["value"] for region in task["predictions"][0]["result"])
    assert [(entry["frame"], entry["enabled"]) for entry in first["sequence"]] == [
        (1, True), (2, True), (3, False), (6, True), (7, True), (8, True),
    ]  # fmt: skip
    assert [entry["enabled"] for entry in second["sequence"]] == [True] * 5 + [False]
    box = first["sequence"][0]
    assert [box[key] for key in ("x", "y", "width", "height")] == pytest.approx([6.5625, 16.875, 18.75, 100 / 3])
    assert box["time"] == 1 / FPS and first["framesCount"] == FRAMES and first["duration"] == FRAMES / FPS


GAP = [BoxRow(n, 1, (10, 10, 20, 20) if n < 9 else (60, 60, 20, 20), 0.9, 0.9, "tracking") for n in (2, 4, 30, 32)]
"""Every other frame of a target that is not followed from frame 6 to frame 28."""


def drawn(kind: str, clip: Clip) -> list[tuple[int, bool]]:
    """The key frames of a target, from 0, and whether it is drawn from there on."""
    text = only(render_boxes(GAP, clip, kind))
    if kind == "cvat":
        return [(int(box.get("frame", "")), box.get("outside") == "0") for box in ET.fromstring(text).iter("box")]
    sequence = json.loads(text)[0]["predictions"][0]["result"][0]["value"]["sequence"]
    return [(entry["frame"] - 1, entry["enabled"]) for entry in sequence]


def test_where_a_target_was_not_followed_it_is_not_drawn() -> None:
    clip = Clip("clip.mp4", (100, 100), FPS, 40, stride=2)
    assert drawn("cvat", clip) == [(2, True), (4, True), (6, False), (30, True), (32, True), (34, False)]
    assert drawn("labelstudio", clip) == [(2, True), (4, False), (30, True), (32, False)]
    box, none, later = "10,10,20,20\n", "nan,nan,nan,nan\n", "60,60,20,20\n"
    assert only(render_boxes(GAP, clip, "txt")) == 2 * box + 12 * none + 2 * later


def test_of_a_live_source_frames_between_rows_are_those_that_were_left_out() -> None:
    clip = Clip("camera 0", (100, 100), FPS, stride=None)
    assert drawn("cvat", clip) == drawn("labelstudio", clip) == [(frame, True) for frame in (2, 4, 30, 32)]
    assert only(render_boxes(GAP, clip, "txt")).count("\n") == 4


def test_a_stride_draws_its_last_box_to_the_end_of_the_clip() -> None:
    clip = Clip("clip.mp4", (100, 100), FPS, 34, stride=2)
    assert drawn("cvat", clip)[-1] == drawn("labelstudio", clip)[-1] == (32, True)


def test_a_txt_file_of_billions_of_lines_is_refused() -> None:
    far = BoxRow(1 << 39, 1, (1, 1, 9, 9), 1, 1, "tracking")
    with pytest.raises(InputError, match="choose another format"):
        render_boxes([GAP[0], far], VIDEO, "txt")


def test_yolo_keeps_to_the_frame() -> None:
    texts = render_boxes([BoxRow(0, 1, (-10, 100, 30, 40), 1, 1, "tracking")], CLIP, "yolo")
    assert texts["labels/0000.txt"] == "0 0.062500 0.916667 0.125000 0.166667\n"
    gone = render_boxes([BoxRow(0, 1, (-50, 100, 30, 40), 1, 1, "tracking")], VIDEO, "yolo")
    assert gone["labels/clip_000000.txt"] == ""


@pytest.mark.parametrize("kind", list(FORMATS))
def test_a_writer_writes_what_the_whole_run_would_be_turned_into(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("out" if kind == "yolo" else f"out{FORMATS[kind]}")
    one = [row for row in rows() if row.target == 1]
    with BoxWriter(path, 1, kind, CLIP) as writer:
        for row in one:
            writer.write(row.frame, [row])
    texts = render_boxes(one, CLIP, kind)
    if kind == "yolo":
        assert {str(p.relative_to(path)): p.read_text() for p in path.rglob("*") if p.is_file()} == texts
        with BoxWriter(tmp_path / "out.zip", 1, kind, CLIP) as writer:
            for row in one:
                writer.write(row.frame, [row])
        path = tmp_path / "out.zip"
        with zipfile.ZipFile(path) as file:
            assert {name: file.read(name).decode() for name in file.namelist()} == texts
    else:
        assert path.read_text() == only(texts)
    assert path.read_bytes() == pack_boxes(one, CLIP, kind)[1]


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_rows_have_a_class_where_one_is_named(kind: str) -> None:
    def classes(labels: tuple[str, ...]) -> list[str | None]:
        text = only(render_boxes(rows(), replace(VIDEO, labels=labels), kind))
        if kind == "csv":
            table = list(csv.DictReader(io.StringIO(text)))
        else:
            table = json.loads(text) if kind == "json" else list(map(json.loads, text.splitlines()))
        return [row.get("label") for row in table]

    odd = 'a "b", c'
    assert classes((odd, "dog")) == [(odd, "dog")[row.target - 1] for row in rows()]
    assert set(classes(("dog",))) == {"dog"} and set(classes(("object",))) == {None}


def test_the_labels_of_an_earlier_run_make_place_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for name in ("labels/clip_000099.txt", "labels/notes.md", "readme.txt"):
        (tmp_path / name).write_text("0 0.5 0.5 0.1 0.1\n")
    with BoxWriter(tmp_path, 1, "yolo", VIDEO) as writer:
        writer.write(0, rows()[:1])
    kept = {"labels/clip_000000.txt", "labels/notes.md", "readme.txt", "classes.txt", "data.yaml"}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == kept


def test_several_targets_as_txt_are_packed_into_a_zip_file() -> None:
    name, data = pack_boxes(rows(), CLIP, "txt")
    assert name == "boxes.zip" and data[:2] == b"PK"
    assert list(render_boxes(rows(), CLIP, "txt")) == ["boxes-1.txt", "boxes-2.txt"]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown format 'cvta'; did you mean 'cvat'\?"):
        render_boxes(rows(), CLIP, "cvta")
    with pytest.raises(InputError, match="needs to know the clip"):
        BoxWriter(tmp_path / "out.xml", 1)


def test_datumaro_reads_what_is_written(tmp_path: Path) -> None:
    components = pytest.importorskip("datumaro.components.dataset", reason="datumaro is not installed")
    places = {"cvat": "train.xml", "mot": "gt/gt.txt", "coco": "annotations/instances_train.json"}
    for kind, place in ((kind, f"{kind}/{place}") for kind, place in places.items()):
        text = only(render_boxes(rows(), CLIP, kind))
        save(tmp_path, {place: text})
        pictures(tmp_path / kind / ("img1" if kind == "mot" else "images" if kind == "cvat" else "images/train"))
        if kind == "mot":
            save(tmp_path, {"mot/gt/labels.txt": "cat\n"})
        name = {"mot": "mot_seq"}.get(kind, kind)
        found: dict[int, dict[int, Sequence[float]]] = {}
        for item in components.Dataset.import_from(str(tmp_path / kind), name):
            for box in item.annotations:
                if box.attributes.get("outside"):
                    continue
                frame = item.attributes["frame"] if kind == "cvat" else int(str(item.id)) - (kind == "mot")
                track = int(box.attributes["track_id"]) + (1 if kind == "cvat" else 0)
                x, y, w, h = box.get_bbox()
                shift = 1 if kind == "mot" else 0  # it takes MOT's pixels as they stand
                found.setdefault(track, {})[frame] = (x - shift, y - shift, x + w - shift, y + h - shift)
        for target in (1, 2):
            near(found[target], target, 0.01)


def test_supervision_reads_what_is_written(tmp_path: Path) -> None:
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    pictures(tmp_path / "images")
    save(tmp_path, render_boxes(rows(), CLIP, "yolo"))
    save(tmp_path, {"coco.json": only(render_boxes(rows(), CLIP, "coco"))})
    yolo = sv.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml")
    )
    coco = sv.DetectionDataset.from_coco(str(tmp_path / "images"), str(tmp_path / "coco.json"))
    for dataset in (yolo, coco):
        assert dataset.classes == ["cat", "dog"]
        for target in (1, 2):
            found = {}
            for frame, name in enumerate(IMAGES):
                marks = dataset.annotations[str(tmp_path / "images" / name)]
                for box, kind in zip(marks.xyxy, marks.class_id, strict=True):
                    if kind == target - 1:
                        found[frame] = box.tolist()
            near(found, target, 0.01)


def test_label_studios_own_check_takes_what_is_written() -> None:
    sdk = pytest.importorskip("label_studio_sdk.label_interface", reason="label-studio-sdk is not installed")
    config = """<View><Video name="video" value="$video" framerate="25"/>
      <VideoRectangle name="box" toName="video"/>
      <Labels name="videoLabels" toName="video"><Label value="cat"/><Label value="dog"/></Labels></View>"""
    interface = sdk.LabelInterface(config)
    task = json.loads(only(render_boxes(rows(), VIDEO, "labelstudio")))[0]
    assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []
    for region in task["predictions"][0]["result"]:
        del region["value"]["framesCount"]
    assert interface.validate_prediction(task["predictions"][0], return_errors=True) != []


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_names_of_any_characters_become_files_of_text(kind: str) -> None:
    clip = Clip("caf\udce9.mp4", (160, 120), 25.0, 1, labels=["a\x01b", "é\u200d"])
    rows = [BoxRow(0, target, (1.0, 2.0, 30.0, 40.0), 0.9, 0.9, "tracking") for target in (1, 2)]
    name, data = pack_boxes(rows, clip, kind)
    if kind == "cvat":
        assert [track.get("label") for track in ET.fromstring(data).iter("track")] == ["a\\x01b", "é\u200d"]
    elif kind == "yolo":
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            assert "labels/caf\\udce9_000000.txt" in packed.namelist()
    elif name.endswith(".json"):
        json.loads(data)


@pytest.mark.parametrize("name", ["🐟", "é", 'a "b" \\ c', "a\u2028b", "x\x7fy\x85z", "yes", "\ufeffa"])
def test_the_classes_of_yolo_are_those_that_yaml_reads(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    clip = Clip("clip.mp4", SIZE, FPS, 1, labels=[name])
    text = render_boxes(rows()[:1], clip, "yolo")["data.yaml"]
    assert yaml.safe_load(text.encode())["names"] == {0: name}


def test_images_that_yolo_would_write_into_one_file_are_refused_before_anything_is_tracked(tmp_path: Path) -> None:
    clip = Clip("frames", (160, 120), 25.0, 2, ["a.jpg", "a.png"])
    with pytest.raises(InputError, match=r"'a.jpg' and 'a.png'"):
        BoxWriter(tmp_path / "out", 1, "yolo", clip)
    BoxWriter(tmp_path / "boxes.json", 1, "coco", clip)


def test_a_row_beyond_the_images_has_a_name_of_its_own() -> None:
    assert Clip("frames", (160, 120), 25.0, 2, ["a.jpg"]).image(3) == "frames_000003.jpg"
