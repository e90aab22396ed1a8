"""What tracking keeps of its speed beside other programs, and what it costs that its threads sleep while they wait.

    python benchmarks/busy.py --loops 4

Runs `siamtrack track` on the demo clip, without a drawn video, and `siamtrack demo`, which draws one: alone; alone with
threads that spin (OMP_WAIT_POLICY=ACTIVE); and beside loops that never wait. The three take turns, and medians are
printed, so run it on a machine that does nothing else. Beside loops of twice the number of cores, a program of one
thread has a fair share of 40 %, and threads that spin keep far less.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from statistics import median

CLIP = Path(str(resources.files("siamtrack"))) / "video" / "demo" / "clip.mp4"


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Other programs that take all of the processor that they get."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        time.sleep(0.5 if loops else 0)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def rate(command: str, options: list[str], policy: str | None) -> float:
    """Frames a second that one run reports, without the time that loading takes."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    with tempfile.TemporaryDirectory() as folder:
        if command == "track":
            what = ["track", str(CLIP), "--box", "132,170,100,72", "--output", f"{folder}/boxes.csv"]
        else:
            what = ["demo", "--out", folder]
        done = subprocess.run(
            [sys.executable, "-m", "siamtrack", *what, *options], capture_output=True, text=True, check=True,
            env=environment | ({"OMP_WAIT_POLICY": policy} if policy else {}),
        )  # fmt: skip
    found = re.search(r": ([0-9.]+) frames a second", done.stdout)
    if found is None:
        raise SystemExit(f"the command told no rate: {done.stdout}")
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Frames a second alone, with threads that spin, and beside loops.")
    parser.add_argument("--loops", type=int, default=4)
    parser.add_argument("--threads", nargs="+", type=int, default=[0], help="of the tracker; 0 for its own choice")
    parser.add_argument("--engine", nargs="+", default=["auto"])
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(
        "| command | engine | threads | alone, fps | the same, spinning | passive costs | beside loops, fps | keeps |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for command in ("track", "demo"):
        for engine in given.engine:
            for threads in given.threads:
                options = ["--end", str(given.frames), "--engine", engine]
                options += ["--threads", str(threads)] if threads else []
                rows: list[tuple[float, float, float]] = []
                for _ in range(given.repeats):
                    alone, active = rate(command, options, None), rate(command, options, "ACTIVE")
                    with busy(given.loops):
                        rows.append((alone, active, rate(command, options, None)))
                alone, active, beside = (median(column) for column in zip(*rows, strict=True))
                print(
                    f"| {command} | {engine} | {threads or 'default'} | {alone:.1f} | {active:.1f} "
                    f"| {1 - alone / active:.0%} | {beside:.1f} | {beside / alone:.0%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
