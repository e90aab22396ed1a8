"""The commands that open the page, as programs of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from footage import moving_patches, write_mp4
from program import call
from siamtrack.apps.cli.app import _address
from siamtrack.apps.cli.main import run
from siamtrack.apps.page.static import _ORT_FILES

pytest.importorskip("uvicorn")


def test_track_without_a_box_opens_the_page_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    clip = write_mp4(tmp_path / "clip.mp4", moving_patches(3)[0])
    command = [sys.executable, "-m", "siamtrack", "track", str(clip), "--model", "siamcar_pico", "--label", "fish"]
    environment = {**os.environ, "BROWSER": "true"}  # the program that takes the place of a browser
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
        assert program.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+/", program.stdout.readline())
        assert address is not None
        with urllib.request.urlopen(f"{address[0]}page.json") as reply:
            about = json.load(reply)
        assert (about["given"], about["labels"]) == (str(clip), ["fish"])
        program.send_signal(signal.SIGINT)
        assert program.wait(20) == 0


@pytest.mark.parametrize("command", ["track", "app"])
def test_a_source_that_is_not_there_opens_no_page(command: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "siamtrack", command, str(tmp_path / "nothing.mp4")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "no such file or folder" in done.stderr and done.stderr.count("\n") == 1


def test_track_without_a_box_gives_the_page_its_engine(tmp_path: Path) -> None:
    clip = write_mp4(tmp_path / "clip.mp4", moving_patches(3)[0])
    command = [sys.executable, "-m", "siamtrack", "track", str(clip), "--model", "siamcar_r50", "--engine", "openvin"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "unknown engine 'openvin'" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize(("ending", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_uploads_are_gone_however_it_ends(tmp_path: Path, ending: int, code: int) -> None:
    clip = write_mp4(tmp_path / "clip.mp4", moving_patches(3)[0])
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-m", "siamtrack", "app", "--no-browser", "--model", "siamcar_pico"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    # Where the tests themselves ignore a signal, as under nohup, programs that they start would ignore it too.
    before = signal.signal(ending, signal.SIG_DFL)
    try:
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    finally:
        signal.signal(ending, before)
    with program, ExitStack() as whatever_comes:
        whatever_comes.callback(program.kill)
        assert program.stdout is not None and program.stderr is not None
        address = re.search(r"(http://127\.0\.0\.1:\d+)/", program.stdout.readline())
        assert address is not None
        request = urllib.request.Request(f"{address[1]}/uploads", clip.read_bytes(), {"Origin": address[1]})
        with urllib.request.urlopen(request) as reply:
            name = json.load(reply)["id"]
        assert len(list((tmp_path / "scratch").glob(f"*/{name}/*.mp4"))) == 1
        program.send_signal(ending)
        assert (program.wait(30), program.stderr.read()) == (code, "")
    assert list((tmp_path / "scratch").glob("siamtrack-*")) == []


def test_the_address_is_the_one_that_is_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert _address(listening, None) == f"http://127.0.0.1:{listening.getsockname()[1]}/"
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listening:  # where a hosts file has ::1 for localhost
        assert _address(listening, "t") == f"http://[::1]:{listening.getsockname()[1]}/?token=t"


def test_track_without_a_box_refuses_what_the_page_cannot_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unused = ["--output a.csv", "--format csv", "--video a.mp4", "--overwrite", "--no-trails"]
    unused += ["--start 3", "--end 9", "--vid-stride 2", "--every-frame", "--hwaccel cuda"]
    monkeypatch.setattr(sys, "argv", ["siamtrack", "track", "nothing.mp4", *" ".join(unused).split()])
    with pytest.raises(SystemExit, match="2"):
        run()
    printed = capsys.readouterr().err
    assert printed.endswith(f"leave out {', '.join(option.split()[0] for option in unused)}\n")
    assert printed.count("\n") == 1


def test_another_host_needs_the_token_that_is_printed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "siamtrack", "app", "--host", "0.0.0.0", "--no-browser", "--model", "siamcar_pico"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            told = re.search(r"http://0\.0\.0\.0:(\d+)/\?token=([\w-]{30,})", program.stdout.readline())
            assert told is not None
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"http://127.0.0.1:{told[1]}/page.json")
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(f"http://127.0.0.1:{told[1]}/?token={told[2]}") as page:
                assert b"<title>siamtrack</title>" in page.read()
            with opener.open(f"http://127.0.0.1:{told[1]}/page.json") as reply:
                assert json.load(reply)["given"] is None
        finally:
            program.terminate()


def test_a_page_that_is_not_ours_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, page = tmp_path / "ort", tmp_path / "page"
    for folder in (runtime, page):
        folder.mkdir()
    for name in _ORT_FILES:
        (runtime / name).write_text("none")
    given = ("app", "--static", page, "--model", "siamcar_pico", "--onnxruntime-web", runtime)
    for name in ("index.html", "model.onnx"):
        (page / name).write_text("my own")
        assert call(monkeypatch, *given) == 2
        assert [path.name for path in page.iterdir()] == [name] and (page / name).read_text() == "my own"
        (page / name).unlink()
    assert call(monkeypatch, *given) == 0 and call(monkeypatch, *given) == 0
    (page / "index.html").write_text("my own")
    assert call(monkeypatch, *given, "--overwrite") == 0 and "my own" not in (page / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--files", "nowhere"), "--files expects a folder"),
        (("--host", "256.0.0.1"), "cannot listen on 256.0.0.1"),
        (("--model", "siamcar_lite"), "did you mean 'siamcar_lite0'"),
        (("--port", "70000"), "'--port'"),
        (("--label", "fish", "--label", " "), "--label expects a name"),
        (("--static", "page", "--model", "siamcar_lite"), "did you mean 'siamcar_lite0'"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["siamtrack", "app", "--no-browser", *arguments])
    with pytest.raises(SystemExit, match="2"):
        run()
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
