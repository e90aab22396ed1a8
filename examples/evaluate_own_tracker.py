"""Evaluate your own tracker on a folder of sequences: result files, scores by OTB's rules, a report.

    python examples/evaluate_own_tracker.py sequences --out results

`sequences` holds one folder for each sequence: `walk/img/*.jpg` and `walk/groundtruth.txt`, an `x,y,w,h` line a frame.
Anything with `init(frame, box)` and `update(frame)` is a tracker. The one here looks for the first frame's patch. Needs
the extras `report` and, for this tracker, `opencv`.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from siamtrack.evaluation.scoring import score
from siamtrack.formats.datasets import read_dataset
from siamtrack.report import RawSource, write_report

parser = argparse.ArgumentParser(description="Evaluate a tracker of your own.")
parser.add_argument("data", type=Path, help="folder of sequences")
parser.add_argument("--out", type=Path, default=Path("results"), help="folder for results and report")
args = parser.parse_args()


class PatchTracker:
    """Normalised cross-correlation with the target's pixels in the first frame; the size never changes."""

    def init(self, frame: np.ndarray, box: tuple[float, float, float, float]) -> None:
        """Keep the pixels of `box`, x, y, w, h, from the frame, RGB uint8 (H, W, 3)."""
        x, y, w, h = (round(value) for value in box)
        self.size = float(w), float(h)
        self.patch = frame[max(0, y) : y + h, max(0, x) : x + w]

    def update(self, frame: np.ndarray) -> tuple[float, float, float, float]:
        """Return x, y, w, h in the next frame."""
        likeness = cv2.matchTemplate(frame, self.patch, cv2.TM_CCOEFF_NORMED)
        x, y = np.unravel_index(likeness.argmax(), likeness.shape)[::-1]
        return float(x), float(y), *self.size


results = args.out / "patch"
results.mkdir(parents=True, exist_ok=True)
for sequence in read_dataset("folder", args.data):
    tracker, first = PatchTracker(), sequence.box(0)
    tracker.init(sequence.frames[0], first)
    boxes = [first] + [tracker.update(sequence.frames[n]) for n in range(1, len(sequence))]
    np.savetxt(results / f"{sequence.name}.txt", np.array(boxes), fmt="%.4f", delimiter=",")

scores = score("folder", args.data, results, rules="otb")
for name, values in scores.sequences.items():
    print(f"{name}: success {values['success_auc']:.3f}")
print("mean:", ", ".join(f"{name} {value:.3f}" for name, value in scores.metrics.items()))
report = write_report([results], args.out / "report", raw=RawSource("folder", args.data, "otb"))
print(f"report: {report.page}")
