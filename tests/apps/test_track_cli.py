"""The track command as people use it: real files, and a tracker that needs no network."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import siamtrack
from footage import FIRST_BOX, SECOND_BOX, decode, moving_patches, write_mp4
from program import call
from siamtrack.apps.cli.track import parse_box, parse_targets
from siamtrack.config import load_preset, preset_to_json
from siamtrack.errors import InputError
from siamtrack.models.weights import save_weights
from siamtrack.zoo import load_multi
from template_matcher import Found, TemplateMatcher

BOX = "40,30,32,24"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mp4(tmp_path_factory.mktemp("clip") / "clip.mp4", moving_patches(30)[0])


@pytest.fixture(autouse=True)
def matcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siamtrack, "load_multi", lambda *given, **named: TemplateMatcher())


def text_of(box: tuple[float, ...]) -> str:
    return ",".join(map(str, box))


def test_boxes_follow_the_target_and_the_first_line_is_the_given_box(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, video = tmp_path / "out.txt", tmp_path / "out.mp4"
    assert call(monkeypatch, "track", clip, "--box", BOX, "--output", out, "--video", video) == 0
    np.testing.assert_allclose(np.loadtxt(out, delimiter=","), moving_patches(30)[1][:, 0], atol=1)
    assert out.read_text().splitlines()[0] == BOX
    drawn, plain = decode(video), decode(clip)
    assert len(drawn) == 30
    for n in (0, 29):
        assert np.abs(drawn[n].astype(int) - plain[n]).max() > 100
    printed = capsys.readouterr()
    assert "tracked 30 frames of clip.mp4" in printed.out and "frames a second" in printed.out
    assert str(out) in printed.out and str(video) in printed.out and printed.err == ""


def test_two_targets_at_once_are_two_runs_of_one(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [text_of(FIRST_BOX), text_of(SECOND_BOX)]
    both = tmp_path / "both.txt"
    assert call(monkeypatch, "track", clip, "--box", boxes[0], "--box", boxes[1], "--output", both) == 0
    assert not both.exists()
    for n, box in enumerate(boxes, 1):
        alone = tmp_path / f"alone{n}.txt"
        assert call(monkeypatch, "track", clip, "--box", box, "--output", alone) == 0
        assert (tmp_path / f"both-{n}.txt").read_text() == alone.read_text()


def test_csv_and_jsonl_rows(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = ("--box", text_of(FIRST_BOX), "--box", text_of(SECOND_BOX))
    for name in ("out.csv", "out.jsonl"):
        assert call(monkeypatch, "track", clip, *boxes, "--output", tmp_path / name, "--end", "4") == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    objects = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["frame"], row["target"]) for row in objects] == [(f, t) for f in range(4) for t in (1, 2)]
    assert [{k: v if k == "status" else float(v) for k, v in row.items()} for row in rows] == objects
    assert objects[0]["score"] == objects[0]["presence"] == 1 and all(0 <= row["score"] <= 1 for row in objects)
    assert {row["status"] for row in objects} == {"tracking"}


def test_several_outputs_in_several_formats(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"mot.txt": "mot", "all.xml": "cvat", "coco.json": "coco", "yolo": "yolo", "out.csv": "csv"}
    given = [word for name, kind in names.items() for word in ("--output", tmp_path / name, "--format", kind)]
    labels = ("--label", "ball")
    assert call(monkeypatch, "track", clip, "--box", BOX, "--end", "4", *given, *labels) == 0
    printed = capsys.readouterr().out
    assert all(f"boxes: {tmp_path / name}" in printed for name in names)
    assert (tmp_path / "mot.txt").read_text().splitlines()[0] == "1,1,41,31,32,24,1,-1,-1,-1"
    assert 'label="ball"' in (tmp_path / "all.xml").read_text()
    assert json.loads((tmp_path / "coco.json").read_text())["categories"][0]["name"] == "ball"
    assert (tmp_path / "yolo/classes.txt").read_text() == "ball\n"
    assert len(list((tmp_path / "yolo/labels").iterdir())) == 4
    assert call(monkeypatch, "track", clip, "--box", BOX, "--output", tmp_path / "yolo", "--format", "yolo") == 2
    assert "is there already; choose another folder, or --overwrite" in capsys.readouterr().err


def test_start_and_end_are_frame_numbers(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = moving_patches(30)[1][5:12, 0]
    out, table, video = tmp_path / "out.txt", tmp_path / "out.csv", tmp_path / "out.mp4"
    options = ("--box", text_of(tuple(truth[0])), "--start", "5", "--end", "12")
    assert call(monkeypatch, "track", clip, *options, "--output", out, "--video", video) == 0
    np.testing.assert_allclose(np.loadtxt(out, delimiter=","), truth, atol=1)
    assert len(decode(video)) == 7
    assert call(monkeypatch, "track", clip, *options, "--output", table) == 0
    with table.open(newline="") as file:
        assert [int(row["frame"]) for row in csv.DictReader(file)] == list(range(5, 12))


def test_boxes_of_several_frames_correct_a_target(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = moving_patches(30)[1]
    keys = [f"{n}:{text_of(tuple(truth[n, 0]))}" for n in (4, 20)]
    table, video = tmp_path / "out.csv", tmp_path / "out.mp4"
    other = ("--box", text_of(SECOND_BOX))
    boxes = ("--box", keys[1], "--box", keys[0], *other)
    assert call(monkeypatch, "track", clip, *boxes, "--output", table, "--video", video) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for target in (0, 1):
        own = [[float(row[key]) for key in "xywh"] for row in rows if row["target"] == str(target + 1)]
        np.testing.assert_allclose(own, truth[:, target], atol=1)
    assert [row["frame"] for row in rows if row["score"] == "1" and row["target"] == "1"] == ["4", "20"]
    assert len(decode(video)) == 30
    for wrong, message in (
        (("--box", "30:1,1,9,9"), "--box 30:... is of a frame that is not tracked; expected 0 to 29"),
        (("--box", "x:1,1,9,9"), "or N:X,Y,W,H with the number N of a frame; got 'x:1,1,9,9'"),
        (("--box", "3:1,1,9,9", "--vid-stride", "2"), "leave --vid-stride out"),
    ):
        assert call(monkeypatch, "track", clip, *wrong) == 2
        assert message in capsys.readouterr().err


def test_a_run_over_keys_that_fails_leaves_the_earlier_files(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(TemplateMatcher):
        """Is interrupted, or stopped by an error, in the tenth frame."""

        frames, error = 0, BaseException()

        def update(self, frame: np.ndarray) -> list[Found]:
            self.frames += 1
            if self.frames == 10:
                raise self.error
            return super().update(frame)

    outputs = {
        tmp_path / name: b"of an earlier run" for name in ("out.csv", "out.json", "out.txt", "out.xml", "out.mp4")
    }
    for path, content in outputs.items():
        path.write_bytes(content)
    given = [word for path in outputs for word in ("--video" if path.suffix == ".mp4" else "--output", path)]
    for Failing.error, code, told in (
        (InputError("a bad frame"), 2, "a bad frame"),
        (KeyboardInterrupt(), 130, "interr"),
    ):
        monkeypatch.setattr(siamtrack, "load_multi", lambda *given, **named: Failing())
        assert call(monkeypatch, "track", clip, "--box", f"0:{BOX}", *given, "--overwrite") == code
        printed = capsys.readouterr()
        assert printed.err.startswith(f"siamtrack: {told}") and printed.out == ""
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == outputs


def test_a_stride_tracks_every_nth_frame(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "out.csv"
    assert call(monkeypatch, "track", clip, "--box", BOX, "--vid-stride", "4", "--output", table) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(0, 30, 4))
    truth = moving_patches(30)[1][::4, 0]
    np.testing.assert_allclose([[float(row[key]) for key in "xywh"] for row in rows], truth, atol=1)


def test_folder_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "img"
    images.mkdir()
    frames, truth = moving_patches(12)
    for n, frame in enumerate(frames):
        assert cv2.imwrite(str(images / f"{n}.png"), frame[..., ::-1])
    out = tmp_path / "out.txt"
    assert call(monkeypatch, "track", images, "--box", BOX, "--output", out) == 0
    np.testing.assert_array_equal(np.loadtxt(out, delimiter=","), truth[:, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--box", "1,2,3"), "--box expects four numbers X,Y,W,H in pixels, as 10,20,64,48; got '1,2,3'"),
        (("--box", "1,2,3,4,5"), "expects four numbers"),
        (("--box", "a,b,c,d"), "expects four numbers"),
        (("--box", ""), "expects four numbers"),
        (("--box", "nan,2,30,40"), "finite"),
        (("--box", "1,2,inf,40"), "finite"),
        (("--box", "10,10,0,20"), "above 0"),
        (("--box", "10,10,20,-5"), "above 0"),
        (("--box", "160,0,20,20"), "outside the frame of 160x120"),
        (("--box", "-30,0,20,20"), "outside the frame"),
        (("--box", BOX, "--box", "1,2"), "expects four numbers"),
        (("--box", BOX, "--output", "OUT/boxes.yaml"), "written as .txt, .csv, .json, .jsonl"),
        (("--box", BOX, "--output", "OUT/a.txt", "--format", "mott"), "unknown format 'mott'; did you mean 'mot'?"),
        (("--box", BOX, "--output", "OUT/a.csv", "--output", "OUT/b", "--format", "yolo"), "one --format for each"),
        (("--box", BOX, "--output", "OUT/a.csv", "--output", "OUT/a.csv"), "two outputs have the same name"),
        (("--box", BOX, "--label", "a", "--label", "b"), "one for each target; got 2 for 1"),
        (("--box", BOX, "--output", "OUT/none/boxes.txt"), "no such folder"),
        (("--box", BOX, "--video", "OUT/none/out.mp4"), "no such folder"),
        (("--box", BOX, "--video", "OUT/out.avi"), "written as .mp4"),
        (("--box", BOX, "--start", "30"), "has no frame 30"),
        (("--box", BOX, "--start", "9", "--end", "9"), "0 <= start < end"),
        (("--box", "1,,2,3,4"), "expects four numbers"),
        (("--box", "1,1,1e300,1e300"), "sides of 0.01 to 1e+06 pixels"),
        (("--box", "1,1,1e-30,4"), "sides of 0.01 to 1e+06 pixels"),
        (("--box", BOX, "--start", "-1"), "'--start': "),
        (("--box", BOX, "--end", "0"), "'--end': "),
        (("--box", BOX, "--start", "x"), "'--start': "),
        (("--box", BOX, "--colour", "red"), "No such option: --colour"),
        (("--output", "OUT/a.csv"), "give --box, or leave out --output"),
        (("--box", BOX, "--output", "OUT/" + 300 * "n" + ".txt"), "file name too long"),
        (("--box", BOX, "--video", "OUT/" + 300 * "n" + ".mp4"), "file name too long"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    tmp_path: Path,
    clip: Path,
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [argument.replace("OUT", str(tmp_path)) for argument in arguments]
    assert call(monkeypatch, "track", clip, *given) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.startswith("siamtrack: ")
    assert printed.err.count("\n") == 1 and printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_bad_sources_are_one_line_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video\n" * 99)
    (tmp_path / "empty").mkdir()
    for source, message in (
        (text, "is not a video"),
        (tmp_path / "empty", "no images"),
        (tmp_path / "gone.mp4", "no such file"),
        (tmp_path / (999 * "n"), "file name too long"),
        ("", "got an empty name"),
        ("99999999999999999999", "cannot open camera"),
    ):
        assert call(monkeypatch, "track", source, "--box", BOX) == 2
        printed = capsys.readouterr()
        assert message in printed.err and printed.err.count("\n") == 1


def test_unknown_model_and_device_are_one_line_and_code_2(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(siamtrack, "load_multi", load_multi)  # the package's own
    out = tmp_path / "out.txt"
    for arguments, message in (
        (("--model", "siamcar_lit0"), "unknown model 'siamcar_lit0'"),
        (("--device", "tpu"), "the device 'tpu' is not available"),
    ):
        assert call(monkeypatch, "track", clip, "--box", BOX, "--output", out, *arguments) == 2
        errors = capsys.readouterr().err
        assert message in errors and errors.count("\n") == 1
        assert not out.exists()


def test_source_is_not_overwritten(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "clip.mp4"
    copy.write_bytes(clip.read_bytes())
    (tmp_path / "link.mp4").symlink_to(copy)
    for source, video in ((copy, copy), (copy, tmp_path / "link.mp4"), (copy.as_uri(), copy)):
        assert call(monkeypatch, "track", source, "--box", BOX, "--video", video) == 2
        assert "is the source" in capsys.readouterr().err
    assert copy.read_bytes() == clip.read_bytes()


def test_files_that_are_there_are_replaced_only_when_told(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, video = tmp_path / "groundtruth.txt", tmp_path / "out.mp4"
    for option, path in (("--output", truth), ("--video", video)):
        path.write_text("precious")
        assert call(monkeypatch, "track", clip, "--box", BOX, option, path) == 2
        message = f"siamtrack: '{path}' is there already; choose another name, or replace it with --overwrite\n"
        assert capsys.readouterr().err == message and path.read_text() == "precious"
    arguments = ("--box", BOX, "--output", truth, "--video", video, "--overwrite", "--end", 3)
    assert call(monkeypatch, "track", clip, *arguments) == 0
    assert lines_in(truth) == len(decode(video)) == 3


def test_a_lost_target_is_told(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Losing(TemplateMatcher):
        """Loses the first target in frames 3, 4, 5 and 8, and never the second."""

        frame = 0

        def update(self, frame: np.ndarray) -> list[Found]:
            self.frame += 1
            first, *others = super().update(frame)
            lost = self.frame in (3, 4, 5, 8)
            return [replace(first, presence=0.1, status="lost") if lost else first, *others]

    monkeypatch.setattr(siamtrack, "load_multi", lambda *given, **named: Losing())
    out = tmp_path / "out.json"
    assert call(monkeypatch, "track", clip, "--box", BOX, "--output", out, "--end", 10) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "lost 2 times, 4 frames"
    rows = json.loads(out.read_text())
    assert [row["frame"] for row in rows if row["status"] == "lost"] == [3, 4, 5, 8]
    assert rows[3]["presence"] == 0.1
    boxes = ("--box", BOX, "--box", text_of(SECOND_BOX))
    assert call(monkeypatch, "track", clip, *boxes, "--end", 10) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "target 1 lost 2 times, 4 frames"
    assert call(monkeypatch, "track", clip, *boxes, "--end", 3) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "never lost"


def test_truncated_video_is_tracked_as_far_as_it_goes(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    out = tmp_path / "out.txt"
    assert call(monkeypatch, "track", cut, "--box", BOX, "--output", out) == 0
    lines = len(out.read_text().splitlines())
    warning = capsys.readouterr().err
    assert 5 < lines < 30
    assert f"warning: 'cut.mp4' is cut short: it ends after {lines} of 30 frames" in warning


def test_change_of_size_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "img"
    images.mkdir()
    for n, frame in enumerate(moving_patches(9)[0]):
        assert cv2.imwrite(str(images / f"{n}.png"), frame if n < 6 else frame[:100])
    out, video = tmp_path / "out.txt", tmp_path / "out.mp4"
    assert call(monkeypatch, "track", images, "--box", BOX, "--output", out, "--video", video) == 2
    assert len(out.read_text().splitlines()) == len(decode(video)) == 6
    printed = capsys.readouterr()
    assert "frame 6 of 'img' has 160x100" in printed.err and printed.err.count("\n") == 1
    assert "tracked 6 frames" in printed.out


def child(code: str, *arguments: object, pause: float = 0.0) -> subprocess.Popen[str]:
    """Start the program in a process of its own, with the tests' tracker, which may take `pause` seconds a frame."""
    program = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        import siamtrack
        from template_matcher import TemplateMatcher
        from siamtrack.apps.cli.main import run

        class Slow(TemplateMatcher):
            def update(self, frame):
                time.sleep({pause})
                return super().update(frame)

        siamtrack.load_multi = lambda *given, **named: Slow()
    """
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(program) + textwrap.dedent(code) + "\nrun()",
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def lines_in(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("sent", [[signal.SIGINT], [signal.SIGINT] * 3, [signal.SIGTERM]], ids=["1", "3", "term"])
def test_a_signal_keeps_the_boxes_and_a_playable_video(tmp_path: Path, sent: list[signal.Signals]) -> None:
    long = write_mp4(tmp_path / "long.mp4", moving_patches(600)[0])
    out, video = tmp_path / "out.txt", tmp_path / "out.mp4"
    process = child("", "track", long, "--box", BOX, "--output", out, "--video", video, pause=0.02)
    deadline = time.monotonic() + 300
    while lines_in(out) < 25 and time.monotonic() < deadline:
        time.sleep(0.02)
    for number in sent:
        process.send_signal(number)
        time.sleep(0.003)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + sent[0], errors
    assert 25 <= lines_in(out) < 600
    assert len(decode(video)) == lines_in(out)
    assert out.read_text().endswith("\n")
    assert f"interrupted: tracked {lines_in(out)} frames" in printed and "Traceback" not in errors
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["long.mp4", "out.mp4", "out.txt"]


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_while_the_model_is_loaded_ends_at_once_without_a_word(tmp_path: Path, clip: Path) -> None:
    loading = """
        from pathlib import Path

        def load(*given, **named):
            Path(sys.argv[-1]).with_name("loading").touch()
            time.sleep(60)

        siamtrack.load_multi = load
    """
    process = child(textwrap.dedent(loading), "track", clip, "--box", BOX, "--output", tmp_path / "out.txt")
    deadline = time.monotonic() + 60
    while not (tmp_path / "loading").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=50)
    assert (process.returncode, printed, errors) == (-signal.SIGINT, "", "")
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.skipif(os.name != "posix", reason="closes a POSIX pipe")
def test_a_reader_that_leaves_costs_nothing_but_the_summary(tmp_path: Path, clip: Path) -> None:
    process = child("", "track", clip, "--box", BOX, "--output", tmp_path / "out.txt")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=300) != 0 and errors == ""
    assert lines_in(tmp_path / "out.txt") == 30


@pytest.mark.skipif(os.name != "posix", reason="needs a file system of bytes")
def test_names_that_the_terminal_cannot_show_are_written_all_the_same(tmp_path: Path, clip: Path) -> None:
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xfe\xc3\xa9: %d.txt"))
    video = out.with_suffix(".mp4")
    process = child(
        "import io; sys.stdout.reconfigure(encoding='ascii')", "track", clip, "--box", BOX, "--output", out,
        "--video", video,
    )  # fmt: skip
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert lines_in(out) == 30 and len(decode(video)) == 30


@pytest.mark.parametrize(
    ("preset", "crops"),
    [("siamrpn", {"template": 63}), ("siamrpn", {"search": 63}), ("siamcar_lite0", {"template": 31, "search": 63})],
)
def test_weights_whose_crops_do_not_fit_are_one_line(
    tmp_path: Path,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    preset: str,
    crops: dict[str, int],
) -> None:
    model = tmp_path / "odd.safetensors"
    chosen = load_preset(preset, {f"crops.{name}": side for name, side in crops.items()})
    save_weights(model, chosen.model.build(), {"preset": preset_to_json(chosen)})
    monkeypatch.setattr(siamtrack, "load_multi", load_multi)  # the package's own
    assert call(monkeypatch, "track", clip, "--box", BOX, "--model", model) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"siamtrack: {model}: its network does not take crops of ")
    assert told.err.count("\n") == 1


def test_an_earlier_video_is_not_told_as_this_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clip: Path
) -> None:
    def full(writer: object, frame: np.ndarray, at: int) -> None:
        raise InputError("cannot write any further: no space left on device")

    monkeypatch.setattr("siamtrack.video.writer.VideoWriter.write", full)
    out, video = tmp_path / "out.txt", tmp_path / "out.mp4"
    video.write_text("an earlier one")
    assert call(monkeypatch, "track", clip, "--box", BOX, "--output", out, "--video", video, "--overwrite") == 2
    printed = capsys.readouterr()
    assert "no space left" in printed.err and video.read_text() == "an earlier one"
    assert str(video) not in printed.out


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_full_disk_is_one_line_and_keeps_what_was_written(tmp_path: Path) -> None:
    long = write_mp4(tmp_path / "long.mp4", moving_patches(300)[0])
    out, video = tmp_path / "out.txt", tmp_path / "out.mp4"
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
    process = child(limit, "track", long, "--box", BOX, "--output", out, "--video", video)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert errors.startswith(f"siamtrack: cannot write '{video}' any further") and errors.count("\n") == 1
    assert 0 < len(decode(video)) <= lines_in(out) < 300
    assert "tracked" in printed


def test_the_package_and_its_help_come_without_the_heavy_libraries() -> None:
    code = """
        import sys
        import siamtrack
        from siamtrack.apps.cli.main import app
        heavy = {"torch", "cv2", "av", "numpy"} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=300)


@pytest.mark.parametrize("text", ["1,2,3,4", " 1, 2, 3, 4 ", "1 2 3 4", "1.0,2e0,3,4"])
def test_box_text_is_read(text: str) -> None:
    assert parse_box(text) == (1, 2, 3, 4)


def test_boxes_belong_to_the_target_before_them() -> None:
    a, b, c, d = ((n, n, 9.0, 9.0) for n in (1.0, 2.0, 3.0, 4.0))
    texts = [text_of(box) for box in (a, b, c, d)]
    assert parse_targets([texts[0], f"50:{texts[1]}", texts[2], f"80:{texts[3]}"], 7) == [{7: a, 50: b}, {7: c, 80: d}]
    assert parse_targets([f"0:{texts[0]}", f"9:{texts[1]}", f"0:{texts[2]}"], 0) == [{0: a, 9: b}, {0: c}]


def test_box_text_with_other_letters_is_refused() -> None:
    for text in ("1;2;3;4", "1,2,3,4px", "(1,2,3,4)", ",,,", "1_0,2,3,4", "١,2,3,4"):
        with pytest.raises(InputError):
            parse_box(text)
