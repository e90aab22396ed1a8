"""The backend for Label Studio, over HTTP as Label Studio speaks to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from footage import moving_patches, write_mp4
from siamtrack.integrations.labelstudio import backend
from template_matcher import TemplateMatcher

httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")

COUNT = 12
TRUTH = moving_patches(COUNT)[1]
CONFIG = """<View><Video name="video" value="$video" framerate="25"/><VideoRectangle name="box" toName="video"/>
  <Labels name="videoLabels" toName="video"><Label value="cat"/><Label value="dog"/></Labels></View>"""


def region(target: int, frames: list[int]) -> dict[str, Any]:
    """What Label Studio keeps of a rectangle drawn in some frames, counted from 0 here."""
    sequence = []
    for frame in frames:
        x, y, w, h = TRUTH[frame, target]
        place = {"x": x / 1.6, "y": y / 1.2, "width": w / 1.6, "height": h / 1.2}
        sequence.append({"frame": frame + 1, "time": (frame + 1) / 25, "enabled": True, "rotation": 0, **place})
    value = {"framesCount": COUNT, "duration": COUNT / 25, "sequence": sequence, "labels": [("cat", "dog")[target]]}
    names = {"type": "videorectangle", "from_name": "box", "to_name": "video", "origin": "manual"}
    return {"id": f"r{target}", "value": value, **names}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_mp4(folder / "clip.mp4", moving_patches(COUNT)[0])
    return folder


@pytest.fixture(scope="module")
def address(files: Path) -> Iterator[str]:
    app = backend(TemplateMatcher(), files)  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def check(prediction: dict[str, Any], target: int, first: int) -> None:
    (found,) = prediction["result"]
    assert found["id"] == f"r{target}" and found["value"]["labels"] == [("cat", "dog")[target]]
    assert [entry["frame"] for entry in found["value"]["sequence"]] == list(range(first + 1, COUNT + 1))
    for entry in found["value"]["sequence"]:
        box = entry["x"] * 1.6, entry["y"] * 1.2, entry["width"] * 1.6, entry["height"] * 1.2
        assert box == pytest.approx(tuple(TRUTH[entry["frame"] - 1, target]), abs=1)


def test_a_drawn_rectangle_is_followed_to_the_end(address: str) -> None:
    assert httpx.get(f"{address}/health").json()["status"] == "UP"
    assert httpx.post(f"{address}/setup", json={"project": "1", "schema": CONFIG}).json()["model_version"]
    task = {"id": 1, "data": {"video": "/data/local-files/?d=clip.mp4"}, "annotations": [{"result": [region(0, [2])]}]}
    answer = httpx.post(f"{address}/predict", json={"tasks": [task], "label_config": CONFIG}, timeout=60).json()
    check(answer["results"][0], 0, 2)
    drawn = {"context": {"result": [region(1, [0, 7])]}}  # what is being drawn comes before what was saved
    answer = httpx.post(f"{address}/predict", json={"tasks": [task], "params": drawn}, timeout=60).json()
    check(answer["results"][0], 1, 0)
    empty = httpx.post(f"{address}/predict", json={"tasks": [{"data": {"video": "clip.mp4"}}]}).json()
    assert empty["results"][0]["result"] == []
    sdk = pytest.importorskip("label_studio_sdk.label_interface", reason="label-studio-sdk is not installed")
    assert sdk.LabelInterface(CONFIG).validate_prediction(answer["results"][0], return_errors=True) == []


def test_a_rectangle_is_not_followed_where_it_was_switched_off(address: str) -> None:
    drawn = region(0, [1, 4, 8])
    drawn["value"]["sequence"][1]["enabled"] = False
    task = {"data": {"video": "clip.mp4"}, "annotations": [{"result": [drawn]}]}
    answer = httpx.post(f"{address}/predict", json={"tasks": [task]}, timeout=60).json()
    sequence = answer["results"][0]["result"][0]["value"]["sequence"]
    frames = [2, 3, 4, 5, 9, 10, 11, 12]
    assert [(entry["frame"], entry["enabled"]) for entry in sequence] == [(frame, frame != 5) for frame in frames]


def test_of_a_turned_rectangle_the_bounds_are_followed(address: str) -> None:
    drawn = region(0, [0])
    x, y, w, h = TRUTH[0, 0]
    key = drawn["value"]["sequence"][0]
    # turned by a quarter about its corner, it lies to the left of it, with its height across
    key.update(rotation=90, x=(x + w) / 1.6, y=y / 1.2, width=h / 1.6, height=w / 1.2)
    task = {"data": {"video": "clip.mp4"}, "annotations": [{"result": [drawn]}]}
    answer = httpx.post(f"{address}/predict", json={"tasks": [task]}, timeout=60).json()
    check(answer["results"][0], 0, 0)


@pytest.mark.parametrize("module", ["labelstudio", "vot"])
def test_a_model_that_is_none_is_one_line_and_code_2(module: str) -> None:
    given = ["--model", "nonsense"] if module == "labelstudio" else []
    program = [sys.executable, "-m", f"siamtrack.integrations.{module}", *given]
    ended = subprocess.run(
        program, env={**os.environ, "SIAMTRACK_MODEL": "nonsense"}, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith("siamtrack: ") and ended.stderr.count("\n") == 1


def test_a_folder_that_is_none_is_one_line_and_code_2() -> None:
    command = [sys.executable, "-m", "siamtrack.integrations.labelstudio", "--files", "nowhere", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "siamtrack: --files expects a folder; got 'nowhere'\n")


def test_videos_of_label_studio_are_fetched_with_its_key_which_no_other_host_gets(
    address: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    class Studio(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            if not self.path.startswith("/data/storage/"):
                super().do_GET()
                return
            self.send_response(302)  # to the cloud where the videos lie
            self.send_header("Location", f"http://localhost:{self.server.server_port}/data/upload/1/clip.mp4")  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    (tmp_path / "data/upload/1").mkdir(parents=True)
    (tmp_path / "data/upload/1/clip.mp4").write_bytes((files / "clip.mp4").read_bytes())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Studio, directory=str(tmp_path))) as studio:
        threading.Thread(target=studio.serve_forever, daemon=True).start()
        monkeypatch.setenv("LABEL_STUDIO_URL", f"http://127.0.0.1:{studio.server_port}")
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret")
        for place in ("upload", "storage"):
            task = {"data": {"video": f"/data/{place}/1/clip.mp4"}, "annotations": [{"result": [region(0, [0])]}]}
            answer = httpx.post(f"{address}/predict", json={"tasks": [task]}, timeout=60).json()
            check(answer["results"][0], 0, 0)
        studio.shutdown()
    assert asked == [
        ("/data/upload/1/clip.mp4", "Token secret"),
        ("/data/storage/1/clip.mp4", "Token secret"),
        ("/data/upload/1/clip.mp4", None),
    ]


@pytest.mark.parametrize(
    ("data", "result", "message"),
    [
        ("../clip.mp4", [region(0, [0])], "no such video below"),
        ("/etc/passwd", [region(0, [0])], "no such video below"),
        ("/data/local-files/?d=../../etc/passwd", [region(0, [0])], "no such video below"),
        ("clip.mp4", [{"type": "videorectangle", "value": {}}], "has a sequence of frame, x, y"),
        ("clip.mp4", [{"type": "videorectangle", "value": {"sequence": []}}], "has key frames"),
    ],
)
def test_what_cannot_be_followed_is_one_line(address: str, data: str, result: list[Any], message: str) -> None:
    task = {"data": {"video": data}, "annotations": [{"result": result}]}
    answer = httpx.post(f"{address}/predict", json={"tasks": [task]})
    assert answer.status_code == 400 and message in answer.json()["detail"]
