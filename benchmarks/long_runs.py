"""Long runs: does memory grow, does speed fall? Prints the rows of the table in docs/reliability.md.

python benchmarks/long_runs.py frames --count 100000     frames of a looped clip, tracked
python benchmarks/long_runs.py targets --count 1000      targets that come and go, ten at a time
python benchmarks/long_runs.py stream --count 864000     frames of a looped live stream: eight hours at 30 a second
python benchmarks/long_runs.py store --count 10000       sequences: eval, score and report
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib import resources
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

import siamtrack
from siamtrack.video.reader import open_source

DEMO = Path(str(resources.files("siamtrack.video"))) / "demo"
_TRACKED = 256
"""Of so many frames of the stream one is tracked; all are received and decoded."""


def memory() -> float:
    """MB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def clip() -> list[np.ndarray]:
    with open_source(DEMO / "clip.mp4") as source:
        return [frame[::2, ::2].copy() for frame in source]  # half the size: 320x180


def first_box() -> list[float]:
    return [float(value) / 2 for value in (DEMO / "clip.txt").read_text().splitlines()[0].split(",")]


def there_and_back(frames: list[np.ndarray], n: int) -> np.ndarray:
    """Frame n of a clip that is played forward and backward without end: no cut, so that tracking goes on."""
    turn = 2 * (len(frames) - 1)
    return frames[min(n % turn, turn - n % turn)]


def frames(count: int) -> None:
    images = clip()
    tracker = siamtrack.load("siamcar_pico")
    tracker.init(images[0], first_box())
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


def stream(count: int) -> None:
    """Receive a live stream without waiting for its clock, and track some of its frames."""
    images, done = [frame[::2, ::2].copy() for frame in clip()], 0
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, "clip.ts")
        write_ts(packed, [there_and_back(images, n) for n in range(2 * (len(images) - 1))])
        address = serve_without_end(packed.read_bytes())
        began, marks = time.perf_counter(), []
        tracker = siamtrack.load("siamcar_pico")
        with open_source(address, stride=_TRACKED, every_frame=True) as source:
            assert source.live
            for n, frame in enumerate(source):
                if n == 0:
                    tracker.init(frame, [side / 2 for side in first_box()])
                    continue
                result = tracker.update(frame)
                if (done := n * _TRACKED) >= len(marks) * count // 10 + count // 10:
                    marks.append(memory())
                    rate = done / (time.perf_counter() - began)
                    print(f"{done:7d} frames: {marks[-1]:6.0f} MB, {rate:5.0f} a second, {result.status}", flush=True)
                if done >= count:
                    break
            print(source.warning or "it never broke off")
    print(f"| {count:,} frames of a stream | {marks[0]:.0f} MB after a tenth, {marks[-1]:.0f} MB at the end |")


def write_ts(path: Path, images: list[np.ndarray]) -> None:
    with av.open(str(path), "w", format="mpegts") as out:
        coded: Any = out.add_stream("mpeg4", rate=30)
        coded.height, coded.width = images[0].shape[:2]
        coded.pix_fmt, coded.bit_rate = "yuv420p", 2_000_000
        for image in images:
            out.mux(coded.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(coded.encode(None))


def serve_without_end(data: bytes) -> str:
    """The address of a server that sends the same bytes again and again."""
    server = socket.create_server(("127.0.0.1", 0))

    def send() -> None:
        with contextlib.suppress(OSError), server.accept()[0] as peer:
            while True:
                peer.sendall(data)

    threading.Thread(target=send, daemon=True).start()
    return f"tcp://127.0.0.1:{server.getsockname()[1]}"


class Still:
    """A tracker that says that nothing moves: what is measured is everything else."""

    def init(self, frame: np.ndarray, box: Any) -> None:
        """Begin with a box."""
        self.box = box

    def update(self, frame: np.ndarray) -> Any:
        """Return the same box."""
        return self.box


def store(count: int) -> None:
    """Evaluate, score and report as many sequences of five frames as `count`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        frame = root / "frame.jpg"
        Image.fromarray(clip()[0][:48, :64]).save(frame)
        for n in range(count):
            sequence = root / "data" / f"s{n:05d}"
            (sequence / "img").mkdir(parents=True)
            for number in range(1, 6):
                (sequence / "img" / f"{number:04d}.jpg").hardlink_to(frame)
            (sequence / "groundtruth.txt").write_text("".join(f"{10 + i},12,16,{14 + i}\n" for i in range(5)))
        raw = "results/long_runs_Still/folder/results"
        for name, words in {
            "eval": "eval long_runs:Still --suite folder --data data --out results --processes 2",
            "score": f"score --suite folder --truth data --results {raw} --json",
            "report": "report results --out page",
        }.items():
            began = time.perf_counter()
            command = [sys.executable, "-m", "siamtrack", *words.split()]
            environment = os.environ | {
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
            }
            with (root / "said").open("w") as said:
                child = subprocess.Popen(command, cwd=root, stdout=said, stderr=said, env=environment)
                _, status, used = os.wait4(child.pid, 0)
            assert status == 0, (root / "said").read_text()[-2000:]
            seconds, megabytes = time.perf_counter() - began, used.ru_maxrss / 1e3
            print(f"| {name} of {count:,} sequences | {seconds:.0f} s, at most {megabytes:.0f} MB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {"frames": frames, "targets": targets, "stream": stream, "store": store}
    parser.add_argument("what", choices=tuple(kinds))
    parser.add_argument("--count", type=int, required=True, help="a multiple of 100")
    args = parser.parse_args()
    kinds[args.what](args.count)


if __name__ == "__main__":
    main()
