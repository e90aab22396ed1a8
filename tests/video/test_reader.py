from __future__ import annotations

import io
import os
import re
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from footage import decode, moving_patches, noise, write_mp4
from siamtrack.errors import InputError
from siamtrack.video.images import decode_image
from siamtrack.video.reader import open_source


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mp4(tmp_path_factory.mktemp("clip") / "clip.mp4", moving_patches(30)[0])


def save(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path), image)


def test_video_yields_every_frame_in_order(clip: Path) -> None:
    with open_source(clip) as source:
        assert (source.fps, source.count, source.size, source.name) == (25.0, 30, (160, 120), "clip.mp4")
        frames = list(source)
    assert source.warning is None
    expected = moving_patches(30)[0]
    assert len(frames) == 30
    for got, want in zip(frames, expected, strict=True):
        assert got.dtype == np.uint8 and got.flags.c_contiguous
        assert np.abs(got.astype(int) - want).mean() < 6
    # The frames differ enough for a shift by one to be seen.
    assert np.abs(frames[1].astype(int) - expected[4]).mean() > 6


@pytest.mark.parametrize(("start", "end"), [(0, None), (7, None), (7, 12), (0, 1), (29, None), (3, 400)])
def test_start_and_end_count_frames_exactly(clip: Path, start: int, end: int | None) -> None:
    want = decode(clip)[start:end]
    with open_source(clip, start, end) as source:
        assert source.count == len(want)
        got = list(source)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=2)


def test_start_beyond_the_end_and_empty_ranges_are_refused(clip: Path) -> None:
    with pytest.raises(InputError, match=r"no frame 30: it has 30 frames"):
        open_source(clip, 30)
    for start, end in ((-1, None), (5, 5), (5, 2)):
        with pytest.raises(InputError, match="0 <= start < end"):
            open_source(clip, start, end)


def test_folder_comes_in_natural_order_without_other_files(tmp_path: Path) -> None:
    for n in (10, 2, 1, 33):
        save(tmp_path / f"{n}.png", np.full((8, 10, 3), n, np.uint8))
    (tmp_path / "notes.txt").write_text("1,2,3,4")
    (tmp_path / "._1.png").write_bytes(b"resource fork")
    with open_source(str(tmp_path)) as source:
        assert (source.count, source.size, source.name) == (4, (10, 8), tmp_path.name)
        assert [int(frame[0, 0, 0]) for frame in source] == [1, 2, 10, 33]
    with open_source(tmp_path, 1, 3) as source:
        assert source.count == 2
        assert [int(frame[0, 0, 0]) for frame in source] == [2, 10]


def test_images_of_all_kinds_become_rgb_uint8(tmp_path: Path) -> None:
    blue_bgr = np.zeros((6, 6, 3), np.uint8)
    blue_bgr[..., 0] = 200
    cases = {
        "1-colour.png": (blue_bgr, (0, 0, 200)),
        "2-grey.png": (np.full((6, 6), 77, np.uint8), (77, 77, 77)),
        "3-rgba.png": (np.dstack([blue_bgr, np.full((6, 6), 9, np.uint8)]), (0, 0, 200)),
        "4-grey16.png": (np.full((6, 6), 0x4D12, np.uint16), (0x4D,) * 3),
        "5-colour16.tif": (blue_bgr.astype(np.uint16) * 256, (0, 0, 200)),
    }
    for name, (image, _) in cases.items():
        save(tmp_path / name, image)
    with open_source(tmp_path) as source:
        for frame, (_, colour) in zip(source, cases.values(), strict=True):
            assert frame.dtype == np.uint8 and frame.shape == (6, 6, 3)
            assert tuple(frame[3, 3]) == colour


@pytest.mark.parametrize("size", [(64, 48), (61, 47)])
@pytest.mark.parametrize("sampling", [0x111111, 0x211111, 0x221111])
@pytest.mark.parametrize("progressive", [0, 1])
def test_jpeg_pixels_are_those_of_opencv(size: tuple[int, int], sampling: int, progressive: int) -> None:
    settings = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    done, data = cv2.imencode(".jpg", noise(size, 5), settings)
    assert done
    expected = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(decode_image(data.tobytes(), "x.jpg"), expected)


def test_float_images_and_broken_images_are_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path / "1.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match=r"1\.tif' has float32 values"):
        open_source(tmp_path)
    broken = tmp_path / "more"
    broken.mkdir()
    save(broken / "1.png", np.zeros((4, 4, 3), np.uint8))
    (broken / "2.png").write_text("not an image")
    (broken / "3.png").touch()
    with open_source(broken) as source:
        frames = iter(source)
        next(frames)
        with pytest.raises(InputError, match=r"2\.png' is not an image"):
            next(frames)


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    ok, data = cv2.imencode(".jpg", np.zeros((20, 40, 3), np.uint8))
    assert ok
    # One EXIF entry, orientation 6: turn by 90 degrees to show the picture upright.
    tiff = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    block = b"Exif\x00\x00" + tiff
    jpeg = data.tobytes()
    (tmp_path / "1.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:])
    with open_source(tmp_path) as source:
        assert source.size == (20, 40)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_of_motion_jpeg_is_followed(tmp_path: Path, orientation: int, turns: int) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    y, x = np.mgrid[:48, :64]
    picture = np.stack([3 * x, 4 * y, 0 * x], -1).astype(np.uint8)
    Image.fromarray(picture).save(file, "jpeg", quality=95, exif=exif)
    path = tmp_path / "camera.mjpeg"
    path.write_bytes(file.getvalue() * 3)
    with open_source(path) as source:
        frames = [np.asarray(frame, int) for frame in source]
    assert len(frames) == 3
    for frame in frames:
        assert frame.shape == np.rot90(picture, turns).shape
        assert np.abs(frame - np.rot90(picture, turns)).mean() < 4


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 3), (180, 2), (270, 1)])
def test_rotation_flag_turns_the_video_upright(tmp_path: Path, clip: Path, degrees: int, turns: int) -> None:
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, times and ids, reserved to volume
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    fixed = 1 << 16
    data[at : at + 36] = struct.pack(">9i", cos * fixed, sin * fixed, 0, -sin * fixed, cos * fixed, 0, 0, 0, 1 << 30)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    want = np.rot90(decode(clip)[0], turns)
    with open_source(path) as source:
        assert source.size == (want.shape[1], want.shape[0])
        np.testing.assert_allclose(next(iter(source)), want, atol=2)


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
        ((1, 0, 0, -1), lambda frame: frame[::-1]),
        ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda frame: frame.transpose(1, 0, 2)[::-1, ::-1]),
    ],
)
def test_a_mirrored_video_is_read_as_players_show_it(
    tmp_path: Path, clip: Path, matrix: tuple[int, int, int, int], upright: Callable[[np.ndarray], np.ndarray]
) -> None:
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 20] = struct.pack(">5i", a, b, 0, c, d)
    path = tmp_path / "mirrored.mp4"
    path.write_bytes(data)
    want = upright(decode(clip)[0])
    with open_source(path) as source:
        assert source.size == (want.shape[1], want.shape[0])
        np.testing.assert_allclose(next(iter(source)), want, atol=2)


def test_a_stream_that_sends_nothing_is_told_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamtrack.video.feeds._OPEN_TIMEOUT", 1.0)
    words = "cannot open the stream 'tcp://.*': no picture came for 1 s"
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(InputError, match=words):
        open_source(f"tcp://127.0.0.1:{silent.getsockname()[1]}")


def test_what_is_no_video_gets_one_clear_line(tmp_path: Path) -> None:
    text = "a line of text that is no video\n" * 40
    for name in ("a.mp4", "a.txt", "a.avi", "README"):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(InputError, match="is not a video") as caught:
            open_source(path)
        assert "\n" not in str(caught.value) and name in str(caught.value)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"empty\.mp4' is not a video"):
        open_source(tmp_path / "empty.mp4")
    with pytest.raises(InputError, match=r"no such file or folder: .*nothing\.mp4"):
        open_source(tmp_path / "nothing.mp4")
    with pytest.raises(InputError, match="cannot open the stream 'http://127"):
        open_source("http://127.0.0.1:9/nothing.mp4")


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nnone.ts\n",
        "ffconcat version 1.0\nfile pipe\n",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 49170 RTP/AVP 96\r\n",
    ],
    ids=["segments that never come", "a pipe", "packets that nobody sends"],
)
@pytest.mark.parametrize("name", ["a.m3u8", "a.sdp", "a.mp4"])
def test_lists_of_other_places_are_not_waited_for(name: str, text: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / name
    path.write_text(text)
    for source in (path, path.as_uri()):
        read = "import sys; from siamtrack.video.reader import open_source; open_source(sys.argv[1])"
        done = subprocess.run([sys.executable, "-c", read, str(source)], capture_output=True, text=True, timeout=60)
        assert "InputError" in done.stderr


def test_a_single_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", noise((32, 24), 0))
    with open_source(tmp_path / "a.jpg") as source:
        assert source.size == (32, 24) and len(list(source)) == 1


def test_nothing_is_looked_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamtrack.video.feeds._FILE_PATIENCE", (0.5, 0.5))
    path = tmp_path / "a.mpg"
    with av.open(str(path), "w") as out:
        coded = out.add_stream("mpeg2video", rate=10)
        coded.width, coded.height, coded.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            out.mux(coded.encode(av.VideoFrame.from_ndarray(noise((64, 48), 0), format="rgb24")))
        out.mux(coded.encode(None))
    os.truncate(path, 1 << 40)
    began = time.monotonic()
    with open_source(path) as source:
        assert len(list(source)) >= 3
    assert "is cut short" in str(source.warning) and time.monotonic() - began < 10


def test_of_large_frames_few_are_in_memory(tmp_path: Path) -> None:
    width, height, count = 8192, 4100, 12  # 34 million pixels, of zeros that take no place on the disk
    with (tmp_path / "large.y4m").open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F25:1\n".encode())
        for _ in range(count):
            file.write(b"FRAME\n")
            file.seek(width * height * 3 // 2, 1)
        file.truncate(file.tell())
    read = (
        "import sys, time; from siamtrack.video.reader import open_source\n"
        "for n, frame in enumerate(open_source(sys.argv[1])): time.sleep(0.3 if n < 3 else 0)\n"
        "print(n + 1, open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", read, str(tmp_path / "large.y4m")], capture_output=True, check=True)
    frames, kilobytes = map(int, done.stdout.split())
    assert frames == count and kilobytes >> 10 < 560  # two frames of 96 MB, and what they are made from


def test_folder_without_images_names_the_folder_below_that_has_some(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images in the folder .* expected \.jpg"):
        open_source(tmp_path)
    (tmp_path / "img").mkdir()
    save(tmp_path / "img" / "1.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match=r"did you mean .*img'\?"):
        open_source(tmp_path)


def test_truncated_video_yields_what_decodes_and_says_where_it_ends(tmp_path: Path, clip: Path) -> None:
    data = clip.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 6 // 10])
    whole = decode(clip)
    with open_source(cut) as source:
        frames = list(source)
        assert 5 < len(frames) < 30
        assert source.warning == f"'cut.mp4' is cut short: it ends after {len(frames)} of 30 frames"
    for got, want in zip(frames, whole, strict=False):
        np.testing.assert_allclose(got, want, atol=2)


def test_video_cut_before_its_index_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = write_mp4(tmp_path / "late.mp4", moving_patches(30)[0], faststart=False)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"was cut before its index \(moov\)"):
        open_source(path)


def test_damage_inside_a_video_is_survived_and_reported(tmp_path: Path) -> None:
    path = write_mp4(tmp_path / "hurt.mp4", [noise((160, 120), n) for n in range(30)])
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 3000] = b"\x00" * 3000
    path.write_bytes(data)
    with open_source(path) as source:
        count = sum(1 for _ in source)
    assert 15 < count <= 30
    assert count == 30 or re.fullmatch(r"'hurt.mp4' is damaged: \d+ packets .*", source.warning or "")


def test_change_of_size_names_the_frame_and_both_sizes(tmp_path: Path) -> None:
    images = tmp_path / "img"
    images.mkdir()
    for n, size in enumerate([(8, 6), (8, 6), (10, 6)]):
        save(images / f"{n}.png", np.zeros((size[1], size[0], 3), np.uint8))
    with open_source(images) as source:
        frames = iter(source)
        assert next(frames).shape == next(frames).shape
        with pytest.raises(InputError, match=r"frame 2 of 'img' has 10x6 pixels, but the frames before it 8x6"):
            next(frames)


def test_change_of_size_in_a_video_stream(tmp_path: Path) -> None:
    parts = [write_mp4(tmp_path / f"{n}.mp4", [noise(size, n)] * 12) for n, size in enumerate([(64, 48), (96, 64)])]
    raw = tmp_path / "both.h264"
    raw.write_bytes(b"".join(annex_b(part) for part in parts))
    with open_source(raw) as source:
        assert source.size == (64, 48)
        frames = []
        with pytest.raises(InputError, match=r"frame 12 of 'both.h264' has 96x64"):
            frames.extend(source)
        assert len(frames) <= 12


def annex_b(path: Path) -> bytes:
    """The bare h264 stream of an mp4, as cameras send it."""
    import av
    from av.bitstream import BitStreamFilterContext

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        convert = BitStreamFilterContext("h264_mp4toannexb", stream)
        return b"".join(bytes(out) for packet in container.demux(stream) for out in convert.filter(packet))


def test_missing_camera_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source in (63, "63", -1, 10**30, "9" * 30):
        with pytest.raises(InputError, match=f"cannot open camera {source}"):
            open_source(source)


def test_an_image_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((30, 40, 3), np.uint8))
    with (tmp_path / "1.png").open("wb") as file:
        file.truncate(20 << 30)
    with (
        open_source(tmp_path) as source,
        pytest.raises(InputError, match=r"1\.png: 21474836480 bytes; expected at most"),
    ):
        list(source)


def test_image_larger_than_can_be_decoded_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    with pytest.raises(InputError, match=r"bomb\.png' is not an image that can be read"):
        open_source(tmp_path)
    assert capfd.readouterr().err == ""


def test_stream_url_is_read(clip: Path) -> None:
    with open_source(clip.as_uri()) as source:
        assert sum(1 for _ in source) == 30
