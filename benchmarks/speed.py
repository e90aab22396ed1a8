"""Milliseconds a frame, split into read, crop, network, rank and write, for every preset and thread count.

    python benchmarks/speed.py                            # all presets, 1 and 2 threads
    python benchmarks/speed.py siamcar_lite0 --threads 1 --frames 60 --opencv csrt kcf mil
    python benchmarks/speed.py siamcar_lite0 siamcar_pico --threads 1 --engine torch onnxruntime openvino

Presets without weights run with random ones: the time is the same. Frames are those of the demo clip, decoded
from its mp4; the boxes go to a CSV file. With --opencv, OpenCV's trackers run on the same frames in the same
process. With --engine, models run in other engines than torch too: shipped ones, and exported files (.onnx, .xml) by
their path, of whichever precision they were made in; crop and rank are inside of their `network`. Rounds alternate
between the subjects, so that a machine that changes its pace slows them all; the table gives the median over all
frames and rounds, and the total's quartiles. Its title has the machine's own rate at a large float32 matrix product,
the best of several in each round: cores differ by a factor of three, and times times rates are nearer to each other.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from siamtrack.config import load_preset
from siamtrack.errors import SiamtrackError
from siamtrack.evaluation.opencv import opencv_tracker
from siamtrack.evaluation.trackers import TimedMatcher
from siamtrack.models.frozen import freeze
from siamtrack.models.weights import fold_norms
from siamtrack.presets import packaged_export, packaged_weights, preset_names
from siamtrack.runtime.engine import GraphEngine
from siamtrack.runtime.metadata import EXPORT_SUFFIXES
from siamtrack.runtime.sessions import open_exported
from siamtrack.tracking import view as tracking
from siamtrack.tracking.torch_engine import TorchEngine
from siamtrack.tracking.tracker import Tracker
from siamtrack.video.box_writer import BoxWriter
from siamtrack.video.reader import open_source
from siamtrack.zoo.networks import open_network

PARTS = ("read", "crop", "network", "rank", "write", "total")
Times = dict[str, list[float]]


@contextmanager
def timed_cut() -> Iterator[Callable[[], float]]:
    """Note how long the crops take while a step runs: yields a function that gives the seconds and starts anew."""
    original, spent = tracking.cut, [0.0]

    def cut(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            spent[0] += time.perf_counter() - started

    def take() -> float:
        value, spent[0] = spent[0], 0.0
        return value

    tracking.cut = cut  # type: ignore[assignment]
    try:
        yield take
    finally:
        tracking.cut = original


def make_engine(name: str, kind: str, threads: int) -> TorchEngine | GraphEngine:
    if kind != "torch":
        return open_exported(packaged_export(name) or Path(name), kind, threads=threads)
    if packaged_weights(name):
        return open_network(name)
    preset = load_preset(name)
    return TorchEngine(freeze(fold_norms(preset.model.build())), preset)  # type: ignore[arg-type]


def run_ours(engine: TorchEngine, clip: Path, box: tuple[float, ...], frames: int, out: Path, times: Times) -> None:
    """Track `frames` frames of the clip and add the milliseconds of each to `times`."""
    timed = TimedMatcher(engine.net, "cpu")
    run = Tracker(TorchEngine(timed, engine.preset))
    with timed_cut() as crops, open_source(clip, 0, frames + 1) as source, BoxWriter(out, 1) as writer:
        stream = iter(source)
        run.init(next(stream), box)
        crops()
        for number in range(1, frames + 1):
            begun = time.perf_counter()
            frame = next(stream)
            read = time.perf_counter()
            timed.seconds = 0.0
            result = run.update(frame)
            tracked = time.perf_counter()
            writer.write(number, [result])
            ended = time.perf_counter()
            crop = crops()
            values = (
                read - begun,
                crop,
                timed.seconds,
                tracked - read - crop - timed.seconds,
                ended - tracked,
                ended - begun,
            )
            for part, value in zip(PARTS, values, strict=True):
                times[part].append(1000 * value)


def product_rate(side: int = 1024) -> float:
    """GFLOP/s of a float32 matrix product, the best of six, on torch's present number of threads."""
    a = torch.rand(side, side)
    taken = []
    for _ in range(6):
        begun = time.perf_counter()
        torch.mm(a, a)
        taken.append(time.perf_counter() - begun)
    return 2e-9 * side**3 / min(taken)


def run_opencv(name: str, clip: Path, box: tuple[float, ...], frames: int, times: Times) -> None:
    """The same for one of OpenCV's trackers; its crop and rank are inside of `network`."""
    tracker = opencv_tracker(name)
    with open_source(clip, 0, frames + 1) as source:
        time_updates(tracker, iter(source), box, frames, times)


def run_exported(engine: GraphEngine, clip: Path, box: tuple[float, ...], frames: int, times: Times) -> None:
    """The same for an exported tracker, whose whole step is one graph."""
    tracker = Tracker(engine)
    with open_source(clip, 0, frames + 1) as source:
        time_updates(tracker, iter(source), box, frames, times)


def time_updates(tracker: Any, stream: Iterator[Any], box: tuple[float, ...], frames: int, times: Times) -> None:
    """Begin in a stream's first frame, and add the milliseconds of reading and tracking the next ones to `times`."""
    tracker.init(next(stream), box)
    for _ in range(frames):
        begun = time.perf_counter()
        frame = next(stream)
        read = time.perf_counter()
        tracker.update(frame)
        ended = time.perf_counter()
        for part, value in (("read", read - begun), ("network", ended - read), ("total", ended - begun)):
            times[part].append(1000 * value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", help="default: all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--frames", type=int, default=20, help="frames a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", nargs="+", default=["torch"], help="torch, onnxruntime, openvino")
    parser.add_argument("--opencv", nargs="*", default=[], help="csrt, kcf, mil, nano: those that this OpenCV has")
    options = parser.parse_args()
    demo = Path(str(resources.files("siamtrack.video"))) / "demo"
    clip = demo / "clip.mp4"
    box = tuple(map(float, (demo / "clip.txt").read_text().splitlines()[0].split(",")))
    table = Table("subject", "threads", *PARTS, "total 25-75%", "fps")
    rates: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for threads in options.threads:
            torch.set_num_threads(threads)
            import cv2

            cv2.setNumThreads(threads)
            measured: dict[str, Times] = {}
            engines = {
                name if kind == "torch" else f"{name} {kind}": make_engine(name, kind, threads)
                for name in options.presets or preset_names()
                for kind in options.engine
                if (kind != "torch" or not name.endswith(EXPORT_SUFFIXES))
            }
            for turn in range(options.rounds + 1):
                rates[threads] = max(product_rate(), rates.get(threads, 0.0))
                for name, engine in engines.items():
                    times = measured.setdefault(name, {part: [] for part in PARTS}) if turn else {p: [] for p in PARTS}
                    count = options.frames if turn else 3  # the first, short round warms up
                    if isinstance(engine, GraphEngine):
                        run_exported(engine, clip, box, count, times)
                    else:
                        run_ours(engine, clip, box, count, Path(folder) / "boxes.csv", times)
                for name in options.opencv:
                    times = measured.setdefault(f"opencv:{name}", {part: [] for part in PARTS})
                    try:
                        run_opencv(name, clip, box, options.frames, times)
                    except SiamtrackError as error:
                        print(f"opencv:{name} left out: {error}")
                        options.opencv = [other for other in options.opencv if other != name]
            for name, times in measured.items():
                if times["total"]:
                    table.add_row(name, str(threads), *row(times))
    peak = ", ".join(f"{rate:.0f} GFLOP/s on {threads} thread{'s' * (threads > 1)}" for threads, rate in rates.items())
    table.title = f"median ms a frame; a float32 matrix product: {peak}"
    Console(width=140).print(table)


def row(times: Times) -> list[str]:
    """Medians of the parts, quartiles of the total, and frames per second."""
    cells = [f"{np.median(times[part]):.2f}" if times[part] else "-" for part in PARTS]
    low, middle, high = np.percentile(times["total"], (25, 50, 75))
    return [*cells, f"{low:.1f}-{high:.1f}", f"{1000 / middle:.0f}"]


if __name__ == "__main__":
    main()
