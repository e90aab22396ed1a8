"""How near exported trackers are to torch: boxes frame by frame, and accuracy for each engine and precision.

    python benchmarks/export_parity.py run siamcar_lite0 siamcar_pico --data SEQUENCES --out parity
    python benchmarks/export_parity.py follow siamcar_lite0 siamcar_pico --data SEQUENCES --out parity
    python benchmarks/export_parity.py table --data SEQUENCES --out parity

Without names, all shipped models. SEQUENCES is a folder of sequences (`siamtrack eval --suite folder`); int8 is
calibrated with the frames of --calibrate, by default the demo clip, which must not be one of them.

`run` evaluates each model in each engine and precision twice: tracked through from the first frame ("free"), and begun
anew from the truth every 25 frames ("restarted"). In a free run, one frame in which two candidates are equally good
can decide over the rest of the sequence; a restarted run shows what an engine and a precision cost by themselves.

`follow` puts the float32 exports beside torch, frame by frame: how far their boxes are apart while both are on the
target (overlap with the truth 0.5 or more), where they part, and how far one step of the export is from torch's when
both begin from torch's state. A fault of an export would show in that last number, without what feedback makes of
small differences.

Everything is kept in the folder --out and not made again: each part can be stopped, and goes on where it was. Results
are kept by the hash of the file that ran, so that new weights begin anew. `table` prints what there is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from siamtrack.errors import SiamtrackError
from siamtrack.evaluation.evaluate import EvaluationWatcher, evaluate, open_store, pending, read_suite
from siamtrack.evaluation.jobs import Workers
from siamtrack.evaluation.protocols import RunBuilder, TimedRun
from siamtrack.evaluation.suites import Suite, find_suite
from siamtrack.evaluation.tracker_session import Prediction, SessionLike
from siamtrack.evaluation.trackers import find_tracker
from siamtrack.export import export_model
from siamtrack.export.modules import state_tensors
from siamtrack.formats.sequence import VideoSequence
from siamtrack.geometry.overlap import rectangle_iou
from siamtrack.io import file_sha256, write_whole
from siamtrack.presets import preset_names
from siamtrack.runtime.engine import GraphState
from siamtrack.video.reader import open_source
from siamtrack.zoo import open_engine
from siamtrack.zoo.packaged import packaged_export, packaged_weights

PRECISIONS = {"torch": ("float32",), "onnxruntime": ("float32", "float16", "int8"),
              "openvino": ("float32", "float16", "bfloat16", "int8")}  # fmt: skip
"""What differs: ONNX Runtime computes a bfloat16 file in float32, from the same numbers."""
EVERY = 25
ON = 0.5
"""Overlap with the truth from which a box counts as on the target."""
CLIP = Path(str(resources.files("siamtrack.video"))) / "demo" / "clip.mp4"


@dataclass(frozen=True)
class Restarted:
    """One pass that begins anew from the truth every `every` frames, where the target is there."""

    every: int = EVERY
    kind: ClassVar[str] = "ope"

    def keys(self, sequence: VideoSequence) -> list[str]:
        """One run."""
        return [""]

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Track; the rows of the frames in which it begins hold the truth."""
        rows = RunBuilder(len(sequence))
        for index in range(len(sequence)):
            if index % self.every == 0 and not sequence.absent(index):
                box = np.array(sequence.box(index))
                session.init(sequence.frames, index, box)
                rows.put(index, Prediction(tuple(box.tolist()), 1.0), session.seconds)
            else:
                rows.put(index, session.update(sequence.frames, index), session.seconds)
        return rows.finish()


SUITES = {
    "free": find_suite("folder"),
    "restarted": Suite("folder-restarted", "folder", Restarted(), "otb"),
}


class Quiet(EvaluationWatcher):
    """Prints one line a sequence that failed."""

    def started(self, worker: int, sequence: VideoSequence) -> None:
        """Nothing."""

    def advanced(self, worker: int, frames: int) -> None:
        """Nothing."""

    def finished(self, worker: int, sequence: VideoSequence, failure: Any) -> None:
        """Tell of a failure."""
        if failure:
            print(f"  {sequence.name}: {failure.message}", flush=True)


@dataclass(frozen=True)
class Subject:
    """One row of the table: a model in an engine and a precision, and the file that runs."""

    model: str
    engine: str
    precision: str
    file: str

    @property
    def name(self) -> str:
        """Of its results; holds the beginning of the file's hash."""
        path = packaged_weights(self.model) if self.engine == "torch" else Path(self.file)
        assert path is not None
        return f"{self.model}-{self.engine}-{self.precision}-{file_sha256(path)[:8]}"


def subjects(models: Sequence[str], given: argparse.Namespace) -> Iterator[Subject]:
    """What is compared, torch first; exports that are not there are made, but for the table."""
    for model in models:
        for engine in [name for name in PRECISIONS if name in given.engines]:
            for precision in [name for name in PRECISIONS[engine] if name in given.precisions]:
                if engine == "torch":
                    yield Subject(model, engine, precision, model)
                    continue
                path = exported_place(model, precision, given)
                try:
                    if given.part != "table":
                        make(path, model, precision, given.calibrate)
                        open_engine(path, engine=engine)
                except SiamtrackError as error:
                    print(f"{model} in {engine}, {precision}: {error}", flush=True)
                    continue
                if path.exists():
                    yield Subject(model, engine, precision, str(path))


def exported_place(model: str, precision: str, given: argparse.Namespace) -> Path:
    """The file of a model in a precision: float32 as it ships, others by the hashes of what ships."""
    shipped, weights = packaged_export(model), packaged_weights(model)
    assert shipped is not None and weights is not None
    if precision == "float32":
        return shipped
    key = f"{file_sha256(weights)[:6]}{file_sha256(shipped)[:6]}"
    if precision == "int8":
        key += f"-{given.calibrate.stem}"
    found: Path = given.out / "exports" / f"{model}-{precision}-{key}.onnx"
    return found


def make(path: Path, model: str, precision: str, calibrate: Path) -> None:
    """Export a model, unless that has been done."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_source(calibrate) as source:
        frames = iter(source) if precision == "int8" else None
        write_whole(path, export_model(model, precision=precision, calibration=frames).SerializeToString())


def run(models: Sequence[str], given: argparse.Namespace) -> None:
    """Evaluate what is not there yet."""
    for subject in subjects(models, given):
        for kind in given.runs:
            suite = SUITES[kind]
            spec = replace(find_tracker(subject.file, engine=subject.engine), name=subject.name)
            sequences = read_suite(suite, given.data)
            store = open_store(spec, suite, given.out)
            todo = pending(store, suite, sequences)
            if todo:
                print(f"{subject.name}, {kind}: {len(todo)} sequences", flush=True)
                evaluate(spec, suite, sequences, store, Workers(0), Quiet())


def follow(models: Sequence[str], given: argparse.Namespace) -> None:
    """Compare boxes frame by frame; writes `follow/NAME.json` for each float32 export, sequence by sequence."""
    for subject in subjects(models, given):
        if subject.precision != "float32" or subject.engine == "torch":
            continue
        path: Path = given.out / "follow" / f"{subject.name}.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        engines = None
        for sequence in read_suite(SUITES["free"], given.data):
            if sequence.name in found:
                continue
            if engines is None:
                print(f"{subject.name}: following torch", flush=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                torch_engine = open_engine(subject.model, engine="torch", threads=1)
                engines = torch_engine, open_engine(subject.file, engine=subject.engine, threads=1)
            found[sequence.name] = followed(*engines, sequence)
            write_whole(path, json.dumps(found, indent=1) + "\n")


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


def table(models: Sequence[str], given: argparse.Namespace) -> None:
    """Print what there is, as Markdown."""
    print("| model | engine | precision | AUC | - torch | restarted | - torch | MB |")
    print("|---|---|---|---|---|---|---|---|")
    for model in models:
        scores: dict[tuple[str, str, str], float] = {}
        for subject in subjects([model], given):
            for kind, suite in SUITES.items():
                path = given.out / subject.name / suite.name / "scores.json"
                if path.exists():
                    scores[subject.engine, subject.precision, kind] = json.loads(path.read_text())["metrics"][
                        "success_auc"
                    ]
            here = [scores.get((subject.engine, subject.precision, kind)) for kind in SUITES]
            if not any(here):
                continue
            cells = []
            for kind, value in zip(SUITES, here, strict=True):
                base = scores.get(("torch", "float32", kind))
                cells.append("-" if value is None else f"{value:.4f}")
                cells.append("-" if value is None or base is None else f"{value - base:+.4f}")
            size = Path(packaged_weights(model) if subject.engine == "torch" else subject.file).stat().st_size / 1e6  # type: ignore[arg-type]
            print(f"| {model} | {subject.engine} | {subject.precision} | {' | '.join(cells)} | {size:.1f} |")
    print("\n| model | engine | both on target, frames | largest, px | over 0.5 px | one step, largest | parts in |")
    print("|---|---|---|---|---|---|---|")
    for subject in subjects(models, given):
        path = given.out / "follow" / f"{subject.name}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        parts = [
            f"{name} at {row['parted']['frame']} (before {row['parted']['before']:.2f}, one step "
            f"{row['parted']['one_step']:.2f} px)"
            for name, row in found.items() if row["parted"]
        ]  # fmt: skip
        print(
            f"| {subject.model} | {subject.engine} | {sum(r['both_on'] for r in found.values())} | "
            f"{max(r['apart_on'] for r in found.values()):.2f} | {sum(r['over_on'] for r in found.values())} | "
            f"{max(r['one_step'] for r in found.values()):.3f} | {'; '.join(parts) or 'none'} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["run", "follow", "table"])
    parser.add_argument("models", nargs="*", default=[name for name in preset_names() if packaged_export(name)])
    parser.add_argument("--data", type=Path, required=True, help="folder of sequences")
    parser.add_argument("--out", type=Path, required=True, help="folder in which everything is kept")
    parser.add_argument("--engines", nargs="+", default=list(PRECISIONS), choices=list(PRECISIONS))
    every = sorted({name for names in PRECISIONS.values() for name in names})
    parser.add_argument("--precisions", nargs="+", default=every, choices=every)
    parser.add_argument("--runs", nargs="+", default=list(SUITES), choices=list(SUITES))
    parser.add_argument("--calibrate", type=Path, default=CLIP, help="video or folder of frames for int8")
    given = parser.parse_args()
    torch.set_num_threads(1)
    {"run": run, "follow": follow, "table": table}[given.part](given.models, given)


if __name__ == "__main__":
    main()
