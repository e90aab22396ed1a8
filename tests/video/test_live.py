"""Live sources, read from a real RTSP server of this machine; its frames show the time at which they were made."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from footage import decode, moving_patches, write_mp4
from siamtrack.errors import InputError
from siamtrack.video.ahead import NewestOf
from siamtrack.video.feeds import _live_feed
from siamtrack.video.reader import open_source
from siamtrack.video.writer import VideoWriter

PYTHON = "/usr/bin/python3"  # the one that the system's bindings of GStreamer are made for
SERVER = Path(__file__).with_name("rtsp_server.py")
FRAME = 1000 / 30  # milliseconds


@pytest.fixture(scope="module")
def gstreamer() -> None:
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer\n"
    code += "Gst.init(None); assert Gst.ElementFactory.find('x264enc')"
    try:
        subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("GStreamer's RTSP server is not installed (gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-ugly)")


@pytest.fixture
def port(gstreamer: None) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def serve(port: int) -> subprocess.Popen[str]:
    process = subprocess.Popen([PYTHON, str(SERVER), str(port), "300"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def age(frame: np.ndarray) -> int:
    """Milliseconds since the frame was made."""
    bits = frame[60, :, 0].reshape(32, -1).mean(axis=1) > 128
    return (int(time.time() * 1000) - sum(int(bit) << k for k, bit in enumerate(bits))) % (1 << 32)


@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_a_slow_reader_stays_beside_the_newest_frame(port: int, seconds: float) -> None:
    server = serve(port)
    try:
        with open_source(f"rtsp://127.0.0.1:{port}/live") as source:
            assert source.live and source.size == (320, 240) and source.count is None
            if seconds > 10:
                time.sleep(1.5)  # a model is loaded
            ages, numbers = [], []
            began = time.monotonic()
            for frame in source:
                ages.append(age(frame))
                numbers.append(source.number)
                time.sleep(0.06)  # a tracker of 16 frames a second on a stream of 30
                if time.monotonic() - began > seconds:
                    break
    finally:
        server.kill()
    thirds = np.array_split(ages, 3)
    print(f"lag over {seconds} s: median {np.median(ages):.0f} ms, 95 % below {np.percentile(ages, 95):.0f} ms")
    assert np.median(ages) < 2 * FRAME and ages[0] < 5 * FRAME
    assert np.median(thirds[2]) - np.median(thirds[0]) < FRAME
    assert numbers[0] == 0 and (np.diff(numbers) >= 1).all()
    assert source.dropped == numbers[-1] + 1 - len(numbers) > len(numbers) / 2


def test_every_frame_is_read_where_that_is_wanted(port: int) -> None:
    server = serve(port)
    try:
        with open_source(f"rtsp://127.0.0.1:{port}/live", end=40, every_frame=True) as source:
            numbers = []
            for _ in source:
                numbers.append(source.number)
                time.sleep(0.04)
    finally:
        server.kill()
    assert numbers == list(range(40)) and source.dropped == 0


def test_a_stream_that_breaks_is_opened_again_within_ten_seconds(port: int) -> None:
    server = serve(port)
    try:
        with open_source(f"rtsp://127.0.0.1:{port}/live") as source:
            frames = iter(source)
            for _ in range(10):
                next(frames)
            server.kill()
            server.wait()
            time.sleep(1)
            server = serve(port)
            back = time.monotonic()
            while age(next(frames)) > 500:  # what had been received before the break
                pass
            assert time.monotonic() - back < 10
            next(frames)
            assert source.warning is not None and "broke off and was opened again, 1 times" in source.warning
    finally:
        server.kill()


def test_a_stream_that_stays_away_ends_with_a_note(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamtrack.video.feeds._GIVE_UP", 1.0)
    server = serve(port)
    try:
        with open_source(f"rtsp://127.0.0.1:{port}/live") as source:
            threading.Timer(0.5, server.kill).start()
            assert sum(1 for _ in source) > 3
            assert "could not be opened again for 1 s" in (source.warning or "")
    finally:
        server.kill()
    with pytest.raises(InputError, match=f"cannot open the stream 'rtsp://127.0.0.1:{port}/live'"):
        open_source(f"rtsp://127.0.0.1:{port}/live")


def test_a_stream_that_comes_back_without_pictures_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siamtrack.video.feeds._GIVE_UP", 2.0)
    write_mp4(tmp_path / "pictures.mp4", moving_patches(6)[0])
    with av.open(str(tmp_path / "sound.wav"), "w") as sound:
        stream = sound.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        frame.sample_rate = 8000
        sound.mux([*stream.encode(frame), *stream.encode(None)])
    answers = iter(["pictures.mp4", "sound.wav", "pictures.mp4"])

    def connect() -> av.container.InputContainer:
        name = next(answers, None)
        if name is None:
            raise OSError("the camera is off")
        return av.open(str(tmp_path / name))

    feed = _live_feed("a camera", connect, connect())
    assert len([picture() for picture in feed.frames]) == 12
    assert next(answers, None) is None and "broke off" in feed.notes[0]


def test_only_the_newest_item_is_kept_and_errors_come_last() -> None:
    taken = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        taken.wait(10)
        yield from (2, 3, 4)
        raise ValueError("the end")

    newest = NewestOf(items())
    assert next(newest) == 1
    taken.set()
    newest._thread.join(10)
    assert next(newest) == 4
    with pytest.raises(ValueError, match="the end"):
        next(newest)
    assert newest.close()


def test_a_stride_leaves_frames_out_and_the_video_keeps_its_pace(tmp_path: Path) -> None:
    clip = write_mp4(tmp_path / "clip.mp4", moving_patches(30)[0])
    whole = decode(clip)
    with open_source(clip, 2, 24, stride=5) as source, VideoWriter(tmp_path / "out.mp4", (160, 120), 25) as video:
        numbers = []
        for frame in source:
            np.testing.assert_allclose(frame, whole[source.number], atol=2)
            numbers.append(source.number)
            video.write(frame, source.number - source.start)
        assert numbers == [2, 7, 12, 17, 22] and source.count == 5
    import av

    with av.open(str(tmp_path / "out.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    with pytest.raises(InputError, match="a stride of 1 or more"):
        open_source(clip, stride=0)
