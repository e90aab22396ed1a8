"""Threads ahead of tracking and behind it: all items, in order, with their errors."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from footage import decode, moving_patches, write_mp4
from siamtrack.errors import InputError
from siamtrack.video import reader
from siamtrack.video.ahead import AheadOf, Behind
from siamtrack.video.reader import open_source


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "frames ahead"]


def test_all_items_come_in_order_and_the_error_after_them() -> None:
    def items() -> Iterator[int]:
        yield from range(50)
        raise InputError("broken")

    ahead, got = AheadOf(items()), list[int]()
    with pytest.raises(InputError, match="broken"):
        for item in ahead:
            got.append(item)
    assert got == list(range(50))
    with pytest.raises(StopIteration):
        next(ahead)
    assert ahead.close()


def test_it_is_two_items_ahead_and_no_more_and_stops_when_it_is_told() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for n in range(1000):
            made.append(n)
            yield n

    ahead = AheadOf(items())
    for n in range(5):
        assert next(ahead) == n
    time.sleep(0.2)
    assert len(made) == 7
    assert ahead.close() and not threads()
    with pytest.raises(StopIteration):
        next(ahead)


def test_work_behind_is_done_in_order_and_closing_waits_for_it() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        time.sleep(0.002)
        done.append(item)

    behind = Behind(work, 4)
    waiting = []
    for item in range(40):
        behind.put(item)
        waiting.append(item + 1 - len(done))
    assert 2 <= max(waiting) <= 6  # four wait, one is under way, one may be finished but not counted yet
    behind.close()
    assert done == list(range(40))
    assert not [thread for thread in threading.enumerate() if thread.name == "frames behind"]


@pytest.mark.parametrize("broken", [3, 19])
def test_an_error_behind_ends_the_work_and_is_raised_once(broken: int) -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == broken:
            raise InputError("broken")
        done.append(item)

    behind = Behind(work, 1)
    with pytest.raises(InputError, match="broken"):
        for item in range(20):
            behind.put(item)
            time.sleep(0.005)
        behind.close()
    behind.close()
    assert done == list(range(broken))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mp4(tmp_path_factory.mktemp("clip") / "clip.mp4", moving_patches(40)[0])


@pytest.mark.parametrize("processors", [1, 2])
def test_frames_are_those_of_the_file_with_and_without_a_thread(
    clip: Path, processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_processors", lambda: processors)
    with open_source(clip, 3, 30, 4) as source:
        numbers, got = [], []
        for frame in source:
            assert len(threads()) <= processors - 1
            numbers.append(source.number)
            got.append(frame)
    assert numbers == list(range(3, 30, 4)) and not threads()
    for frame, expected in zip(got, decode(clip)[3:30:4], strict=True):
        np.testing.assert_allclose(frame, expected, atol=2)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_processors", lambda: 2)


@pytest.mark.usefixtures("two")
def test_a_source_that_is_left_or_dropped_leaves_no_thread(clip: Path) -> None:
    with open_source(clip) as source:
        next(iter(source))
        assert threads()
    assert not threads()
    assert next(iter(open_source(clip, 5))) is not None
    gc.collect()
    assert not threads()


@pytest.mark.usefixtures("two")
def test_a_bad_image_is_told_in_its_place(tmp_path: Path) -> None:
    from PIL import Image

    for n in range(6):
        Image.fromarray(np.full((20, 30, 3), 40 * n, np.uint8)).save(tmp_path / f"{n}.png")
    (tmp_path / "4.png").write_bytes(b"no picture")
    seen = 0
    with open_source(tmp_path) as source, pytest.raises(InputError, match=r"4\.png"):
        for _ in source:
            seen += 1
    assert seen == 4 and not threads()


def test_hardware_that_is_not_there_is_refused_in_one_line(clip: Path, tmp_path: Path) -> None:
    there = av.codec.hwaccel.hwdevices_available()
    for name in ("none", *there):
        try:
            open_source(clip, hwaccel=name).close()
        except InputError as error:
            assert str(error).startswith("--hwaccel: ") and "\n" not in str(error) and "leave" in str(error)
        else:
            assert name in there  # it is there, and decodes
    for place in (tmp_path, 0):
        with pytest.raises(InputError, match="--hwaccel"):
            open_source(place, hwaccel=there[0] if there else "cuda")
    text = tmp_path / "clip.mp4"
    text.write_text("no video")
    with pytest.raises(InputError, match=r"not a video that can be read|--hwaccel"):
        open_source(text, hwaccel=there[0] if there else "cuda")
