"""Pairs a second of the data path alone: resident and streaming set, and what each part of a pair costs.

    python benchmarks/data.py shards/ [--preset siamcar_lite0] [--batch 32] [--device cpu] [--threads 2]

The data are drawn by the preset's own rules. Wall time and processor time are both given: on a machine that does
other work besides, the second is what the path costs. The first batches, which read and start everything, do not
count.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import cv2
import torch

from siamtrack.config import load_preset
from siamtrack.data.resident import ResidentSet
from siamtrack.data.source import PairSource, ResidentPairs
from siamtrack.data.streaming import StreamedPairs


def measure(source: PairSource, batch: int, steps: int, sync: Callable[[], None]) -> tuple[float, float]:
    """Pairs a second, and milliseconds of processor time a pair."""
    for step in range(3):
        source.draw(batch, 0, 0, step)
    sync()
    wall, busy = time.perf_counter(), time.process_time()
    for step in range(3, 3 + steps):
        source.draw(batch, 0, 0, step)
    sync()
    pairs = batch * steps
    return pairs / (time.perf_counter() - wall), 1000 * (time.process_time() - busy) / pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("--preset", default="siamcar_lite0")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("resident", "streaming"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    preset = load_preset(given.preset)
    sync: Callable[[], None] = torch.cuda.synchronize if given.device.startswith("cuda") else lambda: None
    makers: dict[str, Callable[[], PairSource]] = {
        "streaming": lambda: StreamedPairs(given.shards, preset.crops, preset.data, given.device, given.threads),
        "resident": lambda: ResidentPairs(ResidentSet.load(given.shards).to(given.device), preset.crops, preset.data),
    }
    print(f"{given.preset}, {given.batch} pairs a batch, {given.device}, {given.threads} threads")
    print("set        pairs/s  CPU ms/pair  peak memory so far")
    for name, make in makers.items():
        if given.only in (None, name):
            source = make()
            rate, busy = measure(source, given.batch, given.steps, sync)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{name:9} {rate:8.0f} {busy:12.2f} {peak:9.0f} MB")
            source.close()


if __name__ == "__main__":
    main()
