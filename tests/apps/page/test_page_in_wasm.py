"""The page without a server, in a real browser: WebAssembly gives the boxes that Python gives."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Person

import siamtrack
from footage import moving_patches, write_mp4
from siamtrack.apps.page.static import ORT_VERSION, fetch_runtime, write_static
from siamtrack.errors import ConfigError, InputError

COUNT = 16
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runtime(request: pytest.FixtureRequest) -> Path:
    """The npm package onnxruntime-web, which npm fetches once into pytest's cache."""
    folder = Path(request.config.cache.mkdir("onnxruntime-web")) / ORT_VERSION
    if not (folder / "package").is_dir():
        folder.mkdir(exist_ok=True)
        try:
            fetch_runtime(folder)
        except ConfigError as error:
            pytest.skip(str(error))
    return folder / "package"


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


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


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


def test_the_folder_says_what_the_model_wants(folder: Path, model: Path) -> None:
    from siamtrack.runtime.metadata import read_exported

    about = json.loads((folder / "page.json").read_text())
    assert about["engine"] == "wasm" and about["model"] == "siamcar_pico"
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
