"""All that needs a GPU, in one run of under 25 minutes: one JSON with what was measured, and what failed.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --out gpu.json --parts fps training       # some parts; the others' results stay
    python benchmarks/gpu.py --out cpu.json --device cpu --quick        # the same code on a CPU, in a minute or two

Each part runs in a process of its own, with a limit of time, and tells its results row by row; the file is written
whole after each part. What fails or takes too long costs its own rest and nothing else. Parts:

machine      the GPU, its driver's and PyTorch's versions
tests        the tests that need CUDA, training from the CPU to a GPU and back among them
parity       boxes of torch on the GPU beside those on the CPU: shipped models, in float32 and in bfloat16
waits        how often a step waits for the GPU (one is the transfer of the result)
fps          targets and frames a second of the torch engine's step, frames on the GPU and in memory; batches of 1 and
             64 targets; operation by operation, compiled, as CUDA graphs; float32 and bfloat16
training     pairs a second of whole training steps, for each preset
onnxruntime  the exported models with ONNX Runtime's CUDA provider: boxes beside the CPU's, frames a second

Without a GPU it says so and ends with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from siamtrack.config import load_preset
from siamtrack.errors import SiamtrackError
from siamtrack.io import write_whole
from siamtrack.models.frozen import freeze
from siamtrack.models.weights import fold_norms
from siamtrack.presets import packaged_export, packaged_weights, preset_names
from siamtrack.tracking.accelerate import accelerated
from siamtrack.tracking.torch_engine import TorchEngine
from siamtrack.video.reader import open_source
from siamtrack.zoo import open_engine
from siamtrack.zoo.networks import open_network

ROOT = Path(__file__).resolve().parents[1]
CLIP = Path(str(resources.files("siamtrack.video"))) / "demo" / "clip.mp4"
Row = dict[str, Any]
Tell = Callable[[Row], None]


@dataclass(frozen=True)
class Task:
    """What a part is to measure on, and how much."""

    device: str
    quick: bool

    @property
    def shipped(self) -> list[str]:
        """Models."""
        names = [name for name in preset_names() if packaged_export(name)]
        return ["siamcar_pico"] if self.quick else names

    def frames(self, count: int) -> list[np.ndarray]:
        """The first frames of the demo clip."""
        with open_source(CLIP, 0, 4 if self.quick else count) as source:
            return list(source)


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def boxes(count: int) -> np.ndarray:
    """The demo's box, and others of its size around it."""
    first = [float(value) for value in CLIP.with_suffix(".txt").read_text().splitlines()[0].split(",")]
    shifts = np.random.default_rng(0).uniform(-40, 40, (count, 2)) * (np.arange(count) > 0)[:, None]
    return np.array([first]) + np.concatenate([shifts, np.zeros((count, 2))], 1)


def network(name: str, device: str, bfloat16: bool) -> TorchEngine:
    """A shipped model, or a preset with random weights, which take the same time."""
    precision = torch.bfloat16 if bfloat16 else torch.float32
    if packaged_weights(name):
        return open_network(name, device, precision=precision)
    preset = load_preset(name)
    net = freeze(fold_norms(preset.model.build().eval()), precision)
    return TorchEngine(net, preset, device)  # type: ignore[arg-type]


def machine(task: Task, tell: Tell) -> None:
    """What is measured on."""
    found: Row = {"torch": torch.__version__, "python": platform.python_version(), "device": task.device}
    if task.device != "cpu":
        about = torch.cuda.get_device_properties(task.device)
        found |= {"gpu": about.name, "memory_gb": round(about.total_memory / 1e9, 1), "cuda": torch.version.cuda}
    tell(found)


def tests(task: Task, tell: Tell) -> None:
    """The tests that are skipped where there is no GPU."""
    needing = ["tests/models/test_roi_align.py", "tests/training/test_resume.py", "tests/tracking/test_accelerate.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-k", "gpu or cuda", *needing]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in out.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "ERROR", "SKIPPED"))]
    tell({"exit_code": out.returncode, "lines": lines, "end": out.stdout.splitlines()[-1:]})


def parity(task: Task, tell: Tell) -> None:
    """The largest distance between boxes, in free runs and in one step from the CPU's states."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    frames = task.frames(60)
    for name in task.shipped:
        ours = open_network(name, "cpu")
        for bfloat16 in (False, True):
            theirs = network(name, task.device, bfloat16)
            state, free = (engine.start(frames[0], boxes(2)) for engine in (ours, theirs))
            apart, one = 0.0, 0.0
            for frame in frames[1:]:
                moved = replace(state, template=tuple(level.to(task.device) for level in state.template))
                step = theirs.step(frame, moved)
                state, free = ours.step(frame, state), theirs.step(frame, free)
                one = max(one, float((step.boxes - state.boxes).abs().max()))
                apart = max(apart, float((free.boxes - state.boxes).abs().max()))
            tell({"model": name, "bfloat16": bfloat16, "frames": len(frames), "one_step_px": one, "free_px": apart})


def waits(task: Task, tell: Tell) -> None:
    """What PyTorch calls synchronisations, in the second step of a run."""
    if task.device == "cpu":
        tell({"note": "a CPU is not waited for"})
        return
    frames = task.frames(3)
    for name in task.shipped:
        engine = open_network(name, task.device)
        for kind in ("memory", "gpu"):
            shown = frames if kind == "memory" else [to_gpu(frame, task.device) for frame in frames]
            state = engine.step(shown[1], engine.start(shown[0], boxes(2)))
            torch.cuda.set_sync_debug_mode("warn")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                engine.step(shown[2], state)
            torch.cuda.set_sync_debug_mode("default")
            places = [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
            tell({"model": name, "frames_in": kind, "waits": len(places), "places": places})


def to_gpu(frame: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1).to(device)


def fps(task: Task, tell: Tell) -> None:
    """Median milliseconds of a step."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    cuda, frames = task.device != "cpu", task.frames(30)
    names = ["siamcar_pico"] if task.quick else ["siamcar_lite0", "siamrpn_r50", "siamcar_r50", "siamcar_pico"]
    modes = ("eager", "graphs", "compiled") if cuda else ("eager",) if task.quick else ("eager", "compiled")
    for name in names:
        for count in (1, 4) if task.quick else (1, 64):
            for mode in modes:
                for bfloat16 in (False, True):
                    row: Row = {"model": name, "targets": count, "mode": mode, "bfloat16": bfloat16}
                    try:
                        engine = accelerated(network(name, task.device, bfloat16), mode)
                        for kind in ("gpu", "memory"):
                            shown = [to_gpu(f, task.device) for f in frames] if kind == "gpu" else frames
                            row[f"ms_{kind}"] = step_ms(engine, shown, boxes(count), 2 if task.quick else 100)
                    except Exception as error:  # a mode that does not work here is a result too
                        row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
                    else:
                        best = min(row["ms_gpu"], row["ms_memory"])
                        row |= {"frames_per_s": 1000 / best, "targets_per_s": 1000 * count / best}
                    tell(row)


def step_ms(engine: TorchEngine, frames: list[Any], first: np.ndarray, repeats: int) -> float:
    state = engine.start(frames[0], first)
    for n in range(2 if repeats < 10 else 10):  # compiles, records, warms up
        state = engine.step(frames[n % len(frames)], state)
    times = []
    for n in range(repeats):
        began = time.perf_counter()
        state = engine.step(frames[n % len(frames)], state)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def training(task: Task, tell: Tell) -> None:
    """Pairs a second, from made crops that lie on the device."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from training import made_set, measure

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    first = ["siamcar_lite0", "siamrpn_r50", "siamcar_r50", "siamcar_pico"]
    names = ["siamcar_pico"] if task.quick else [*first, *(n for n in preset_names() if n not in first)]
    crops = made_set(8 if task.quick else 256)
    for name in names:
        row: Row = {"preset": name}
        try:
            preset = load_preset(name, {"train.batch": 2} if task.quick else {})
            seconds = measure(preset, crops, torch.device(task.device), *((1, 1) if task.quick else (3, 3)))
        except (RuntimeError, SiamtrackError) as error:
            row["error"] = str(error).splitlines()[0][:200]
        else:
            row |= {"batch": preset.train.batch, "precision": preset.train.precision}
            row |= {f"pairs_per_s_{part}": preset.train.batch / value for part, value in seconds.items()}
        tell(row)


def onnxruntime(task: Task, tell: Tell) -> None:
    """Exported models on the device, beside the CPU."""
    frames = task.frames(60)
    for name in task.shipped:
        row: Row = {"model": name}
        try:
            ours, theirs = (open_engine(name, device, engine="onnxruntime") for device in ("cpu", task.device))
        except SiamtrackError as error:
            tell(row | {"error": str(error)})
            continue
        one, free = ours.start(frames[0], boxes(2)), theirs.start(frames[0], boxes(2))
        apart, times = 0.0, []
        for frame in frames[1:]:
            one, began = ours.step(frame, one), time.perf_counter()
            free = theirs.step(frame, free)
            times.append(time.perf_counter() - began)
            apart = max(apart, float(np.abs(np.asarray(free.boxes) - np.asarray(one.boxes)).max()))
        tell(row | {"free_px": apart, "ms_2_targets": 1000 * statistics.median(times)})


PARTS: dict[str, tuple[Callable[[Task, Tell], None], float]] = {
    "machine": (machine, 60), "waits": (waits, 60), "parity": (parity, 150), "fps": (fps, 420),
    "training": (training, 420), "onnxruntime": (onnxruntime, 90), "tests": (tests, 240),
}  # fmt: skip
"""What is measured, in this order, and after how many seconds a part is ended: 24 minutes in all."""


def run_part(name: str, task: Task, place: Path) -> None:
    """Run a part in this process; `place` has its rows after each of them."""
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        write_whole(place, json.dumps(rows))
        print(f"{name}: {json.dumps(row)}", flush=True)

    PARTS[name][0](task, tell)


def run_apart(name: str, given: argparse.Namespace) -> Row:
    """Run a part in a process of its own; return its rows, how long it took and how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        place, began = Path(folder) / "rows.json", time.perf_counter()
        command = [sys.executable, __file__, "--out", place, "--part", name, "--device", given.device]
        try:
            out = subprocess.run(
                [*map(str, command), *(["--quick"] if given.quick else [])],
                stderr=subprocess.PIPE, text=True, timeout=PARTS[name][1], check=False,
            )  # fmt: skip
            ended = "done" if out.returncode == 0 else " ".join(out.stderr.split())[-500:]
        except subprocess.TimeoutExpired:
            ended = f"ended after {PARTS[name][1]:.0f} s"
        rows = json.loads(place.read_text()) if place.exists() else []
    return {"ended": ended, "seconds": round(time.perf_counter() - began, 1), "rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON; results of other parts in it stay")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="little of everything: to see that it runs")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device != "cpu" and not torch.cuda.is_available():
        print(
            "no CUDA GPU here; run it where there is one, or see with --device cpu --quick that it runs",
            file=sys.stderr,
        )
        return 2
    if given.part:
        run_part(given.part, Task(given.device, given.quick), given.out)
        return 0
    found = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name in given.parts:
        found[name] = run_apart(name, given)
        write_whole(given.out, json.dumps(found, indent=2) + "\n")
        print(f"{name}: {found[name]['ended']}, {found[name]['seconds']} s", flush=True)
    return 0 if all(found[name]["ended"] == "done" for name in given.parts) else 1


if __name__ == "__main__":
    sys.exit(main())
