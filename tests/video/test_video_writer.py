from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest

import siamtrack.video.writer as writer_module
from footage import decode, moving_patches, noise
from siamtrack.errors import InputError
from siamtrack.video.reader import open_source
from siamtrack.video.writer import VideoWriter, top_atoms


def write(path: Path, frames: list[np.ndarray], fps: float = 25.0) -> Path:
    with VideoWriter(path, (frames[0].shape[1], frames[0].shape[0]), fps) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def test_file_is_what_a_browser_plays(tmp_path: Path) -> None:
    frames = moving_patches(60)[0]
    path = write(tmp_path / "out.mp4", frames)
    kinds = [atom.kind for atom in top_atoms(path)]
    assert kinds[0] == "ftyp" and kinds.index("moov") < kinds.index("mdat") and "moof" not in kinds
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, float(stream.average_rate), stream.start_time) == (60, 25.0, 0)
        assert float(stream.duration * stream.time_base) == pytest.approx(60 / 25)
        assert stream.codec_context.colorspace == stream.codec_context.color_primaries == 1
    for got, want in zip(decode(path), frames, strict=True):
        assert np.abs(got.astype(int) - want).mean() < 8
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


def test_a_frame_may_be_changed_as_soon_as_it_is_written(tmp_path: Path) -> None:
    frame = np.zeros((120, 160, 3), np.uint8)
    with VideoWriter(tmp_path / "out.mp4", (160, 120), 25) as writer:
        for level in range(0, 240, 8):
            frame[:] = level
            writer.write(frame)
            frame[:] = 255
    levels = [picture.mean() for picture in decode(tmp_path / "out.mp4")]
    np.testing.assert_allclose(levels, range(0, 240, 8), atol=4)


def test_colours_survive(tmp_path: Path) -> None:
    colours = [(200, 30, 60), (20, 180, 90), (40, 60, 220), (255, 255, 255), (0, 0, 0)]
    frames = [np.full((48, 64, 3), colour, np.uint8) for colour in colours]
    for got, want in zip(decode(write(tmp_path / "out.mp4", frames)), frames, strict=True):
        np.testing.assert_allclose(got.astype(int), want, atol=6)


@pytest.mark.parametrize("size", [(161, 120), (160, 121), (33, 17), (2, 2), (1, 1)])
def test_odd_sizes_are_made_even_by_repeating_the_edge(tmp_path: Path, size: tuple[int, int]) -> None:
    frame = noise(size, 3) // 2 + 60
    (got,) = decode(write(tmp_path / "out.mp4", [frame]))
    assert got.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)


@pytest.mark.parametrize("fps", [23.976, 29.97, 30.0, 12.5, 1.0, 240.0])
def test_frame_rates_are_kept(tmp_path: Path, fps: float) -> None:
    path = write(tmp_path / "out.mp4", [noise((32, 32), n) for n in range(3)], fps)
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(fps, rel=1e-4)


def test_an_error_leaves_a_playable_file_up_to_it(tmp_path: Path) -> None:
    frames = moving_patches(17)[0]
    path = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, (160, 120), 25) as writer:
        for frame in frames:
            writer.write(frame)
        raise KeyboardInterrupt
    assert len(decode(path)) == 17


def test_without_frames_an_earlier_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"earlier")
    VideoWriter(path, (32, 32), 25).close()
    assert path.read_bytes() == b"earlier" and len(list(tmp_path.iterdir())) == 1


def test_bad_targets_and_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"written as \.mp4"):
        VideoWriter(tmp_path / "out.avi", (32, 32), 25)
    with pytest.raises(InputError, match="no such folder"):
        VideoWriter(tmp_path / "none" / "out.mp4", (32, 32), 25)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4", (32, 32), 25)
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="frame rate"):
            VideoWriter(tmp_path / "out.mp4", (32, 32), fps)
    with VideoWriter(tmp_path / "out.mp4", (32, 32), 25) as writer:
        with pytest.raises(InputError, match="expected a frame of 32x32"):
            writer.write(np.zeros((32, 34, 3), np.uint8))
        with pytest.raises(InputError, match="float64"):
            writer.write(np.zeros((32, 32, 3)))


@pytest.mark.parametrize("size", [(64, 2_000_000), (16386, 16), (8192, 4098), (11_000, 11_000)])
def test_pictures_that_h264_has_no_level_for_are_refused_at_once(size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a video in h264 has at most"):
        VideoWriter(tmp_path / "a.mp4", size, 25)
    assert not list(tmp_path.iterdir())


def test_full_disk_keeps_what_was_written_and_says_so_once(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: the same calls fail in the same places."""
    path = tmp_path / "out.mp4"
    limit = 150_000
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from footage import noise
        from siamtrack.errors import InputError
        from siamtrack.video.writer import VideoWriter
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        number = 0
        try:
            with VideoWriter({str(path)!r}, (160, 120), 5) as writer:
                for number in range(300):
                    writer.write(noise((160, 120), number))
        except InputError as error:
            print(number, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300, check=True
    )
    number, _, message = done.stdout.strip().partition(" ")
    assert 0 < int(number) < 299
    frames = decode(path)
    # Lost are at most the fragment under way (one frame at this rate) and what the encoder and its queue held.
    assert int(number) - len(frames) <= 18 and len(frames) > 5
    assert message == (f"cannot write '{path}' any further: file too large; it holds the first {len(frames)} frames")
    for n, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - noise((160, 120), n)).mean() < 15
    assert not any(atom.end > path.stat().st_size for atom in top_atoms(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


def test_a_file_that_cannot_be_made_is_refused_before_the_first_frame(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*: file name too long"):
        VideoWriter(tmp_path / ("n" * 300 + ".mp4"), (16, 16), 25)
    assert list(tmp_path.iterdir()) == []


def test_a_colon_in_a_relative_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(decode(write(Path("at 10:30.mp4"), moving_patches(3)[0]))) == 3


def test_where_the_index_cannot_be_moved_to_the_front_the_fragments_are_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_module, "_remux", full)
    path = write(tmp_path / "out.mp4", moving_patches(40)[0])
    assert len(decode(path)) == 40
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


def test_killed_process_leaves_fragments_that_play(tmp_path: Path) -> None:
    code = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from footage import noise
        from siamtrack.video.writer import VideoWriter
        writer = VideoWriter({str(tmp_path / "out.mp4")!r}, (160, 120), 5)
        for number in range(60):
            writer.write(noise((160, 120), number))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=300, check=False)
    (part,) = tmp_path.iterdir()
    with open_source(part) as source:
        assert part.name == ".part-out.mp4" and sum(1 for _ in source) >= 48
