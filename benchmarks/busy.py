"""What tracking keeps of its speed beside other programs: `siamtrack demo` alone, and beside loops that never wait.

    python benchmarks/busy.py --loops 4 --threads 2

Run it on a machine that does nothing else. Prints the frames a second of both and their ratio; with `--loops` of twice
the number of cores, a fair share of the processor is a third of it, and a tracker whose threads spin while they wait
falls far below that.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from statistics import median


def rate(frames: int, threads: int | None) -> float:
    """Frames a second that one run of the demo reports, without the time that loading takes."""
    settings = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "siamtrack", "demo", "--out", folder, "--end", str(frames)]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)
    found = re.search(r": ([0-9.]+) frames a second", done.stdout)
    if found is None:
        raise SystemExit(f"the demo told no rate: {done.stdout}")
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Frames a second of the demo, alone and beside busy loops.")
    parser.add_argument("--loops", type=int, default=4)
    parser.add_argument("--threads", type=int, help="of the tracker; by default its own choice")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    alone = median(rate(given.frames, given.threads) for _ in range(given.repeats))
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(given.loops)]
    try:
        beside = median(rate(given.frames, given.threads) for _ in range(given.repeats))
    finally:
        for loop in loops:
            loop.kill()
    print(f"alone {alone:.1f}, beside {given.loops} loops {beside:.1f} frames a second: {beside / alone:.0%}")


if __name__ == "__main__":
    main()
