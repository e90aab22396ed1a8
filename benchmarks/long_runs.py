"""Long runs: does memory grow, does speed fall? Prints the rows of the table in docs/reliability.md.

python benchmarks/long_runs.py frames --count 100000     frames of a looped clip, tracked
python benchmarks/long_runs.py targets --count 1000      targets that come and go, ten at a time
"""

from __future__ import annotations

import argparse
import resource
import time
from importlib import resources
from pathlib import Path

import numpy as np

import siamtrack


def memory() -> float:
    """MB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def clip() -> list[np.ndarray]:
    with siamtrack.open_source(Path(str(resources.files("siamtrack.video"))) / "demo" / "clip.mp4") as source:
        return [frame[::2, ::2].copy() for frame in source]  # half the size: 320x180


def there_and_back(frames: list[np.ndarray], n: int) -> np.ndarray:
    """Frame n of a clip that is played forward and backward without end: no cut, so that tracking goes on."""
    turn = 2 * (len(frames) - 1)
    return frames[min(n % turn, turn - n % turn)]


def frames(count: int) -> None:
    images = clip()
    first = (Path(str(resources.files("siamtrack.video"))) / "demo" / "clip.txt").read_text().splitlines()[0]
    tracker = siamtrack.load("siamcar_pico")
    tracker.init(images[0], [float(value) / 2 for value in first.split(",")])
    began, marks = time.perf_counter(), []
    for n in range(1, count + 1):
        result = tracker.update(there_and_back(images, n))
        if n % (count // 10) == 0:
            marks.append(memory())
            rate = n / (time.perf_counter() - began)
            print(f"{n:7d} frames: {marks[-1]:6.0f} MB, {rate:5.1f} a second, {result.status}", flush=True)
    print(f"| {count:,} frames | {marks[0]:.0f} MB after a tenth, {marks[-1]:.0f} MB at the end |")


def targets(count: int) -> None:
    images = clip()
    height, width = images[0].shape[:2]
    draw = np.random.default_rng(0)
    tracker = siamtrack.load_multi("siamcar_pico")
    marks = []
    for n in range(0, count, 10):
        corners = draw.uniform((0, 0), (width - 40, height - 40), (10, 2))
        tracker.init(there_and_back(images, n), np.concatenate([corners, draw.uniform(12, 40, (10, 2))], 1).tolist())
        for step in range(1, 6):
            tracker.update(there_and_back(images, n + step))
        if (n + 10) % (count // 10) == 0:
            marks.append(memory())
            print(f"{n + 10:7d} targets: {marks[-1]:6.0f} MB", flush=True)
    print(f"| {count:,} targets | {marks[0]:.0f} MB after a tenth, {marks[-1]:.0f} MB at the end |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("frames", "targets"))
    parser.add_argument("--count", type=int, required=True, help="a multiple of 100")
    args = parser.parse_args()
    {"frames": frames, "targets": targets}[args.what](args.count)


if __name__ == "__main__":
    main()
