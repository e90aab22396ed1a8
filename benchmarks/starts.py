"""Success of trackers that start in several frames of each sequence: chance counts for less than from one start each.

    python benchmarks/starts.py spm_lite0 siamcar_lite0 mine.onnx --data SEQUENCES

SEQUENCES is a folder as `siamtrack eval --suite folder` reads it. A tracker starts in the first frame and after 20, 40
and 60 % of each sequence, and follows to the end; frames with a box of the truth count, the first of each start among
them. The table has the AUC of success (21 thresholds), averaged over the starts of a sequence, and then over sequences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import siamtrack
from siamtrack.formats.datasets import read_dataset
from siamtrack.geometry.overlap import rectangle_iou

STARTS = (0.0, 0.2, 0.4, 0.6)
THRESHOLDS = np.linspace(0, 1, 21)

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("models", nargs="+")
parser.add_argument("--data", type=Path, required=True, help="folder of sequences")
parser.add_argument("--engine", default="auto")
args = parser.parse_args()
trackers = [siamtrack.load(model, engine=args.engine) for model in args.models]
table = Table("sequence", *args.models)
rows = []
for sequence in read_dataset("folder", args.data):
    frames = [np.asarray(frame) for frame in sequence.frames]
    truth = np.array([sequence.box(n) for n in range(len(frames))], float)
    row = []
    for tracker in trackers:
        scores = []
        for start in (int(share * len(frames)) for share in STARTS):
            if not np.isfinite(truth[start]).all() or not (truth[start, 2:] > 0).all():
                continue
            tracker.init(frames[start], truth[start])
            boxes = np.array([truth[start], *(np.array(tracker.update(frame).box) for frame in frames[start + 1 :])])
            seen = np.isfinite(truth[start:]).all(1)
            found = rectangle_iou(boxes[seen], truth[start:][seen])
            scores.append((found[:, None] > THRESHOLDS).mean())
        row.append(float(np.mean(scores)))
    table.add_row(sequence.name, *(f"{value:.3f}" for value in row))
    rows.append(row)
table.add_row("mean", *(f"{value:.4f}" for value in np.mean(rows, 0)))
Console(width=110).print(table)
