"""The page without a server, in a real browser: WebAssembly gives the boxes that Python gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Person, serve_folder

import siamtrack
from footage import moving_patches, noise, write_mp4
from siamtrack.apps.page.static import write_static
from siamtrack.errors import ConfigError, InputError
from siamtrack.geometry.overlap import rectangle_iou
from siamtrack.presets import packaged_export

COUNT = 16
ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    from siamtrack.export import export_model

    path = tmp_path_factory.mktemp("model") / "siamcar_pico.onnx"
    path.write_bytes(export_model("siamcar_pico").SerializeToString())
    return path


@pytest.fixture(scope="module")
def folder(model: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static") / "page"
    write_static(folder, model.read_bytes(), runtime)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serve_folder(folder) as found:
        yield found


@pytest.fixture
def person(browser: Any, address: str) -> Iterator[Person]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    found = Person(page, address)
    yield found
    context.close()
    assert found.wrong == []
    assert [url for url in asked if not url.startswith((address, f"blob:{address}"))] == []  # nothing leaves the device


def images(folder: Path, count: int = COUNT) -> list[str]:
    for n, frame in enumerate(moving_patches(count)[0]):
        cv2.imwrite(str(folder / f"{n}.png"), frame[..., ::-1])
    return [str(folder / f"{n}.png") for n in range(count)]


def chosen(person: Person, paths: list[str], name: str) -> None:
    person.page.click("#open")
    person.page.set_input_files("#upload", paths)
    person.page.wait_for_function("() => !document.querySelector('#sources').open", timeout=60_000)
    person.wait_open(name)


def test_images_give_the_boxes_of_python(person: Person, tmp_path: Path, model: Path) -> None:
    chosen(person, images(tmp_path), f"{COUNT} images")
    assert person.page.evaluate("crossOriginIsolated") is True  # several threads, whatever the web server sends
    person.page.select_option("#pace", "0.25")
    person.drag((40, 30), (72, 54))
    person.wait_past(4)
    person.press("Space")
    person.wait_paused()
    second = person.frame()
    person.press("n")
    person.drag((96, 66), (120, 90))
    person.page.select_option("#pace", "0")
    person.wait_frame(COUNT - 1)
    person.wait_paused()
    found = person.boxes()
    for source in ("siamcar_pico", model):  # the network itself, and the same file in Python's ONNX Runtime
        tracker = siamtrack.load_multi(source)
        for number, frame in enumerate(moving_patches(COUNT)[0]):
            if number == 0:
                tracker.init(frame, [found[1, 0]])
                continue
            for target, result in enumerate(tracker.update(frame), 1):
                np.testing.assert_allclose(found[target, number], result.box, atol=0.5)
            if number == second:
                tracker.state = tracker.state.join(tracker.engine.start(frame, [found[2, second]]))


def test_a_video_is_followed_corrected_and_undone(person: Person, tmp_path: Path) -> None:
    clip = write_mp4(tmp_path / "clip.mp4", moving_patches(COUNT)[0])
    chosen(person, [str(clip)], "clip.mp4")
    assert person.page.inner_text("#count") == f"of {COUNT}"
    person.drag((40, 30), (72, 54))
    person.wait_frame(COUNT - 1)
    person.wait_paused()
    found = person.boxes()
    truth = moving_patches(COUNT)[1][:, 0]
    assert np.abs(np.array([found[1, n] for n in range(COUNT)]) - truth).max() < 8
    person.press("ArrowLeft", "ArrowLeft")
    person.wait_frame(COUNT - 3)
    x, y, w, h = found[1, COUNT - 3]
    person.drag((x + w / 2, y + h / 2), (x + w / 2 + 5, y + h / 2 + 3))
    moved = person.boxes()
    np.testing.assert_allclose(moved[1, COUNT - 3], (x + 5, y + 3, w, h), atol=0.4)
    assert len(moved) == COUNT - 2
    person.press("u")
    assert person.boxes() == found

    # what cannot be opened leaves all that as it is
    (tmp_path / "none.mp4").write_text("no video")
    person.page.click("#open")
    person.page.set_input_files("#upload", str(tmp_path / "none.mp4"))
    person.page.wait_for_selector("#error:not([hidden])")
    person.press("Escape")
    person.page.wait_for_selector("#sources", state="hidden")
    person.page.focus("#stage")
    person.press("ArrowLeft")
    person.wait_frame(COUNT - 4)
    assert person.boxes() == found


def test_skipped_frames_classes_and_a_download_that_is_loaded_again(person: Person, tmp_path: Path) -> None:
    chosen(person, images(tmp_path), f"{COUNT} images")
    reached = person.follow_some()
    person.page.fill(".label", "fish")
    person.press("Enter")
    person.go(COUNT - 2)
    assert person.text(".status") == "not followed up to here"
    assert max(frame for _, frame in person.boxes()) == reached
    person.page.click(".follow")
    person.wait_text(".status", "tracking")
    person.wait_paused()
    truth = moving_patches(COUNT)[1][:, 0]
    found = person.boxes()
    assert rectangle_iou(np.array([found[1, n] for n in range(COUNT - 1)]), truth[:-1]).min() > 0.6
    assert [entry["name"] for entry in json.loads(person.download("coco"))["categories"]] == ["fish"]
    text = person.download("jsonl")
    (tmp_path / "boxes.jsonl").write_text(text)
    person.page.click(".remove")
    person.page.set_input_files("#load", str(tmp_path / "boxes.jsonl"))
    person.wait_text("#saved", "Loaded from boxes.jsonl: 1 target.")
    assert person.download("jsonl") == text
    person.page.focus("#stage")
    person.press("Space")
    person.wait_frame(COUNT - 1)
    person.wait_paused()
    assert rectangle_iou(np.array([person.boxes()[1, COUNT - 1]]), truth[-1:]).min() > 0.6


def blue(person: Person) -> list[int]:
    """The box x, y, w, h of the blue patch in the picture that is shown, in pixels of the frame."""
    return person.page.evaluate(
        """() => {
          const stage = document.querySelector("#stage");
          const [, w, h] = document.querySelector("#source").textContent.match(/ (\\d+)×(\\d+) /).map(Number);
          const context = new OffscreenCanvas(w, h).getContext("2d");
          context.drawImage(stage, 0, 0, w, h);
          const { data } = context.getImageData(0, 0, w, h);
          const [xs, ys] = [[], []];
          for (let at = 0; at < w * h; at++) {
            if (data[4 * at + 2] > data[4 * at] + 60 && data[4 * at + 2] > data[4 * at + 1] + 40) {
              xs.push(at % w);
              ys.push(Math.floor(at / w));
            }
          }
          for (const some of [xs, ys]) some.sort((a, b) => a - b);
          const [few, most] = [0.01, 0.99].map((share) => Math.floor(share * xs.length)); // not single pixels
          return [xs[few], ys[few], xs[most] - xs[few] + 1, ys[most] - ys[few] + 1];
        }"""
    )


def write_camera(path: Path, size: tuple[int, int] = (320, 240), count: int = 120) -> Path:
    """What a camera sees, as raw video (YUV4MPEG2) that Chromium plays over and over: a blue patch goes to and fro."""
    width, height = size
    ground, patch = noise(size, 1) // 4, noise((64, 48), 2) // 2
    patch[..., 2] = 128 + patch[..., 2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F20:1 Ip A1:1 C420jpeg\n".encode())
        for n in range(count):
            frame, left = ground.copy(), 30 + 2 * (count // 2 - abs(n - count // 2))
            frame[90 : 90 + 48, left : left + 64] = patch
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


def test_a_camera_is_opened_and_what_it_sees_is_followed(launch: Any, address: str, tmp_path: Path) -> None:
    seen = write_camera(tmp_path / "camera.y4m")
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    page = launch(*fake, f"--use-file-for-fake-video-capture={seen}").new_page()
    person = Person(page, address)
    page.set_default_timeout(60_000)
    page.click("#open")
    assert person.text("#camera-label") == "The camera of this device"
    page.click("#open-camera")
    person.wait_open("camera")
    person.wait_past(3)  # it plays by itself
    page.focus("#stage")
    person.press("Space")
    person.wait_paused()
    x, y, w, h = blue(person)
    person.drag((x, y), (x + w, y + h))
    places = [x]
    for _ in range(6):
        person.wait_past(person.frame() + 10)
        page.focus("#stage")
        person.press("Space")
        person.wait_paused()
        found, there = person.boxes()[1, person.frame()], blue(person)
        assert rectangle_iou(np.array([found]), np.array([there], dtype=float)).min() > 0.5
        places.append(found[0])
        page.focus("#stage")
        person.press("Space")
    assert max(places) - min(places) > 20
    page.close()
    assert person.wrong == []


def test_lite0_keeps_up_with_its_goal_on_two_threads(runtime: Path, tmp_path: Path) -> None:
    """At least 15 frames a second, by the benchmark that says so; of use on a machine that does nothing else."""
    if os.getloadavg()[0] > 1 or os.cpu_count() != 2:
        pytest.skip("times are taken on two cores that are idle")
    model = packaged_export("siamcar_lite0")
    assert model is not None
    write_static(tmp_path / "page", model.read_bytes(), runtime)
    command = [sys.executable, ROOT / "benchmarks" / "page.py", tmp_path / "page", "--frames", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "goal: at least 15 frames a second, met" in done.stdout, done.stdout + done.stderr


def test_the_folder_says_what_the_model_wants(folder: Path, model: Path) -> None:
    from siamtrack.runtime.metadata import read_exported

    about = json.loads((folder / "page.json").read_text())
    assert (about["engine"], about["model"], about["labels"]) == ("wasm", "siamcar_pico", ["object"])
    assert {n: tuple(s["shape"][1:]) for n, s in about["state"].items()} == {
        name: shape for name, (_, shape) in read_exported(model).state.items()
    }
    assert (folder / "model.onnx").read_bytes() == model.read_bytes()


def test_a_runtime_that_is_none_and_npm_that_is_missing_are_told(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="expected the npm package onnxruntime-web"):
        write_static(tmp_path / "page", model.read_bytes(), tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="npm is not installed"):
        write_static(tmp_path / "page", model.read_bytes(), None)
    assert not (tmp_path / "page").exists()
