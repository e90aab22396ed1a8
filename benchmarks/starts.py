"""Success of trackers that start in several frames of each sequence: chance counts for less than from one start each.

    python benchmarks/starts.py spm_lite0 siamcar_lite0 mine.onnx --data SEQUENCES --out starts --sequences
    python benchmarks/starts.py siamcar_lite0 --data SEQUENCES --out starts \
        --ways torch:float32 torch:bfloat16 onnxruntime:float32 onnxruntime:int8 openvino:float32 openvino:bfloat16

SEQUENCES is a folder as `siamtrack eval --suite folder` reads it. A tracker starts in the first frame and after 20, 40
and 60 % of each sequence, and follows to the end; frames with a box of the truth count, the first of each start among
them. The table has the AUC of success (21 thresholds), averaged over the starts of a sequence, and then over sequences;
then how far a way is from the first one: the mean difference of sequences, and its standard error.

A way is an engine, or `auto`, and a precision. Exports that do not ship are made; int8 is calibrated with the frames of
--calibrate, by default the demo clip, which must not be one of the sequences. Everything is kept in the folder --out by
the hash of the file that ran, and not made again: a run can be stopped, and goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from importlib import resources
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import siamtrack
from siamtrack.errors import SiamtrackError
from siamtrack.formats.datasets import read_dataset
from siamtrack.formats.sequence import VideoSequence
from siamtrack.geometry.overlap import rectangle_iou
from siamtrack.io import file_sha256, write_whole
from siamtrack.presets import packaged_export, packaged_weights
from siamtrack.tracking.tracker import Tracker
from siamtrack.video.reader import open_source

THRESHOLDS = np.linspace(0, 1, 21)
CLIP = Path(str(resources.files("siamtrack.video"))) / "demo" / "clip.mp4"


def opened(model: str, way: str, given: argparse.Namespace) -> tuple[str, Tracker]:
    """A tracker, and a name for its results that holds the beginning of its file's hash."""
    engine, _, precision = way.partition(":")
    path = (packaged_weights(model) if engine == "torch" else packaged_export(model)) or Path(model)
    name = f"{Path(model).stem}-{engine}-{precision}-{file_sha256(path)[:8]}"
    if engine == "torch":
        return name, siamtrack.load(model, engine=engine, precision=precision, threads=1)
    if precision == "float32" or path.suffix == ".xml":
        return name, siamtrack.load(model, engine=engine, threads=1)
    made: Path = given.out / "exports" / f"{Path(model).stem}-{precision}-{file_sha256(path)[:8]}.onnx"
    if not made.exists():
        from siamtrack.export import export_model

        made.parent.mkdir(parents=True, exist_ok=True)
        with open_source(given.calibrate) as source:
            frames = iter(source) if precision == "int8" else None
            write_whole(made, export_model(model, precision=precision, calibration=frames).SerializeToString())
    return name, siamtrack.load(made, engine=engine, threads=1)


def success(tracker: Tracker, sequence: VideoSequence, share: float) -> float | None:
    """The AUC from one start, of frames with a target; None where none is there to start with."""
    frames = [np.asarray(frame) for frame in sequence.frames]
    truth = np.array([sequence.box(n) for n in range(len(frames))], float)
    start = int(share * len(frames))
    if not np.isfinite(truth[start]).all() or not (truth[start, 2:] > 0).all():
        return None
    tracker.init(frames[start], truth[start])
    boxes = np.array([truth[start], *(np.array(tracker.update(frame).box) for frame in frames[start + 1 :])])
    seen = np.isfinite(truth[start:]).all(1)
    found = rectangle_iou(boxes[seen], truth[start:][seen])
    return float((found[:, None] > THRESHOLDS).mean())


def measured(model: str, way: str, given: argparse.Namespace) -> dict[str, float]:
    """The success of each sequence; runs what is not there yet."""
    name, tracker = opened(model, way, given)
    path: Path = given.out / f"{name}.json"
    scores: dict[str, dict[str, float | None]] = json.loads(path.read_text()) if path.exists() else {}
    shares = [f"{share:g}" for share in given.starts]
    for sequence in read_dataset("folder", given.data):
        kept = scores.setdefault(sequence.name, {})
        for share in [share for share in shares if share not in kept]:
            kept[share] = success(tracker, sequence, float(share))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(scores, indent=1) + "\n")
    there = {name: [kept[share] for share in shares if kept[share] is not None] for name, kept in scores.items()}
    return {name: float(np.mean(values)) for name, values in there.items() if values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or files")
    parser.add_argument("--data", type=Path, required=True, help="folder of sequences")
    parser.add_argument("--out", type=Path, default=Path("starts"), help="folder in which everything is kept")
    parser.add_argument("--ways", nargs="+", default=["auto:float32"], help="ENGINE:PRECISION; compared with the first")
    parser.add_argument("--starts", nargs="+", type=float, default=[0.0, 0.2, 0.4, 0.6], help="shares of a sequence")
    parser.add_argument("--calibrate", type=Path, default=CLIP, help="video or folder of frames for int8")
    parser.add_argument("--sequences", action="store_true", help="print every sequence too")
    given = parser.parse_args()
    console = Console(width=110)
    table = Table("model", "engine", "precision", "AUC", "difference", "standard error")
    columns: dict[str, dict[str, float]] = {}
    for model in given.models:
        first: dict[str, float] | None = None
        for way in given.ways:
            try:
                found = measured(model, way, given)
            except SiamtrackError as error:
                print(f"{model}, {way}: {error}", flush=True)
                continue
            columns[f"{Path(model).stem} {way}"] = found
            first = first or found
            apart = np.array([found[name] - first[name] for name in first])
            wide = apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else 0.0
            mean = float(np.mean(list(found.values())))
            row = f"{mean:.4f}", f"{apart.mean():+.4f}", f"{wide:.4f}"
            print(model, way, *row, flush=True)
            table.add_row(Path(model).stem, *way.split(":"), *row)
    if given.sequences:
        each = Table("sequence", *columns)
        for sequence in next(iter(columns.values()), {}):
            each.add_row(sequence, *(f"{found[sequence]:.3f}" for found in columns.values()))
        console.print(each)
    console.print(table)


if __name__ == "__main__":
    main()
