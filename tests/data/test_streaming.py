"""The streaming set: like the resident one where it fits, exact on resume, bounded, and patient with bad files."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from made_crops import jpeg, write_tar
from siamtrack.config import Crops, Data, Jitter
from siamtrack.data.pair_source import PairSource, ResidentPairs, open_pairs
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import CropLabel, ShardFile, iterate_shard, list_shards, write_manifest
from siamtrack.data.streaming import StreamedPairs
from siamtrack.errors import DataError
from siamtrack.storage import remove, write_whole_to

SIZES = Crops(template=63, search=127)
DATA = Data(
    negative=0.3, distract=0.3, occlude=0.2, colour=0.3, flip=0.5,
    template=Jitter(shift=4, scale=0.1), search=Jitter(shift=32, scale=0.2),
)  # fmt: skip
STREAM = replace(DATA, resident_memory=0)
SHARDS, CROPS = 6, 12


def fill(folder: Path) -> Path:
    """Six shards of twelve crops, three objects of four frames in each."""
    folder.mkdir(exist_ok=True)
    for shard in range(SHARDS):
        rows = []
        for crop in range(CROPS):
            track = f"s{shard}t{crop // 4}"
            label = CropLabel(
                track, crop % 4, (60.0, 70, 110, 115), ("dog", "cat")[crop // 4 % 2], f"source{shard % 2}"
            )
            rows.append((f"c{crop:03d}", jpeg(100 * shard + crop, 184), label))
        write_tar(folder / f"part-{shard:02d}.tar", rows)
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 0.4 MB, of which two fit into a window of 1 MB."""
    folder = tmp_path_factory.mktemp("large")
    fill(folder)
    for path in sorted(folder.glob("*.tar")):
        rows = []
        with path.open("rb") as stream:
            for key, image, label in iterate_shard(stream, path.name):
                rows.append((key, image[:-2] + b"\xff\xfe\x60\x02" + bytes(24576) + image[-2:], label))
        write_tar(path, rows)
    return folder


@pytest.fixture
def server(shards: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(shards))) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def same(a: PairSource, b: PairSource, steps: range, count: int = 6, part: int = 0) -> None:
    for step in steps:
        (x, first), (y, second) = a.draw(count, 1, part, step), b.draw(count, 1, part, step)
        assert x.keys == y.keys
        assert torch.equal(x.search, y.search)
        assert torch.equal(x.template, y.template)
        assert torch.equal(x.boxes, y.boxes)
        assert torch.equal(x.pairs.present, y.pairs.present)
        assert torch.equal(first.get_state(), second.get_state())


def test_a_window_that_holds_all_draws_what_the_resident_set_draws(shards: Path):
    resident = ResidentPairs(ResidentSet.load(shards), SIZES, DATA)
    streamed = StreamedPairs(shards, SIZES, DATA)
    same(resident, streamed, range(4))
    streamed.close()


@pytest.mark.parametrize("start", [1, 5, 23])
def test_a_resumed_stream_goes_on_as_if_it_had_never_stopped(large: Path, start: int):
    data = Data(stream_memory=1)
    steady = StreamedPairs(large, SIZES, data)
    for step in range(start):
        steady.draw(4, 1, 0, step)
    resumed = StreamedPairs(large, SIZES, data)
    same(steady, resumed, range(start, start + 3), count=4)
    assert steady._width == 2
    steady.close()
    resumed.close()


def test_the_window_visits_every_shard_and_holds_few(large: Path):
    streamed = StreamedPairs(large, SIZES, Data(stream_memory=1))
    seen: set[str] = set()
    for step in range(SHARDS * 3):
        batch, _ = streamed.draw(4, 0, 0, step)
        here = {key.split("/")[0] for key in batch.keys}
        assert len(here) <= 2
        assert len(streamed._coming) <= 4
        seen |= here
    assert len(seen) == SHARDS
    streamed.close()


def test_a_preview_waits_for_the_step_that_is_being_prepared(large: Path, monkeypatch: pytest.MonkeyPatch):
    streamed = StreamedPairs(large, SIZES, Data(stream_memory=1))
    window, inside = streamed._window, threading.Lock()

    def alone(seed: int, part: int, position: int) -> object:
        assert inside.acquire(blocking=False), "two threads move the window"
        try:
            time.sleep(0.2)
            return window(seed, part, position)
        finally:
            inside.release()

    monkeypatch.setattr(streamed, "_window", alone)
    streamed.draw(4, 1, 0, 20)
    seen = streamed.preview(4, 1)
    first = StreamedPairs(large, SIZES, Data(stream_memory=1))
    expected = first.preview(4, 1)
    assert seen.listed.keys == expected.listed.keys and seen.crops.keys == expected.crops.keys
    same(streamed, first, range(21, 22), count=4)
    streamed.close()
    first.close()


def test_parts_read_in_different_orders(large: Path):
    streamed = StreamedPairs(large, SIZES, Data(stream_memory=1))
    orders = [[streamed._at(0, part, i) for i in range(12)] for part in range(3)]
    assert orders[0] != orders[1] != orders[2]
    for order in orders:
        assert sorted(order[:6]) == sorted(order[6:]) == list(range(SHARDS))
    streamed.close()


@pytest.mark.parametrize(("memory", "kind"), [(6, StreamedPairs), (8, ResidentPairs)])
def test_what_fits_into_the_memory_is_kept_decoded(shards: Path, memory: int, kind: type):
    assert 6 < SHARDS * CROPS * 3 * 184**2 / 2**20 < 8
    pairs = open_pairs(shards, SIZES, replace(DATA, resident_memory=memory))
    assert isinstance(pairs, kind)
    assert str(SHARDS if kind is StreamedPairs else SHARDS * CROPS) in pairs.about
    pairs.close()


def test_http_and_file_urls_and_patterns_are_the_same_set(shards: Path, server: str):
    local = StreamedPairs(shards, SIZES, DATA)
    # How large the shards of a web server are is not known without a list of them: they are streamed.
    for place, data in ((f"{server}/part-{{00..05}}.tar", DATA), (f"file://{shards}/part-{{00..05}}.tar", STREAM)):
        far = open_pairs(place, SIZES, data)
        assert isinstance(far, StreamedPairs)
        same(local, far, range(2))
        far.close()
    local.close()


def test_a_manifest_takes_the_place_of_a_listing(shards: Path, server: str, tmp_path: Path):
    rows = [ShardFile(p.name, str(p), CROPS, p.stat().st_size) for p in sorted(shards.glob("*.tar"))]
    with pytest.raises(DataError, match=r"shards\.json: there is no such file"):
        list_shards(server)
    write_manifest(shards, rows, {"source0": 3, "source1": 3})
    try:
        listing = list_shards(server)
        assert [s.name for s in listing.shards] == [f"part-{i:02d}.tar" for i in range(SHARDS)]
        kept, streamed = open_pairs(server, SIZES, DATA), open_pairs(server, SIZES, STREAM)
        assert isinstance(kept, ResidentPairs) and isinstance(streamed, StreamedPairs)
        assert kept.source_names == streamed.source_names == ("source0", "source1")
        same(streamed, kept, range(1))
        streamed.close()
    finally:
        (shards / "shards.json").unlink()


def test_a_bucket_is_a_folder_of_shards(shards: Path, bucket: str):
    """On a real S3-compatible server: listed, streamed and kept, with and without the list of shards."""
    place = f"{bucket}/shards"
    files = sorted(shards.glob("*.tar"))
    with pytest.raises(DataError, match=r"found none in s3://siamtrack-tests/shards"):
        list_shards(place)
    for path in files:
        write_whole_to(f"{place}/{path.name}", path.read_bytes())
    local, kept = StreamedPairs(shards, SIZES, DATA), ResidentPairs(ResidentSet.load(shards), SIZES, DATA)
    for text in (place, f"{place}/part-{{00..05}}.tar"):
        far = open_pairs(text, SIZES, DATA)
        assert isinstance(far, StreamedPairs)
        same(local, far, range(2))
        far.close()
    write_manifest(place, [ShardFile(p.name, p, CROPS, p.stat().st_size) for p in files], {"source0": 3, "source1": 3})
    near = open_pairs(f"{place}/", SIZES, DATA)
    assert isinstance(near, ResidentPairs) and near.source_names == ("source0", "source1")
    same(near, kept, range(1))
    remove(f"{place}/{files[0].name}")
    with pytest.raises(DataError, match=r"part-00\.tar: there is no such file or bucket"):
        open_pairs(place, SIZES, DATA)
    local.close()


@pytest.mark.parametrize("pattern", ["train-{0..999999999999}.tar", "train-{5..4}.tar", "train-{00..100000}.tar"])
def test_patterns_are_bounded(pattern: str):
    with pytest.raises(DataError, match=r"names \d+ shards; .* at most 100000"):
        list_shards(f"http://127.0.0.1:9/{pattern}")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "[" * 100_000,
        '{"shards": [], "sources": []}',
        '{"shards": [{"name": "../a.tar", "crops": 1, "bytes": 1}], "sources": []}',
        '{"shards": [{"name": "a.tar", "crops": "x", "bytes": 1}], "sources": []}',
        '{"shards": [{"name": "a.tar", "crops": 1e999, "bytes": 1}], "sources": []}',
    ],
)
def test_a_broken_list_of_shards_is_refused(tmp_path: Path, text: str):
    (tmp_path / "shards.json").write_text(text)
    with pytest.raises(DataError, match=r"shards\.json (is no list|lists no shards)"):
        list_shards(tmp_path)


def damaged(folder: Path, bad: set[int]) -> Path:
    """One shard in which some images were cut short."""
    folder.mkdir(exist_ok=True)
    rows = []
    for crop in range(40):
        image = jpeg(crop, 184)
        label = CropLabel(f"t{crop // 4}", crop % 4, (60.0, 70, 110, 115), "dog", "s")
        rows.append((f"c{crop:03d}", image[: len(image) // 2] if crop in bad else image, label))
    write_tar(folder / "only.tar", rows)
    return folder


def test_corrupt_crops_are_skipped_and_named(tmp_path: Path):
    folder = damaged(tmp_path / "d", {7})
    streamed = StreamedPairs(folder, SIZES, Data(max_skipped=0.05))
    shown = {
        key for step in range(12) for pair in streamed.draw(8, 0, 0, step)[0].keys for key in pair.split("/")[1::2]
    }
    assert streamed.skipped == ("only/c007",)
    assert "c007" not in shown
    assert len(shown) > 30
    resident = ResidentSet.load(folder, max_skipped=0.05)
    assert resident.skipped == ("only/c007",)
    assert len(resident) == 39
    streamed.close()


def test_a_batch_without_a_whole_pair_is_drawn_anew(tmp_path: Path):
    """Of one pair a batch some are broken, which is no reason to stop; and what is drawn anew is the same again."""
    data = Data(max_skipped=0.2, video_share=None, negative=0.5)
    folder = damaged(tmp_path / "d", {3, 7, 11, 15, 19, 23, 27})
    first, second = StreamedPairs(folder, SIZES, data), StreamedPairs(folder, SIZES, data)
    same(first, second, range(60), count=1)
    assert len(first.skipped) == 7 and first.skipped == second.skipped
    first.close()
    second.close()


def test_too_many_corrupt_crops_stop_the_run(tmp_path: Path):
    folder = damaged(tmp_path / "d", {7, 8, 20})
    streamed = StreamedPairs(folder, SIZES, Data(max_skipped=0.05))
    with pytest.raises(DataError, match=r"3 of the 40 crops read so far cannot be decoded.*only/c007"):
        for step in range(40):
            streamed.draw(8, 0, 0, step)
    with pytest.raises(DataError, match=r"3 of 40 crops .* cannot be decoded"):
        ResidentSet.load(folder, max_skipped=0.05)
    streamed.close()


def test_a_shard_larger_than_the_memory_is_refused(tmp_path: Path):
    label = CropLabel("t", 0, (60.0, 70, 110, 115), "dog", "s")
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3)).astype(np.uint8)
    image = cv2.imencode(".png", noise)[1].tobytes()
    write_tar(tmp_path / "a.tar", [("a", image, label)])
    with pytest.raises(DataError, match=r"more than data\.stream_memory = 1 MB; raise it or pack smaller"):
        StreamedPairs(tmp_path, SIZES, Data(stream_memory=1))


@pytest.mark.parametrize("damage", ["text", "cut", "lacks", "box"])
def test_broken_shards_are_named(tmp_path: Path, damage: str):
    label = CropLabel("t", 0, (60.0, 70, 110, 115), "dog", "s")
    path = tmp_path / "a.tar"
    write_tar(path, [("a", jpeg(1, 184), label), ("b", jpeg(2, 184), label)])
    whole = path.read_bytes()
    changed = {
        "text": b"no tar at all",
        "cut": whole[: len(whole) // 4],
        "lacks": whole.replace(b'"frame"', b'"frams"'),
        "box": whole.replace(b"[60.0, 70, ", b"[60.0, 170,"),
    }
    path.write_bytes(changed[damage])
    said = {"lacks": "lacks frame", "box": "x0 < x1"}.get(damage, "no readable WebDataset shard")
    with pytest.raises(DataError, match=rf"a\.tar.*{said}"):
        ResidentSet.load(tmp_path)
    with pytest.raises(DataError, match=rf"a\.tar.*{said}"):
        StreamedPairs(tmp_path, SIZES, Data())


def test_nothing_there(tmp_path: Path):
    with pytest.raises(DataError, match="found none in"):
        open_pairs(tmp_path, SIZES, Data())
    with pytest.raises(DataError, match="cannot be read"):
        open_pairs("http://127.0.0.1:9/x.tar", SIZES, Data())
