"""How near exported trackers are to torch, frame by frame: the shipped float32 exports beside their weights.

    python benchmarks/export_parity.py siamcar_lite0 siamcar_pico --data SEQUENCES --out parity

Without names, all shipped models. SEQUENCES is a folder of sequences (`siamtrack eval --suite folder`). The table says
how far boxes are apart while both are on the target (overlap with the truth 0.5 or more), where they part, and how far
one step of the export is from torch's when both begin from torch's state. A fault of an export would show in that last
number, without what feedback makes of small differences: in a free run, one frame in which two candidates are equally
good can decide over the rest of the sequence. `benchmarks/starts.py` compares accuracy, for every precision.

Everything is kept in the folder --out by the hash of the file that ran, and not made again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from siamtrack.errors import SiamtrackError
from siamtrack.export.modules import state_tensors
from siamtrack.formats.datasets import read_dataset
from siamtrack.formats.sequence import VideoSequence
from siamtrack.geometry.overlap import rectangle_iou
from siamtrack.io import file_sha256, write_whole
from siamtrack.presets import packaged_export, preset_names
from siamtrack.runtime.engine import GraphState
from siamtrack.zoo import open_engine

ON = 0.5
"""Overlap with the truth from which a box counts as on the target."""


def follow(model: str, engine: str, given: argparse.Namespace) -> dict[str, Any]:
    """Compare boxes frame by frame, in each sequence that has not been compared yet."""
    shipped = packaged_export(model)
    assert shipped is not None
    path: Path = given.out / f"{model}-{engine}-{file_sha256(shipped)[:8]}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    engines = [open_engine(model, engine=name, threads=1) for name in ("torch", engine)]
    for sequence in read_dataset("folder", given.data):
        if sequence.name not in found:
            path.parent.mkdir(parents=True, exist_ok=True)
            found[sequence.name] = followed(engines[0], engines[1], sequence)
            write_whole(path, json.dumps(found, indent=1) + "\n")
    return found


def followed(ours: Any, theirs: Any, sequence: VideoSequence) -> dict[str, Any]:
    """One sequence: torch's engine, and an exported one, free and from torch's states."""
    frame, box = sequence.frames[0], np.array(sequence.box(0))
    state, free = ours.start(frame, box), theirs.start(frame, box)
    fixed = free
    rows = [[np.asarray(s.boxes, np.float64) for s in (state, free, free)]]
    for index in range(1, len(sequence)):
        frame = sequence.frames[index]
        tensors = {name: value.numpy() for name, value in state_tensors(state, ours.preset).items()}
        before = GraphState(state.boxes.numpy(), state.scores.numpy(), state.presence.numpy(), tensors, state.size)
        fixed = theirs.step(frame, before)
        state, free = ours.step(frame, state), theirs.step(frame, free)
        rows.append([np.asarray(s.boxes, np.float64) for s in (state, free, fixed)])
    torchs, frees, fixeds = (np.concatenate([row[i] for row in rows]) for i in range(3))
    truth = np.array([sequence.box(i) if not sequence.absent(i) else [np.nan] * 4 for i in range(len(sequence))])

    def on(corners: np.ndarray) -> np.ndarray:
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        return np.nan_to_num(rectangle_iou(boxes, truth))

    apart, one = (np.abs(other - torchs).max(1) for other in (frees, fixeds))
    torch_on, free_on = on(torchs), on(frees)
    both = (torch_on >= ON) & (free_on >= ON)
    both[0] = False
    parted = int(np.argmax(apart > ON)) if (apart > 0.5).any() else None
    return {
        "frames": len(sequence),
        "both_on": int(both.sum()),
        "apart_on": float(apart[both].max(initial=0)),
        "over_on": int((apart[both] > 0.5).sum()),
        "one_step": float(one.max()),
        "one_step_median": float(np.median(one[1:])),
        "one_step_over": [int(i) for i in np.flatnonzero(one > 0.5)],
        "parted": None if parted is None else {
            "frame": parted, "apart": float(apart[parted]), "before": float(apart[:parted].max()),
            "one_step": float(one[parted]), "overlap_torch": float(torch_on[parted]),
            "overlap": float(free_on[parted]),
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[name for name in preset_names() if packaged_export(name)])
    parser.add_argument("--data", type=Path, required=True, help="folder of sequences")
    parser.add_argument("--out", type=Path, required=True, help="folder in which everything is kept")
    parser.add_argument("--engines", nargs="+", default=["onnxruntime", "openvino"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | engine | both on target, frames | largest, px | over 0.5 px | one step, largest | parts in |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for model in given.models:
        for engine in given.engines:
            try:
                found = follow(model, engine, given)
            except SiamtrackError as error:
                print(f"{model} in {engine}: {error}", flush=True)
                continue
            parts = [
                f"{name} at {row['parted']['frame']} (before {row['parted']['before']:.2f}, one step "
                f"{row['parted']['one_step']:.2f} px)"
                for name, row in found.items() if row["parted"]
            ]  # fmt: skip
            print(
                f"| {model} | {engine} | {sum(r['both_on'] for r in found.values())} | "
                f"{max(r['apart_on'] for r in found.values()):.2f} | {sum(r['over_on'] for r in found.values())} | "
                f"{max(r['one_step'] for r in found.values()):.3f} | {'; '.join(parts) or 'none'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
