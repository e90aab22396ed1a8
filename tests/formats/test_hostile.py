"""Files that somebody broke, or made to break a reader: one line that names them, and never more."""

from __future__ import annotations

import json
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import made_sets
from layouts import LAYOUTS, box, save, write
from siamtrack.data.index import Index, build_index
from siamtrack.errors import DataError
from siamtrack.evaluation.suites import find_suite
from siamtrack.formats.archive import Archive
from siamtrack.formats.datasets import read_dataset, read_truths
from siamtrack.formats.layout import Problem
from siamtrack.formats.objects import OBJECT_LAYOUTS
from siamtrack.formats.results import read_results

DEEP = b"[" * 100_000
PIECES = st.sampled_from(
    [
        *(b"", b"\xff\xfe\x00", b"\x00", b"1e999", b"-inf", b"nan", b"{}", b"[]", b"null", b"true", b'"x"'),
        b"../../x.jpg",
        *(b"/etc/passwd", b"9" * 400, b"-1", b"\n", b",", b"<a>", b"\xe2\x80\xa8", b"1,2", b"0x10", DEEP[:5000]),
    ]
)
ANNOTATIONS = {".txt", ".xml", ".json", ".csv", ".label", ".ini", ".yaml", ".value", ".tag"}


def mutate(path: Path, draw: st.DataObject) -> None:
    data = path.read_bytes()
    if draw.draw(st.booleans()):  # a number, name or text becomes something else
        ends = [i for i in range(len(data)) if data[i : i + 1] in b'",:<>\n '] or [0]
        start = draw.draw(st.sampled_from(ends))
        end = next((i for i in ends if i > start), len(data))
        path.write_bytes(data[: start + 1] + draw.draw(PIECES) + data[end:])
        return
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(len(data), start + 40)) | st.just(len(data)))
    path.write_bytes(data[:start] + draw.draw(PIECES | st.binary(max_size=8)) + data[end:])


def texts(root: Path) -> list[Path]:
    found = sorted(path for path in root.rglob("*") if path.suffix in ANNOTATIONS)
    return found or sorted(root.glob("Annotations/**/*.png"))


def assert_one_line(message: str) -> None:
    assert "\n" not in message and 0 < len(message) < 2000


TRAINING = [name for name in LAYOUTS if "film" not in name and "video" not in name]


@pytest.mark.parametrize("case", TRAINING)
def test_broken_annotations_are_problems_not_accidents(tmp_path_factory: pytest.TempPathFactory, case: str) -> None:
    root = tmp_path_factory.mktemp("whole")
    LAYOUTS[case][1](root)
    layout = OBJECT_LAYOUTS[LAYOUTS[case][0]]

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def broken(data: st.DataObject) -> None:
        victim = data.draw(st.sampled_from(texts(root)))
        whole = victim.read_bytes()
        try:
            mutate(victim, data)
            index, problems = build_index(root, layout)
            assert all(np.isfinite(index.boxes).all(1) | np.isnan(index.boxes).any(1))
            for problem in problems:
                assert_one_line(problem.detail)
        except DataError as error:
            assert_one_line(str(error))
        finally:
            victim.write_bytes(whole)

    broken()


@pytest.mark.parametrize("name", ["otb100", "vot2018", "vot2022", "lasot", "got10k-val", "uav123", "nfs30", "tc128"])
def test_broken_truth_is_one_line(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root, layout = tmp_path_factory.mktemp("whole"), find_suite(name).data
    made_sets.SUITES[name](root, np.random.default_rng(0))

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def broken(data: st.DataObject) -> None:
        victim = data.draw(st.sampled_from(texts(root)))
        whole = victim.read_bytes()
        try:
            mutate(victim, data)
            for read in (lambda: read_truths(root, layout), lambda: read_dataset(layout, root)):
                try:
                    read()
                except DataError as error:
                    assert_one_line(str(error))
        finally:
            victim.write_bytes(whole)

    broken()


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        b'{"a":' * 50_000,
        b'{"Car1": {"gt_rect": [[1,2,3,4]], "absent": {"a": 1}}}',
        b'{"Car1": {"gt_rect": [[1,2,3,4]], "anchors": {"900": 1}}}',
        b'{"Car1": {"gt_rect": {"x": [1]}}}',
        b'{"Car1": {"gt_rect": [1]}}',
        b'{"sequences": [1, 2]}',
        b"\xff\xfe{}",
    ],
)
def test_hostile_json(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "OTB100.json").write_bytes(text)
    with pytest.raises(DataError, match=r"OTB100\.json") as caught:
        read_truths(tmp_path / "OTB100.json", "otb")
    assert_one_line(str(caught.value))
    write(tmp_path / "own" / "labels.json", "")
    (tmp_path / "own" / "labels.json").write_bytes(text)
    _, problems = build_index(tmp_path / "own", OBJECT_LAYOUTS["coco"])
    assert [p.kind for p in problems] == ["unreadable annotation"]


def coco(root: Path, **changes: object) -> tuple[Index, list[Problem]]:
    save(root / "a.png")
    image = {"id": 1, "file_name": "a.png"} | {k: v for k, v in changes.items() if k in ("file_name", "frame_id")}
    annotation = {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 1}
    annotation |= {k: v for k, v in changes.items() if k not in ("file_name", "frame_id")}
    write(root / "labels.json", json.dumps({"images": [image], "annotations": [annotation]}))
    return build_index(root, OBJECT_LAYOUTS["coco"])


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [1, 2, [3], 4]}, {"bbox": "1234"}, {"bbox": {"x": 1}}, {"bbox": [1, 2, float("inf"), 4]},
        {"bbox": [1, 2, 1e300, 4]}, {"category_id": [1]}, {"image_id": {}}, {"id": [1]},
        {"track_id": 3, "frame_id": 10**30}, {"track_id": 3, "frame_id": [1]},
    ],
)  # fmt: skip
def test_annotations_of_the_wrong_kind_are_told(tmp_path: Path, changes: dict[str, object]) -> None:
    index, problems = coco(tmp_path, **changes)
    assert len(index) == 0
    assert [p.kind for p in problems] == ["unreadable annotation"]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.png", "sub/../../a.png", "a\0.png", "b.png", "x/" * 40 + "a.png"]
)
def test_images_outside_and_missing_ones_are_told_by_index(tmp_path: Path, name: str) -> None:
    index, problems = coco(tmp_path / "data", file_name=name)
    assert len(index) == 0
    (problem,) = problems
    assert problem.kind == "missing file" and "\0" not in problem.path + problem.detail
    if name != "b.png":
        assert problem.path.endswith("labels.json") or "x/x" in problem.path


def test_a_list_as_a_file_name(tmp_path: Path) -> None:
    index, problems = coco(tmp_path, file_name=["a.png"])
    assert len(index) == 0 and len(problems) == 1


@pytest.mark.parametrize("seed", range(30))
def test_damaged_zip_files_are_one_line(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    made_sets.dtb70(tmp_path / "data", rng)
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data"))
    data = bytearray(packed.read_bytes())
    directory = data.index(b"PK\x01\x02")
    if seed % 3 == 0:
        data = data[: int(rng.integers(directory, len(data)))]
    else:
        low = directory if seed % 3 == 1 else 0
        for at in rng.integers(low, len(data), 12).tolist():
            data[at] = int(rng.integers(256))
    packed.write_bytes(bytes(data))
    for read in (
        lambda: read_truths(packed, "dtb70"),
        lambda: read_results(packed, ["Animal1"], "ope"),
        lambda: [frame for s in read_dataset("dtb70", packed) for frame in (s.frames[i] for i in range(len(s)))],
    ):
        try:
            read()
        except DataError as error:
            assert_one_line(str(error))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_are_damaged_are_one_line_however_they_are_packed(tmp_path: Path, method: int) -> None:
    packed = tmp_path / "results.zip"
    with zipfile.ZipFile(packed, "w", method) as file:
        file.writestr("Animal1.txt", "".join(f"{n * n},{n % 7},{n * 3},40\n" for n in range(200)))
    data = bytearray(packed.read_bytes())
    begin = data.index(b"Animal1.txt") + len("Animal1.txt") + 9
    data[begin : begin + 20] = bytes([255] * 20)
    packed.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"results\.zip/Animal1\.txt: cannot be read"):
        read_results(packed, ["Animal1"], "ope")
    LAYOUTS["youtubebb"][1](tmp_path / "youtubebb")
    table = next((tmp_path / "youtubebb").glob("*.csv"))
    with zipfile.ZipFile(tmp_path / "youtubebb.zip", "w", method) as file:
        file.writestr(table.name, table.read_bytes() * 40)
    data = bytearray((tmp_path / "youtubebb.zip").read_bytes())
    begin = data.index(table.name.encode()) + len(table.name) + 9
    data[begin : begin + 40] = bytes([255] * 40)
    (tmp_path / "youtubebb.zip").write_bytes(bytes(data))
    index, problems = build_index(tmp_path / "youtubebb.zip", OBJECT_LAYOUTS["youtubebb"])
    assert len(index) == 0 and problems
    for problem in problems:
        assert_one_line(problem.detail)


def test_a_link_that_leads_to_itself_hides_no_file_beside_it(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02d}.txt").write_text("10,20,30,40\n")
    (tmp_path / "07").symlink_to("07")
    names = [f"{number:02d}" for number in range(20)]
    assert list(read_results(tmp_path, names, "ope")) == names


def test_numbers_that_cannot_be_rounded_are_read_in_silence(tmp_path: Path) -> None:
    made_sets.SUITES["otb100"](tmp_path, np.random.default_rng(0))
    truth = next(tmp_path.glob("*/groundtruth_rect.txt"))
    lines = ["1e308,1e308,1e308,1e308", *truth.read_text().splitlines()[1:]]
    truth.write_text("\n".join(lines))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_truths(tmp_path, "otb")


def test_a_zip_bomb_is_refused_soon(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("Car1.txt", "w", force_zip64=True) as out,
    ):
        for _ in range(160):
            out.write(b"0,0,0,0\n" * (1 << 17))
    for read in (lambda: read_truths(bomb, "otb"), lambda: read_results(bomb, ["Car1"], "ope")):
        with pytest.raises(DataError, match=r"Car1\.txt: unpacks to more"):
            read()


def test_members_that_lead_out_of_a_zip_file_are_not_there(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for name in ("../Car1.txt", "/Car2.txt", "gt/../../Car3.txt", "Car4.txt"):
            packed.writestr(name, "1,2,3,4\n")
    with Archive(tmp_path / "x.zip") as archive:
        assert archive.names() == ["Car4.txt"]
        for name in ("../Car1.txt", "/Car2.txt", "a\0b"):
            with pytest.raises(DataError):
                archive.read(name)


def test_names_in_lists_stay_inside_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    write(tmp_path / "secret" / "groundtruth.txt", "1,2,3,4\n")
    for name in ("../secret", "/etc", "a\0b", str(tmp_path / "secret")):
        write(tmp_path / "vot" / "list.txt", f"{name}\n")
        with pytest.raises(DataError) as caught:
            read_dataset("vot", tmp_path / "vot")
        assert_one_line(str(caught.value))


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Car1.txt")
    with pytest.raises(DataError):
        read_truths(tmp_path, "otb")
    with pytest.raises(DataError):
        read_truths(tmp_path / "Car1.txt", "otb")
    (tmp_path / "one").mkdir()
    os.mkfifo(tmp_path / "one" / "groundtruth.txt")
    with pytest.raises(DataError, match=r"groundtruth.txt: expected a file; it is a pipe"):
        read_truths(tmp_path, "folder")


def test_a_youtubebb_table_with_anything_in_it(tmp_path: Path) -> None:
    LAYOUTS["youtubebb"][1](tmp_path)
    table = tmp_path / "yt_bb_detection_train.csv"
    good = table.read_bytes()
    bad = b'AAAA,x,5,cat,0,present,0,1,0,1\nAAAA,0,5,cat,0,present,inf,1,0,1\na,b\n"' + b"x" * 200_000
    table.write_bytes(good + bad)
    index, problems = build_index(tmp_path, OBJECT_LAYOUTS["youtubebb"])
    assert len(index) == 4 and {p.kind for p in problems} == {"unreadable annotation"} and len(problems) == 4
    assert sorted(index.frame.tolist()) == [0, 0, 1, 2]  # seconds, one annotation apart
    assert index.boxes[0].tolist() == pytest.approx(box(0), abs=1e-3)


def test_a_name_that_no_file_can_have_stays_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("[" * 5000)
    with pytest.raises(DataError, match="expected a path inside") as error:
        read_truths(tmp_path, "vot")
    assert_one_line(str(error.value))


def test_texts_are_read_up_to_what_their_kind_may_have(tmp_path: Path) -> None:
    for name, size in {"a.txt": 17 << 20, "a.json": 65 << 20, "b.json": 17 << 20}.items():
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(size)
    with Archive(tmp_path) as archive:
        for name in ("a.txt", "a.json"):
            with pytest.raises(DataError, match="bytes; expected at most"):
                archive.read(name)
        assert len(archive.read("b.json")) == 17 << 20


def test_a_table_in_a_zip_file_that_unpacks_to_a_multiple_is_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("yt_bb.csv", b"id,1,2\n" * (10 << 20))
    with Archive(tmp_path / "x.zip") as archive, pytest.raises(DataError, match="unpacks to more"):
        archive.open("yt_bb.csv")


def test_a_file_of_a_million_lines_that_mean_nothing_is_given_up(tmp_path: Path) -> None:
    LAYOUTS["yolo_stills"][1](tmp_path)
    (tmp_path / "labels/train/a.txt").write_bytes(b"a\n" * 100_000)
    with pytest.raises(DataError, match=r"a\.txt: more than 20000 annotations that cannot be read") as caught:
        build_index(tmp_path, OBJECT_LAYOUTS["yolo"])
    assert_one_line(str(caught.value))
