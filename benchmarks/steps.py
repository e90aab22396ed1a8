"""Processor milliseconds a step, by engine and precision, for one target and for several.

    python benchmarks/steps.py siamcar_lite0 spm_lite0 --ways torch:float32 onnxruntime:float32 --targets 1 20
    python benchmarks/steps.py siamrpnpp_r50 siamfc --ways torch:eager torch:bfloat16 openvino:bfloat16 openvino:int8

Processor time of one thread, in rounds that alternate between all subjects: other programs on the machine count for
little, and ratios within one run for more than times. A way is an engine and a precision; `torch:eager` is the network
without its frozen graph. Presets without weights run with random ones, which take the same time. Exports are made in a
folder that is dropped; int8 is calibrated with the demo clip. Frames are those of that clip, decoded before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from rich.console import Console
from rich.table import Table

from siamtrack.config import load_preset
from siamtrack.errors import SiamtrackError
from siamtrack.export import export_network
from siamtrack.models.frozen import freeze
from siamtrack.models.weights import fold_norms
from siamtrack.presets import packaged_weights
from siamtrack.runtime.sessions import open_exported
from siamtrack.tracking.torch_engine import TorchEngine
from siamtrack.video.reader import open_source
from siamtrack.zoo.networks import open_network

DEMO = Path(str(resources.files("siamtrack.video"))) / "demo"


def torch_engine(name: str, precision: str) -> TorchEngine:
    """A model in torch, with random weights if it does not ship."""
    if packaged_weights(name):
        engine = open_network(name)
    else:
        preset = load_preset(name)
        net = preset.model.build().eval()
        fold_norms(net)  # type: ignore[arg-type]
        engine = TorchEngine(net, preset)
    if precision == "eager":
        engine.net.quick = None  # type: ignore[attr-defined]
    else:
        freeze(engine.net, torch.bfloat16 if precision == "bfloat16" else torch.float32)  # type: ignore[arg-type]
    return engine


def openers(name: str, ways: list[str], frames: list[np.ndarray], folder: Path) -> dict[str, Callable[[], Any]]:
    """What opens a model in each way; a way that is not there is left out with a line."""
    found = {}
    for way in ways:
        engine, _, precision = way.partition(":")
        if engine == "torch":
            found[way] = torch_engine(name, precision)
            continue
        path = folder / f"{name}-{precision}.onnx"
        try:
            if not path.exists():
                plain = torch_engine(name, "eager")
                calibration = frames[:4] if precision == "int8" else None
                onnx.save(export_network(plain.net, plain.preset, None, precision, calibration), path)  # type: ignore[arg-type]
            found[way] = open_exported(path, engine, threads=1)
        except SiamtrackError as error:
            print(f"{name} {way}: {error}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names of models or presets")
    parser.add_argument("--ways", nargs="+", default=["torch:float32"], help="ENGINE:PRECISION")
    parser.add_argument("--targets", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with open_source(DEMO / "clip.mp4", 0, 8) as source:
        frames = [np.ascontiguousarray(frame) for frame in source]
    x, y, w, h = map(float, (DEMO / "clip.txt").read_text().splitlines()[0].split(","))
    table = Table("model", "way", "targets", "ms a step", "25-75%", "to one target", "to the first way")
    for name in given.models:
        taken: dict[tuple[str, int], list[float]] = {}
        with tempfile.TemporaryDirectory() as folder:
            engines = openers(name, given.ways, frames, Path(folder))
            states = {}
            for way, engine in engines.items():
                for count in given.targets:
                    boxes = [[x + 3 * i, y + 2 * i, w, h] for i in range(count)]
                    states[way, count] = engine.start(frames[0], boxes)
                    for _ in range(2):
                        engine.step(frames[1], states[way, count])
            for turn in range(given.rounds):
                for (way, count), state in states.items():
                    begun = time.process_time()
                    engines[way].step(frames[1 + turn % 6], state)
                    taken.setdefault((way, count), []).append(1000 * (time.process_time() - begun))
        middle = {key: float(np.median(values)) for key, values in taken.items()}
        for (way, count), values in taken.items():
            low, high = np.percentile(values, (25, 75))
            row = [name, way, str(count), f"{middle[way, count]:.1f}", f"{low:.1f}-{high:.1f}"]
            row += [f"{middle[way, count] / middle[way, given.targets[0]]:.1f}"]
            row += [f"{middle[way, count] / middle[next(iter(engines)), count]:.2f}"]
            print(*row, flush=True)
            table.add_row(*row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
