"""Frames a second of the page without a server, held to its goal: 15 for siamcar_lite0 on two threads.

    siamtrack app --static FOLDER --model siamcar_lite0
    python benchmarks/page.py FOLDER

Needs playwright and Chromium. Frames are images that are decoded before, so that the tracker alone is measured: from a
picture in the page, over the worker, to the boxes. Ends with code 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

GOALS = {"siamcar_lite0, 2 threads": 15}
"""Frames a second at least, by what the page says of its model and threads."""

MEASURE = """async ([count, size]) => {
  const { WasmEngine } = await import("./engine_wasm.js");
  const engine = new WasmEngine(await (await fetch("page.json")).json());
  const canvas = new OffscreenCanvas(...size);
  const context = canvas.getContext("2d");
  for (let at = 0; at < 4000; at++) {
    context.fillStyle = `hsl(${(at * 47) % 360} 70% ${20 + ((at * 13) % 60)}%)`;
    context.fillRect((at * 7919) % size[0], (at * 104729) % size[1], 24, 24);
  }
  const image = new File([await canvas.convertToBlob()], "0.png", { type: "image/png" });
  await engine.open({ kind: "upload", files: [image, image] });
  await engine.step(0, { given: [[1, [200, 120, 100, 72]]], kept: [] });
  const times = [];
  for (let at = 0; at < count; at++) {
    const began = performance.now();
    await engine.step(0, { given: [], kept: [1] });
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  return [engine.model, times[count >> 1], times[0]];
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each of them."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    handler = functools.partial(Quiet, directory=str(arguments.folder))
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]) as chromium:
            page = chromium.new_page()
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
            page.wait_for_selector("html[data-ready]")  # after the reload that gives it threads
            model, median, least = page.evaluate(MEASURE, [arguments.frames, (640, 360)])
        server.shutdown()
    print(f"{model}: {1000 / median:.1f} frames a second (median of {arguments.frames}), at best {1000 / least:.1f}")
    if goal := GOALS.get(model):
        met = 1000 / median >= goal
        print(f"goal: at least {goal} frames a second, {'met' if met else 'MISSED'}")
        sys.exit(not met)


if __name__ == "__main__":
    main()
