"""A real browser for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest


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
