"""From original files to shards and into a batch; and the doctor, on data that are ill in every way it knows."""

from __future__ import annotations

import json
import math
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from layouts import LAYOUTS, box, coco, cvat_video, got10k, mot, rows, save, sequences, write
from made_crops import jpeg, write_tar
from siamtrack.apps.cli.main import app
from siamtrack.config import Crops, Data, Jitter, Preset, load_preset
from siamtrack.data.augment import jittered, shows_fill
from siamtrack.data.check import check_benchmark, check_index, check_shards
from siamtrack.data.index import Index, build_index, load_index, read_pictures
from siamtrack.data.pack import Packing, chosen_rows, pack
from siamtrack.data.pair_source import ResidentPairs, open_pairs
from siamtrack.data.pictures import draw_crops
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import CropLabel, iterate_shard, list_shards
from siamtrack.data.streaming import StreamedPairs
from siamtrack.errors import DataError
from siamtrack.evaluation.jobs import Workers
from siamtrack.formats.objects import find_object_layout
from siamtrack.geometry.crop import cut, mean_colour, target_region
from siamtrack.io import alone_in
from siamtrack.storage import read_from


def run(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return found.exit_code, found.output


def indexed(root: Path, name: str = ""):
    return build_index(root, find_object_layout(root), name)[0]


def test_packed_crops_are_what_the_tracker_would_cut(tmp_path: Path):
    got10k(tmp_path / "data")
    index = indexed(tmp_path / "data")
    shards, problems = pack([index], str(tmp_path / "out"), Packing(quality=100))
    assert problems == []
    assert [(s.name, s.crops) for s in shards] == [("train-000000.tar", 4)]
    crops = ResidentSet.load(tmp_path / "out")
    assert crops.frames.tolist() == [0, 1, 3, 4]
    assert crops.category_names == ("lioness",)
    assert crops.source_names == ("got10k",)
    names = [index.image_names[i] for i in index.image]
    for i, (_, picture, _) in enumerate(read_pictures(index.root, names)):
        assert picture is not None
        original = torch.tensor([box(int(index.frame[i]))])
        crop = cut(picture, target_region(original, 0.5, 2.9), 368, mean_colour(picture)[None])
        assert float((crop.pixels[0] - crops.images[i]).abs().mean()) < 2  # JPEG
        assert torch.allclose(crops.boxes[i], crop.to_crop(original)[0], atol=0.01)
        # The template's square takes 127 of the 368 pixels, the search region's 255.
        side = target_region(crops.boxes[i : i + 1]).side
        assert float(side) == pytest.approx(368 / 2.9, rel=1e-4)


def test_packed_sets_stream_and_reside_alike(tmp_path: Path):
    for name in ("got10k", "mot", "coco", "cvat_video"):
        (tmp_path / name).mkdir()
        LAYOUTS[name][1](tmp_path / name)
    indexes = [indexed(tmp_path / name, name) for name in ("got10k", "mot", "coco", "cvat_video")]
    shards, _ = pack(indexes, str(tmp_path / "out"), Packing(shard=4))
    assert sum(s.crops or 0 for s in shards) == 4 + 3 + 1 + 4
    listed = json.loads((tmp_path / "out" / "shards.json").read_text())
    assert listed["sources"] == ["coco", "cvat_video", "got10k", "mot"]
    data = Data(negative=0.3, search=Jitter(shift=32, scale=0.2))
    resident = ResidentPairs(ResidentSet.load(tmp_path / "out"), Crops(), data)
    streamed = open_pairs(tmp_path / "out", Crops(), replace(data, resident_memory=0))
    assert isinstance(streamed, StreamedPairs)
    for step in range(2):
        a, b = resident.draw(6, 0, 0, step)[0], streamed.draw(6, 0, 0, step)[0]
        assert a.keys == b.keys
        assert torch.equal(a.search, b.search)
    streamed.close()
    assert list(check_shards(str(tmp_path / "out"))) == []


def test_an_object_stays_in_one_shard_and_frames_are_spread(tmp_path: Path):
    for number in range(3):
        for frame in range(20):
            save(tmp_path / f"d/s{number}/{frame:03d}.jpg", frame)
        write(tmp_path / f"d/s{number}.txt", rows(range(20)))
    shards, _ = pack([indexed(tmp_path / "d")], str(tmp_path / "o"), Packing(per_track=5, shard=7, size=64))
    assert [s.crops for s in shards] == [10, 5]
    crops = ResidentSet.load(tmp_path / "o")
    homes = {int(track): set() for track in crops.tracks}
    for key, track in zip(crops.keys, crops.tracks.tolist(), strict=True):
        homes[track].add(key.split("/")[0])
    assert all(len(home) == 1 for home in homes.values())
    assert sorted(set(crops.frames.tolist())) == [0, 5, 10, 14, 19]


def test_packing_is_a_function_of_the_seed(tmp_path: Path):
    sequences(tmp_path / "d")
    index = indexed(tmp_path / "d")
    for name, seed in (("a", 0), ("b", 0)):
        pack([index], str(tmp_path / name), Packing(seed=seed, size=64))
    assert (tmp_path / "a/train-000000.tar").read_bytes() == (tmp_path / "b/train-000000.tar").read_bytes()


def test_several_processes_write_the_same_shards_and_tell_the_same_problems(tmp_path: Path):
    for number in range(6):
        for frame in range(4):
            save(tmp_path / f"d/s{number}/{frame:03d}.jpg", 10 * number + frame)
        write(tmp_path / f"d/s{number}.txt", rows(range(4)))
    index = indexed(tmp_path / "d")
    (tmp_path / "d/s2/001.jpg").write_bytes(b"no picture")
    told: list[tuple[int, int]] = []
    how = Packing(shard=5, size=64)
    alone, missed = pack([index], str(tmp_path / "alone"), how)
    shared, missed_too = pack([index], str(tmp_path / "shared"), how, lambda *done: told.append(done), Workers(2))
    assert missed == missed_too and len(missed) == 1
    assert [s.name for s in alone] == [s.name for s in shared] and len(alone) > 2
    for shard in alone:
        assert (tmp_path / "alone" / shard.name).read_bytes() == (tmp_path / "shared" / shard.name).read_bytes()
    assert told == [(n, 6) for n in range(7)]


def test_packing_refuses_to_mix(tmp_path: Path):
    coco(tmp_path / "d")
    index = indexed(tmp_path / "d")
    pack([index], str(tmp_path / "o"))
    with pytest.raises(DataError, match="holds shards already"):
        pack([index], str(tmp_path / "o"))
    with pytest.raises(DataError, match="two indexes have one name"):
        pack([index, index], str(tmp_path / "p"))
    with pytest.raises(DataError, match="nothing to pack"):
        pack([index], str(tmp_path / "q"), Packing(smallest=500))
    assert not list((tmp_path).glob("q/*"))


def test_packing_refuses_to_mix_at_a_url_too(tmp_path: Path):
    pytest.importorskip("fsspec")
    coco(tmp_path / "d")
    index, out = indexed(tmp_path / "d"), f"local://{tmp_path / 'o'}"
    (tmp_path / "o").mkdir()
    pack([index], out)
    for name in ("train-000000.tar", "shards.json"):  # the other one alone is enough
        (tmp_path / "o" / name).rename(tmp_path / name)
        with pytest.raises(DataError, match="holds shards already"):
            pack([index], out, Packing(size=64))
        (tmp_path / name).rename(tmp_path / "o" / name)
    assert len(list_shards(out).shards) == 1 and ResidentSet.load(out).images.shape[-1] == 368


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server that takes and gives files."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Store(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.startswith("/no/"):
                self.send_error(403)
                return
            (folder / Path(self.path).name).write_bytes(body)
            self.send_response(201)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write((folder / Path(self.path).name).read_bytes())

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", folder
        listening.shutdown()
        thread.join()


def test_shards_are_packed_to_a_url_and_read_from_it(tmp_path: Path, store: tuple[str, Path]):
    url, folder = store
    got10k(tmp_path / "d")
    index = indexed(tmp_path / "d")
    pack([index], f"{url}/yes")
    assert sorted(p.name for p in folder.iterdir()) == ["shards.json", "train-000000.tar"]
    for memory, kind in ((8192, ResidentPairs), (0, StreamedPairs)):
        pairs = open_pairs(f"{url}/yes", Crops(), Data(resident_memory=memory))
        assert isinstance(pairs, kind)
        assert pairs.draw(2, 0, 0, 0)[0].search.shape == (2, 3, 255, 255)
        pairs.close()
    before = (folder / "train-000000.tar").read_bytes()
    with pytest.raises(DataError, match="/yes holds shards already"):
        pack([index], f"{url}/yes", Packing(size=64))
    assert (folder / "train-000000.tar").read_bytes() == before
    (folder / "shards.json").write_text("<html>no such page</html>")
    with pytest.raises(DataError, match=r"/no/train-000000\.tar cannot be written: .*403"):
        pack([index], f"{url}/no")


def test_shards_are_packed_to_a_bucket_and_read_from_it(tmp_path: Path, bucket: str):
    got10k(tmp_path / "d")
    index = indexed(tmp_path / "d")
    for out in (tmp_path / "near", f"{bucket}/far"):
        pack([index], str(out))
    near, far = ResidentSet.load(tmp_path / "near"), ResidentSet.load(f"{bucket}/far")
    assert torch.equal(near.images, far.images) and near.keys == far.keys
    assert list(check_shards(f"{bucket}/far")) == []
    before = read_from(f"{bucket}/far/train-000000.tar")
    with pytest.raises(DataError, match="/far holds shards already"):
        pack([index], f"{bucket}/far", Packing(size=64))
    assert read_from(f"{bucket}/far/train-000000.tar") == before
    with pytest.raises(DataError, match=r"s3://no-such-bucket-here/train-000000\.tar cannot be written|no such"):
        pack([index], "s3://no-such-bucket-here")


def test_the_doctor_finds_every_illness_with_path_and_count(tmp_path: Path):
    root = tmp_path / "d"
    for frame in range(8):
        save(root / f"one/{frame}.jpg", frame)
    lines = rows(range(7)).splitlines()
    lines[1] = "500,10,20,20"
    lines[2] = "10,10,0,20"
    lines[3] = "-30,-30,20,20"
    lines[6] = "150,100,40,40"  # beyond the edge, and right
    write(root / "one.txt", "\n".join(lines))
    (root / "one/4.jpg").write_bytes((root / "one/4.jpg").read_bytes()[:900])
    code, said = run("data", "check", root)
    assert code == 1
    counts = dict(re.findall(r"^(\S.*): (\d+)$", said, re.M))
    assert counts == {"wrong length": "1", "box of no area": "1", "box outside": "2", "unreadable frame": "1"}
    assert "one.txt: 7 boxes for 8 frames" in said
    assert f"{root}/one/4.jpg: 1 boxes" in said
    assert f"{root}/one/1.jpg: one: x,y,w,h = 500,10,20,20" in said
    index = indexed(root)
    (root / "one/5.jpg").unlink()
    found = Counter(problem.kind for problem in check_index(index))
    assert found["missing file"] == 1
    assert run("data", "check", root, "--all")[1].count("one/3.jpg") == 1


@pytest.mark.parametrize("case", LAYOUTS)
def test_healthy_data_pass(tmp_path: Path, case: str):
    LAYOUTS[case][1](tmp_path)
    code, said = run("data", "check", tmp_path)
    assert (code, said) == (0, f"nothing wrong with {tmp_path}\n")


def test_a_cut_video_is_found(tmp_path: Path):
    cvat_video(tmp_path)
    index = indexed(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    found = list(check_index(index))
    assert Counter(problem.kind for problem in found) == {"unreadable frame": 4}
    (tmp_path / "clip.mp4").unlink()
    assert Counter(problem.kind for problem in check_index(index)) == {"missing file": 4}


def test_ill_shards_are_found(tmp_path: Path):
    good, cut_short = jpeg(0, 64), jpeg(1, 64)[:300]
    well = CropLabel("t", 0, (20.0, 20, 40, 40), "c", "s")
    away = CropLabel("t", 1, (90.0, 20, 99, 40), "c", "s")
    write_tar(
        tmp_path / "a.tar", [("a", good, well), ("b", cut_short, well), ("c", good, away), ("d", jpeg(2, 32), well)]
    )
    (tmp_path / "b.tar").write_bytes(b"text")
    (tmp_path / "c.tar").write_bytes(bytes(20480))  # what a file system may leave after a crash
    found = Counter(problem.kind for problem in check_shards(str(tmp_path)))
    assert found == {"unreadable frame": 1, "box outside": 1, "wrong size": 1, "unreadable shard": 1, "no crops": 1}
    assert run("data", "check", tmp_path)[0] == 1


@pytest.mark.parametrize(("corner", "smallest"), [(np.inf, 1.0), (3e38, 1.0), (20.0, 1e308)])
@pytest.mark.filterwarnings("error")
def test_boxes_of_any_numbers_are_left_out_in_silence(tmp_path: Path, corner: float, smallest: float):
    boxes = np.array([[0, 0, 9, 9], [-corner, corner, corner, corner]], np.float32)
    index = Index("s", tmp_path, *[np.array([0, 0])] * 4, boxes, ("a.png",), ("t",), ("c",), ("v",))
    assert [*chosen_rows(index, Packing(smallest=smallest))] == ([[0]] if smallest == 1 else [])


def test_benchmarks_are_checked_too(tmp_path: Path):
    sequence = tmp_path / "walk"
    for frame in range(4):
        save(sequence / f"img/{frame + 1:08d}.jpg", frame)
    write(sequence / "groundtruth.txt", rows(range(4)))
    assert list(check_benchmark("folder", tmp_path)) == []
    (sequence / "img/00000003.jpg").write_bytes(b"")
    write(sequence / "groundtruth.txt", "500,5,5,5\n" + rows(range(1, 4)))
    found = Counter(problem.kind for problem in check_benchmark("folder", tmp_path))
    assert found == {"unreadable frame": 1, "box outside": 1}
    code, said = run("data", "check", tmp_path, "--benchmark", "folder")
    assert code == 1
    assert "walk, frame 2" in said
    write(sequence / "groundtruth.txt", "nan,nan,nan,nan\n" + rows(range(1, 4)))
    found = Counter(problem.kind for problem in check_benchmark("folder", tmp_path))
    assert found == {"unreadable frame": 1, "no first box": 1}


def test_corners_in_place_of_sizes_are_found(tmp_path: Path):
    boxes = [(80 + 4 * frame, 20, 40, 40) for frame in range(8)]  # of frames of 160 x 120 pixels
    for corners in (False, True):
        root = tmp_path / str(corners)
        for frame, (x, y, w, h) in enumerate(boxes):
            save(root / f"walk/img/{frame + 1:08d}.jpg", frame)
            boxes[frame] = (x, y, x + w, y + h) if corners else (x, y, w, h)
        write(root / "walk/groundtruth.txt", "\n".join(",".join(map(str, row)) for row in boxes))
        for problems in (check_index(indexed(root)), check_benchmark("folder", root)):
            assert [problem.kind for problem in problems] == ["corners for sizes"] * corners
        code, said = run("data", "check", root)
        assert code == corners and ("boxes reach beyond their frame; as x0,y0,x1,y1 all would fit" in said) == corners


def test_from_the_command_line(tmp_path: Path):
    mot(tmp_path / "d")
    code, said = run("data", "index", tmp_path / "d", "--name", "mine", "-o", tmp_path / "i.npz")
    assert code == 0
    assert said.startswith("3 boxes of 1 objects in 3 frames")
    assert load_index(tmp_path / "i.npz").source == "mine"
    code, said = run("data", "pack", tmp_path / "i.npz", "-o", tmp_path / "shards", "--size", "96")
    assert code == 0
    assert said.startswith("3 crops in 1 shards")
    crops = ResidentSet.load(tmp_path / "shards")
    assert crops.images.shape == (3, 3, 96, 96)
    assert crops.source_names == ("mine",)
    assert np.array_equal(crops.frames.numpy(), [0, 1, 2])
    assert run("data", "check", tmp_path / "i.npz")[0] == 0


def walk(root: Path, frames: range, shown: int | None = None) -> None:
    """Two objects in each frame; `shown` makes all pictures the same."""
    images, annotations = [], []
    for frame in frames:
        save(root / f"images/f{frame:04d}.png", frame if shown is None else shown)
        images.append({"id": frame, "file_name": f"f{frame:04d}.png", "video_id": 1, "frame_id": frame})
        for track, (x, y) in ((1, (20 + (0 if shown is not None else 5 * (frame % 9)), 40)), (2, (75, 45))):
            place = {"image_id": frame, "track_id": track, "category_id": track, "bbox": [x, y, 30, 24]}
            annotations.append({"id": len(annotations), **place})
    names = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    table = {"images": images, "annotations": annotations, "categories": names}
    write(root / "labels.json", json.dumps(table))


def labels(place: Path) -> list[CropLabel]:
    found = []
    for path in sorted(place.glob("*.tar")):
        with path.open("rb") as stream:
            found += [label for _, _, label in iterate_shard(stream, path.name)]
    return found


def test_other_objects_in_a_crop_are_written_with_it(tmp_path: Path):
    walk(tmp_path / "d", range(3))
    pack([indexed(tmp_path / "d")], str(tmp_path / "o"), Packing())
    found = labels(tmp_path / "o")
    assert len(found) == 6
    for label in found:
        (other,) = label.others
        assert (label.category, other.category) in {("dog", "cat"), ("cat", "dog")}
        partner = next(o for o in found if o.frame == label.frame and o.category == other.category)
        # the same two boxes, seen from either: equal offsets once each crop's own scale is taken out
        offset = np.subtract(other.box[:2], label.box[:2]) / (label.box[2] - label.box[0])
        back = np.subtract(partner.others[0].box[:2], partner.box[:2]) / (partner.box[2] - partner.box[0])
        np.testing.assert_allclose(offset, -back, atol=1e-2)
    picture = tmp_path / "page.png"
    code, said = run("data", "check", tmp_path / "o", "--picture", picture)
    assert (code, said.splitlines()[0]) == (0, f"crops with their boxes: {picture}")
    page = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
    assert page.shape == (240, 6 * 240, 3)
    tile, label = page[:, :240], found[0]
    for drawn, colour in ((label.box, (0, 220, 0)), (label.others[0].box, (255, 140, 0))):
        x, y = (round(v * 240 / 368) for v in (drawn[0], (drawn[1] + drawn[3]) / 2))
        assert tile[y, x].tolist() == list(colour)
    for name in ("page", "page.doc"):
        with pytest.raises(DataError, match=r"ends in \.png or \.jpg"):
            draw_crops(str(tmp_path / "o"), tmp_path / name)


def test_what_does_not_change_is_packed_once(tmp_path: Path):
    walk(tmp_path / "still", range(6), shown=1)
    walk(tmp_path / "moving", range(6))
    for name, how, count in (
        ("still", Packing(), 2), ("still", Packing(least_change=0), 12), ("moving", Packing(), 12),
    ):  # fmt: skip
        out = tmp_path / f"{name}-{how.least_change}"
        pack([indexed(tmp_path / name)], str(out), how)
        assert len(labels(out)) == count


@pytest.mark.parametrize(
    ("how", "frames"),
    [
        (Packing(per_track=4), [0, 13, 27, 40]),
        (Packing(per_track=100, spacing=12), [0, 12, 24, 36]),
        (Packing(per_track=3, gaps={"": 10}), [0, 10, 20, 30, 40]),
        (Packing(per_track=3, gaps={"": 10, "d": 20}), [0, 20, 40]),
        (Packing(per_track=3, gaps={"": 0}), [0, 20, 40]),
    ],
)
def test_frames_are_spread_as_told(tmp_path: Path, how: Packing, frames: list[int]):
    walk(tmp_path / "d", range(41))
    pack([indexed(tmp_path / "d", "d")], str(tmp_path / "o"), replace(how, size=64))
    assert sorted(label.frame for label in labels(tmp_path / "o") if label.category == "dog") == frames


def test_published_jitter_needs_429_pixels(tmp_path: Path):
    preset = changed(Jitter(shift=64, scale=0.18, law="uniform"))
    assert Packing.for_preset(preset).size == 429
    assert Packing.for_preset(preset).scale == pytest.approx(429 / 127)


def changed(search: Jitter) -> Preset:
    preset = load_preset("siamrpn_r50")
    return replace(preset, crops=Crops(), data=replace(preset.data, search=search, template=Jitter()))


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0, 80), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 60), st.sampled_from(["log", "uniform"]),
    st.integers(0, 2**31),
)  # fmt: skip
def test_packed_crops_hold_every_region_that_a_preset_draws(
    shift: float, scale: float, aspect: float, turn: float, law: str, seed: int
):
    jitter = Jitter(shift=shift, scale=scale, aspect=aspect, turn=turn, law=law)
    how = Packing.for_preset(changed(jitter))
    rng = torch.Generator().manual_seed(seed)
    boxes = torch.rand(500, 4, generator=rng) * 60 + torch.tensor([300.0, 300, 400, 400])
    boxes[:, 2:] += torch.rand(500, 2, generator=rng) * 90
    crop = target_region(boxes, how.context, how.scale)
    inner = crop.to_crop(boxes, how.size)
    u = torch.rand(500, 5, generator=rng) * 2 - 1
    u[:32, :4] = u[:32, :4].sign()  # the corners of what can be drawn
    region = jittered(target_region(inner, how.context, 255 / 127), 255, jitter, u[:, :4])
    region = replace(region, turn=u[:, 4] * math.radians(turn))
    assert not shows_fill(region, how.size).any()


def test_pack_for_a_preset_from_the_command_line(tmp_path: Path):
    mot(tmp_path / "d")
    preset = load_preset("siamcar_lite0")
    code, _ = run("data", "pack", tmp_path / "d", "-o", tmp_path / "shards", "--for", "siamcar_lite0")
    assert code == 0
    assert ResidentSet.load(tmp_path / "shards").images.shape[-1] == Packing.for_preset(preset).size
    for options, size in ((("--context", "3.4"), 431), (("--size", "96", "--context", "2"), 96)):
        out = tmp_path / "-".join(options)
        assert run("data", "pack", tmp_path / "d", "-o", out, *options)[0] == 0
        assert ResidentSet.load(out).images.shape[-1] == size


def test_of_two_packs_that_begin_at_once_the_second_sees_the_first(tmp_path: Path) -> None:
    LAYOUTS["sequences"][1](tmp_path / "data")
    index, _ = build_index(tmp_path / "data", find_object_layout(tmp_path / "data", "folder"))
    how, out = Packing(size=64, smallest=1), tmp_path / "out"
    with ThreadPoolExecutor(1) as other:
        with alone_in(out):
            late = other.submit(pack, [index], out, how)
            assert not wait([late], 0.3).done
            (out / "unfinished.json").write_text('{"made_of": "other data"}')
        with pytest.raises(DataError, match="half-made set of other data or settings"):
            late.result(60)


def test_a_pack_that_was_stopped_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    LAYOUTS["sequences"][1](tmp_path / "data")
    index, _ = build_index(tmp_path / "data", find_object_layout(tmp_path / "data", "folder"))
    how = Packing(size=64, smallest=1, shard=3, least_change=0)
    pack([index], tmp_path / "whole", how)
    out = tmp_path / "out"

    def stop(done: int, total: int) -> None:
        if done == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        pack([index], out, how, stop)
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert first
    with pytest.raises(DataError, match="half made; give the same"):
        list_shards(out)
    (out / "shards.json").write_bytes((tmp_path / "whole" / "shards.json").read_bytes())  # of a set that was replaced
    with pytest.raises(DataError, match="half made; give the same"):
        list_shards(out)
    with pytest.raises(DataError, match="half-made set of other data or settings"):
        pack([index], out, replace(how, quality=50))
    pack([index], out, how)
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path / "whole", out)]
    assert files[0] == files[1] and "unfinished.json" not in files[1]
    assert all((out / name).stat().st_mtime_ns == time for name, time in first.items())


def test_the_command_takes_a_validation_split_when_it_is_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "data"
    LAYOUTS["vid"][1](root)
    code, said = run("data", "index", root, "-o", tmp_path / "train.npz")
    assert code == 0 and said.startswith("4 boxes of 1 objects") and "validation split: 1\n" in said
    code, said = run("data", "index", root, "-o", tmp_path / "all.npz", "--validation")
    assert code == 0 and said.startswith("8 boxes of 2 objects") and "validation split" not in said
    assert run("data", "pack", root, "-o", tmp_path / "shards", "--size", "64")[1].startswith("4 crops")
    assert run("data", "check", root)[0] == 0, "a split that is left out is nothing wrong"
    shutil.rmtree(root / "Annotations/VID/train")
    wanted = r"read as vid it has none that can be used \(validation split: .* --validation takes them\)"
    with pytest.raises(DataError, match=wanted):
        run("data", "index", root, "--name", "mine", "-o", tmp_path / "none.npz")
