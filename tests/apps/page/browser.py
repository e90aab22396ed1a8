"""What a person does on the page, in a real browser."""

from __future__ import annotations

import csv
import functools
import http.server
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FRAMES = 40
"""Of the clip that the page opens."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """The address of a folder on a web server of this machine."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class Person:
    """Someone at the page: drags boxes in frame pixels, presses keys, reads what is there.

    Attributes:
        page: playwright's page.
        wrong: what the page's scripts complained about.
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.wrong.append(message.text))
        page.set_default_timeout(10_000)
        page.goto(address)
        page.wait_for_selector("html[data-ready]")

    def wait_open(self, name: str) -> None:
        self.page.wait_for_function("n => document.querySelector('#source').textContent.startsWith(n)", arg=name)

    def frame(self) -> int:
        return int(self.page.input_value("#number"))

    def wait_frame(self, number: int) -> None:
        self.page.wait_for_function("n => document.querySelector('#number').value === String(n)", arg=number)

    def wait_past(self, number: int) -> None:
        """Wait until the frame, or a later one, is shown: while the page plays, a single one may come and go unseen."""
        self.page.wait_for_function("n => Number(document.querySelector('#number').value) >= n", arg=number)

    def wait_paused(self) -> None:
        self.page.wait_for_function("() => !document.querySelector('#play').hasAttribute('data-playing')")

    def go(self, number: int) -> None:
        """Go to a frame by typing its number."""
        self.page.fill("#number", str(number))
        self.press("Enter")
        self.page.wait_for_function("n => document.querySelector('#seek').value === String(n)", arg=number)

    def follow_some(self, box: tuple[float, float, float, float] = (40, 30, 72, 54)) -> int:
        """Draw a box by its corners, let it be followed for some frames and pause; return the frame that is reached."""
        self.page.select_option("#pace", "0.25")
        self.drag(box[:2], box[2:])
        self.wait_past(self.frame() + 5)
        self.press("Space")
        self.wait_paused()
        self.page.select_option("#pace", "0")
        return self.frame()

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until an element says this, in the middle of it or as a whole."""
        there = "([s, t]) => document.querySelector(s)?.textContent.includes(t)"
        self.page.wait_for_function(there, arg=[selector, text])

    def drag(self, *points: tuple[float, float], touch: bool = False, wait: float = 0.0) -> None:
        """Press at the first point, in frame pixels, and let go at the last one, `wait` seconds after being there.

        With the mouse, or a finger.
        """
        left, top, wide, high, w, h = self.page.evaluate(
            """() => {
              const b = document.querySelector('#stage').getBoundingClientRect();
              const [, w, h] = document.querySelector('#source').textContent.match(/ (\\d+)×(\\d+) /);
              return [b.left, b.top, b.width, b.height, +w, +h];
            }"""
        )
        where = [(left + x / w * wide, top + y / h * high) for x, y in points]
        if touch:
            finger = self.page.context.new_cdp_session(self.page)
            kinds = ["touchStart", *["touchMove"] * (len(where) - 1)]
            for kind, (x, y) in zip(kinds, where, strict=True):
                finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
            finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
            return
        self.page.mouse.move(*where[0])
        self.page.mouse.down()
        for point in where[1:]:
            self.page.mouse.move(*point, steps=3)
        time.sleep(wait)
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def download(self, kind: str = "csv") -> str:
        self.page.select_option("#format", kind)
        with self.page.expect_download() as started:
            self.page.click("#download")
        return Path(started.value.path()).read_bytes().decode()

    def boxes(self) -> dict[tuple[int, int], list[float]]:
        """The downloaded boxes x, y, w, h by (target, frame)."""
        rows = csv.DictReader(io.StringIO(self.download()))
        return {(int(r["target"]), int(r["frame"])): [float(r[key]) for key in "xywh"] for r in rows}
