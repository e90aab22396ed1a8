"""Pairs a second of the data path alone: the resident and the streaming set, and how many times as fast the first is.

    OMP_WAIT_POLICY=passive python benchmarks/data.py shards/ --preset siamcar_pico --threads 2
    python benchmarks/data.py shards/ --device cuda --batch 128

Pairs are drawn by the preset's own rules. Rounds alternate between the two sets, so that a machine that changes its
pace slows both; given are medians over the rounds, and the ratio of each round. Wall time and processor time are both
given: on a machine that does other work besides, the second is what the path costs. The first batches, which read and
start everything, do not count.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import cv2
import torch

from siamtrack.config import Preset, load_preset
from siamtrack.data.pair_source import PairSource, ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.data.streaming import StreamedPairs

_PAUSE = 0.3


class Course:
    """A set that is measured, a round at a time.

    Args:
        source: the set.
        batch: pairs a batch.
        sync: waits for the device.
    """

    def __init__(self, source: PairSource, batch: int, sync: Callable[[], None]) -> None:
        self.source, self.batch, self.sync = source, batch, sync
        self.step = 0
        self.rates: list[float] = []
        self.costs: list[float] = []

    def run(self, steps: int, count: bool = True) -> None:
        """Draw some batches, and note pairs a second and milliseconds of processor time a pair."""
        wall, busy = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.source.draw(self.batch, 0, 0, self.step)
            self.step += 1
        self.sync()
        wall = time.perf_counter() - wall
        time.sleep(_PAUSE)  # what a stream prepares ahead is its own work
        busy = time.process_time() - busy
        if count:
            self.rates.append(steps * self.batch / wall)
            self.costs.append(1000 * busy / (steps * self.batch))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("--preset", default="siamcar_pico")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10, help="batches of each set in a round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("resident", "streaming"), help="for the memory of one of them")
    return parser.parse_args()


def open_sets(given: argparse.Namespace, preset: Preset) -> dict[str, PairSource]:
    sources: dict[str, PairSource] = {}
    if given.only != "resident":
        sources["streaming"] = StreamedPairs(given.shards, preset.crops, preset.data, given.device, given.threads)
    if given.only != "streaming":
        sources["resident"] = ResidentPairs(ResidentSet.load(given.shards).to(given.device), preset.crops, preset.data)
    return sources


def main() -> None:
    given = parse()
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    sync: Callable[[], None] = torch.cuda.synchronize if given.device.startswith("cuda") else lambda: None
    sources = open_sets(given, load_preset(given.preset))
    courses = {name: Course(source, given.batch, sync) for name, source in sources.items()}
    for course in courses.values():
        course.run(3, count=False)
    for _ in range(given.rounds):
        for course in courses.values():
            course.run(given.steps)
    print(f"{given.preset}, {given.batch} pairs a batch, {given.device}, {given.threads} threads")
    print("set        pairs/s  CPU ms/pair")
    for name, course in courses.items():
        print(f"{name:9} {statistics.median(course.rates):8.0f} {statistics.median(course.costs):12.2f}")
        course.source.close()
    if given.only is None:
        fast, slow = courses["resident"], courses["streaming"]
        wall = [a / b for a, b in zip(fast.rates, slow.rates, strict=True)]
        busy = [b / a for a, b in zip(fast.costs, slow.costs, strict=True)]
        for name, ratios in (("pairs/s", wall), ("CPU time", busy)):
            said = ", ".join(f"{ratio:.1f}" for ratio in ratios)
            print(f"resident over streaming, {name}: {statistics.median(ratios):.2f} (rounds: {said})")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
