"""Real browsers, and pages for them."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from browser import FRAMES

import siamtrack
from footage import moving_patches, write_mp4
from siamtrack.apps.page.places import Places, Uploads
from siamtrack.apps.page.server import Settings, make_app
from siamtrack.apps.page.static import ORT_VERSION, fetch_runtime
from siamtrack.errors import ConfigError


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    """Runs Chromium with switches; skips the test where there is none, or no playwright to drive it."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium is installed here")
    with sync_api.sync_playwright() as playwright, ExitStack() as opened:

        def launched(*switches: str) -> Any:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", *switches])
            opened.callback(browser.close)
            return browser

        yield launched


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Any]) -> Any:
    """A running Chromium."""
    return launch()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mp4(tmp_path_factory.mktemp("clip") / "clip.mp4", moving_patches(FRAMES)[0])


@pytest.fixture(scope="module")
def tracker() -> siamtrack.MultiTracker:
    return siamtrack.load_multi("siamcar_pico")


@contextmanager
def serve_page(tracker: siamtrack.MultiTracker, source: str | None, uploads: Path) -> Iterator[str]:
    """The address of the live page of a source, or of none."""
    places = Places(source, None, Uploads(uploads, 1 << 24))
    app = make_app(tracker.engine, Settings("siamcar_pico", places))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def address(clip: Path, tracker: siamtrack.MultiTracker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_page(tracker, str(clip), tmp_path_factory.mktemp("uploads")) as found:
        yield found


@pytest.fixture(scope="module")
def bare_address(tracker: siamtrack.MultiTracker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a page that asks for its source."""
    with serve_page(tracker, None, tmp_path_factory.mktemp("bare_uploads")) as found:
        yield found


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
