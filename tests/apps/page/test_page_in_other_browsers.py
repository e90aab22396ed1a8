"""The page in Firefox and WebKit: drawn, followed, corrected and downloaded boxes are those of Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import FRAMES, serve_folder
from visitor import BROWSERS, Visitor

import siamtrack
from footage import moving_patches
from siamtrack.apps.page.static import write_static
from siamtrack.geometry.overlap import rectangle_iou
from siamtrack.presets import packaged_export
from siamtrack.video.reader import open_source

pytest.importorskip("selenium", reason="selenium is not installed")


@pytest.fixture(params=sorted(BROWSERS))
def visitor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Visitor]:
    home = tmp_path / "home"
    home.mkdir()
    with BROWSERS[request.param](home) as driver:
        driver.set_window_size(1280, 950)
        yield Visitor(driver, home)


def walk(visitor: Visitor, frames: list[np.ndarray], tolerance: float) -> None:
    """Draw, pause, correct, go on to the end; the boxes are those of Python, within some pixels.

    After the correction they overlap: of given boxes the download has four digits, and a digit may move a search
    region, which has whole pixels; of a box that was drawn too large another part is then followed.
    """
    visitor.choose("#pace", "0.25")
    visitor.drag((40, 30), (72, 54))
    visitor.wait("Number(document.querySelector('#number').value) >= 5")
    visitor.press("SPACE")
    visitor.wait_paused()
    stopped = visitor.frame()
    visitor.press("ARROW_LEFT")
    visitor.wait_frame(stopped - 1)
    first = visitor.boxes()
    assert set(first) == {(1, frame) for frame in range(stopped + 1)}
    np.testing.assert_allclose(first[1, 0], (40, 30, 32, 24), atol=0.2)  # the screen has whole pixels
    x, y, w, h = first[1, stopped - 1]
    visitor.drag((x + w, y + h), (x + w + 6, y + h + 4))
    visitor.choose("#pace", "0")
    visitor.driver.execute_script("document.querySelector('#stage').focus()")
    visitor.press("SPACE")
    visitor.wait_frame(len(frames) - 1)
    visitor.wait_paused()
    whole = visitor.boxes()
    assert set(whole) == {(1, frame) for frame in range(len(frames))}
    assert all(whole[1, frame] == first[1, frame] for frame in range(stopped - 1))
    np.testing.assert_allclose(whole[1, stopped - 1], (x, y, w + 6, h + 4), atol=0.4)

    tracker = siamtrack.load_multi("siamcar_pico")
    for number, frame in enumerate(frames):
        given = {0: first[1, 0], stopped - 1: whole[1, stopped - 1]}.get(number)
        if given is None:
            expected = np.array(tracker.update(frame)[0].box)
            if number < stopped:
                np.testing.assert_allclose(whole[1, number], expected, atol=tolerance)
            assert rectangle_iou(np.array([whole[1, number]]), expected[None]).min() > 0.8
        else:
            tracker.init(frame, [given])
    assert visitor.text("#error") == ""


def test_with_a_server(visitor: Visitor, address: str, clip: Path) -> None:
    visitor.visit(address)
    visitor.wait("document.querySelector('#source').textContent.startsWith('clip.mp4')")
    with open_source(clip) as frames:
        walk(visitor, list(frames), 2e-3)
    assert visitor.frame() + 1 == FRAMES


@pytest.mark.slow
def test_without_a_server(visitor: Visitor, runtime: Path, tmp_path: Path) -> None:
    model = packaged_export("siamcar_pico")
    assert model is not None
    write_static(tmp_path / "page", model.read_bytes(), runtime)
    frames = moving_patches(16)[0]
    paths = [tmp_path / f"{number:02d}.png" for number in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame[..., ::-1])
    with serve_folder(tmp_path / "page") as address:
        visitor.visit(address)
        assert visitor.driver.execute_script("return crossOriginIsolated") is True  # several threads
        visitor.click("#open")
        visitor.upload(paths)
        visitor.wait("document.querySelector('#source').textContent.startsWith('16 images')", 60)
        walk(visitor, frames, 0.5)
