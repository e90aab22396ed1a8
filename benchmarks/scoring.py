"""How long `siamtrack.evaluation.scoring` takes for one tracker, reading included, on one core.

    python benchmarks/scoring.py --pack FOLDER [--repeat N]

FOLDER holds `gt/` and `results/<benchmark>/<tracker>.zip` (see tests/golden/metrics). Prints a Markdown table
with the best of N runs: the time on the clock, and the processor time, which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from siamtrack.evaluation.scoring import score

# suite, rules, truth, results, seconds allowed
CASES = [
    ("otb100", "otb", "gt/otb100.zip", "results/otb100/SiamRPNpp.zip", 0.5),
    ("otb100", "pysot", "gt/otb100.zip", "results/otb100/SiamRPNpp.zip", 0.5),
    ("otb100", "got10k-toolkit", "gt/otb100.zip", "results/otb100/SiamRPNpp.zip", 0.5),
    ("vot2018", "vot-pysot", "gt/vot2018.zip", "results/vot2018/SiamCAR.zip", 2.0),
    ("vot2018", "vot-toolkit", "gt/vot2018.zip", "results/vot2018/SiamCAR.zip", 2.0),
    ("lasot", "lasot", "gt/lasot_test.zip", "results/lasot/ATOM.zip", 3.0),
    ("lasot", "pysot", "gt/lasot_test.zip", "results/lasot/ATOM.zip", 3.0),
]


def best_times(repeat: int, suite: str, rules: str, truth: Path, results: Path) -> tuple[float, float]:
    """Return the least seconds on the clock and of the processor over some runs."""
    clock, processor = [], []
    for _ in range(repeat):
        began, began_cpu = time.perf_counter(), time.process_time()
        score(suite, truth, results, rules)
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - began_cpu)
    return min(clock), min(processor)


def main() -> None:
    """Time all cases and print the table; exit with 1 where the processor time exceeds what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pack", type=Path, required=True, help="folder with gt/ and results/")
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the best counts")
    args = parser.parse_args()
    print("| suite | rules | clock, s | processor, s | allowed, s |\n|---|---|---|---|---|")
    slow = False
    for suite, rules, truth, results, allowed in CASES:
        clock, processor = best_times(args.repeat, suite, rules, args.pack / truth, args.pack / results)
        slow |= processor > allowed
        print(f"| {suite} | {rules} | {clock:.2f} | {processor:.2f} | {allowed:.1f} |")
    raise SystemExit(1 if slow else 0)


if __name__ == "__main__":
    main()
