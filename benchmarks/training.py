"""Pairs a second of training: the data path alone, the network alone, and both together; and where the time goes.

    python benchmarks/training.py                                  # the default preset, made crops
    python benchmarks/training.py siamcar_lite0 siamrpn_r50 --device cuda --batch 128 256 \
        --set train.precision=bfloat16 --profile
    python benchmarks/training.py siamcar_pico --batch 8 --data shards/

The data path draws, cuts and changes a batch of a resident set; the network learns from one batch that lies ready;
together they are a step of `siamtrack train`. Rounds alternate between the three, so that a machine that changes its
pace slows them all; the table gives medians over the rounds, and the data path's share of a step.

The floor is the rate at which the step's multiplications and additions could be done at the peak that the same device
reaches in one large matrix product of the same precision. They are counted as they are done: forward, and backward as
far as the backbone is open. `--profile` adds the parts of a step, and its operations, as a share of its time.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.profiler import ProfilerActivity
from torch.utils.flop_counter import FlopCounterMode

from siamtrack.apps.cli.options import parse_settings
from siamtrack.config import Preset, load_preset
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import CropLabel
from siamtrack.training.distributed import ProcessGroup
from siamtrack.training.loop import draw_batch
from siamtrack.training.parameters import (
    Average,
    compile_frozen,
    make_optimiser,
    prepare,
    set_rates,
    unfreeze_backbone,
)

KINDS = {
    "compiled stages": ("compiled",),
    "convolution": ("conv", "mkldnn_conv", "cudnn", "implicit", "xmma", "gemm", "winograd"),
    "normalisation": ("batch_norm", "bn_", "native_batch"),
    "copy": ("copy", "memcpy", "to_copy", "cat", "contiguous"),
}
"""Kinds of operations, and what their names hold; the rest is element by element."""


def made_set(count: int = 256, side: int = 368) -> ResidentSet:
    """Crops of noise: what the pixels show does not change the time."""
    rng = torch.Generator().manual_seed(0)
    box = (side / 2 - 40, side / 2 - 32, side / 2 + 40, side / 2 + 32)
    labels = [(str(n), CropLabel(str(n // 2), n % 2, box, "noise", "made")) for n in range(count)]
    images = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=rng).permute(0, 3, 1, 2)
    return replace(ResidentSet.listed(labels), images=images)


class Step:
    """The parts of a training step, each of which can be called alone.

    Args:
        preset: the experiment.
        crops: the training set.
        device: where it is trained.
    """

    def __init__(self, preset: Preset, crops: ResidentSet, device: torch.device) -> None:
        self.preset, self.device = preset, device
        self.net = preset.model.build()
        prepare(self.net, preset.train)
        compile_frozen(self.net, preset.train, device)
        self.net = self.net.to(device, memory_format=torch.channels_last)
        self.optimiser = make_optimiser(self.net, preset.train)
        self.average = Average(self.net, preset.train.ema) if preset.train.ema else None
        # The last step: the backbone is open, as it is for most of a run.
        unfreeze_backbone(self.net, preset.train, preset.train.steps - 1)
        set_rates(self.optimiser, preset.train, 0)
        self.pairs = ResidentPairs(crops.to(device), preset.crops, preset.data)
        self.ready = draw_batch(self.pairs, preset, 0, ProcessGroup())
        self.count = 0

    def data(self) -> None:
        """Draw the next batch."""
        self.count += 1
        self.ready = draw_batch(self.pairs, self.preset, self.count, ProcessGroup())

    def forward(self) -> None:
        """The loss of the batch that lies ready."""
        cfg = self.preset.train
        with torch.autocast(self.device.type, torch.bfloat16, enabled=cfg.precision == "bfloat16"):
            self.terms = self.preset.model.loss(self.net, *self.ready)

    def backward(self) -> None:
        """The gradients of that loss."""
        self.optimiser.zero_grad(set_to_none=True)
        self.terms["total"].backward()

    def update(self) -> None:
        """Clipping, the optimiser's step and the moving average."""
        float(nn.utils.clip_grad_norm_(self.net.parameters(), self.preset.train.clip))
        self.optimiser.step()
        if self.average:
            self.average.update(self.count)

    def network(self) -> None:
        """Learn from the batch that lies ready."""
        self.forward()
        self.backward()
        self.update()

    def together(self) -> None:
        """A whole step."""
        self.data()
        self.network()


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Mean seconds of a call."""
    wait(device)
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    wait(device)
    return (time.perf_counter() - began) / repeats


def backward_flops(grad: list[int], _x: list[int], weight: list[int], *rest: object, **_: object) -> int:
    """Of a convolution's backward: as many as forward, for each of the two gradients that is wanted.

    PyTorch's own count takes every grouped convolution for a full one.
    """
    wanted = rest[-1]
    assert isinstance(wanted, list | tuple)
    return 2 * math.prod(weight) * grad[0] * math.prod(grad[2:]) * sum(map(bool, wanted[:2]))


def floor_seconds(preset: Preset, crops: ResidentSet, device: torch.device) -> float:
    """What the step's multiplications take at the peak of a large matrix product."""
    # Compiled stages would hide what they multiply.
    step = Step(replace(preset, train=replace(preset.train, compile=False)), crops, device)
    backward = {torch.ops.aten.convolution_backward: backward_flops}
    with FlopCounterMode(display=False, custom_mapping=backward) as counter:
        step.network()
    low = preset.train.precision == "bfloat16"
    side = 8192 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16 if low else torch.float32)
    product = partial(torch.mm, a, a)
    # The fastest of some: other programs can only slow it down.
    peak = 2 * side**3 / min(seconds(product, 4, device) for _ in range(6))
    return counter.get_total_flops() / peak


def profile(step: Step, steps: int = 3) -> tuple[dict[str, float], dict[str, float], str]:
    """Seconds a step by part and by kind of operation, and the profiler's own table of operations.

    The device is waited for after each part.
    """
    calls = {"data": step.data, "forward": step.forward, "backward": step.backward, "update": step.update}
    parts = dict.fromkeys(calls, 0.0)
    for _ in range(steps):
        for name, call in calls.items():
            parts[name] += seconds(call, 1, step.device) / steps
    on_device = step.device.type == "cuda"
    with torch.profiler.profile(
        activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    ) as found:
        for _ in range(steps):
            step.together()
        wait(step.device)
    rows, work = found.key_averages(), defaultdict[str, float](float)
    for row in rows:
        spent = row.self_device_time_total if on_device else row.self_cpu_time_total
        work[kind_of(row.key)] += spent / steps / 1e6
    order = "self_device_time_total" if on_device else "self_cpu_time_total"
    return parts, dict(work), rows.table(sort_by=order, row_limit=30)


def kind_of(name: str) -> str:
    """The kind of an operation, by its name."""
    low = name.lower()
    return next((kind for kind, words in KINDS.items() if any(word in low for word in words)), "element by element")


def measure(preset: Preset, crops: ResidentSet, device: torch.device, rounds: int, repeats: int) -> dict[str, float]:
    """Median seconds of the data path, of the network, and of both together."""
    step = Step(preset, crops, device)
    parts = {"data": step.data, "network": step.network, "together": step.together}
    times: dict[str, list[float]] = {name: [] for name in parts}
    for part in parts.values():
        seconds(part, 2, device)
    for _ in range(rounds):
        for name, part in parts.items():
            times[name].append(seconds(part, repeats, device))
    return {name: statistics.median(values) for name, values in times.items()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=["siamcar_lite0"])
    parser.add_argument("--data", type=Path, help="folder of shards; made crops if left out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, nargs="+", help="pairs a step; the preset's if left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2, help="steps of each part in a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--profile", action="store_true", help="where the time of a step goes")
    parser.add_argument("--operations", type=Path, metavar="FILE", help="the profiler's table, with --profile")
    return parser.parse_args()


def main() -> None:
    given = parse()
    torch.set_num_threads(given.threads)
    device, settings, console = torch.device(given.device), parse_settings(given.set), Console()
    place = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {given.threads} threads"
    crops = ResidentSet.load(given.data) if given.data else made_set()
    table = Table("preset", "batch", "data", "network", "together", "data's share", "floor", "reached")
    table.title = f"training, pairs/s, {place}"
    profiles = []
    for name in given.presets:
        for batch in given.batch or [load_preset(name, settings).train.batch]:
            preset = load_preset(name, settings | {"train.batch": batch})
            times = measure(preset, crops, device, given.rounds, given.repeats)
            floor = floor_seconds(preset, crops, device)
            # Alone, the data path takes what it takes; in a step that a GPU is still busy with, some of it is hidden.
            share = max(0.0, 1 - times["network"] / times["together"])
            rates = [f"{batch / times[part]:.1f}" for part in ("data", "network", "together")]
            reached = f"{floor / times['together']:.0%}"
            table.add_row(name, str(batch), *rates, f"{share:.0%}", f"{batch / floor:.1f}", reached)
            if given.profile:
                profiles.append((name, batch, profile(Step(preset, crops, device))))
    console.print(table)
    for name, batch, (parts, work, operations) in profiles:
        for title, spent in (("part of a step", parts), ("kind of operation", work)):
            rows = Table(title, "ms", "share", title=f"{name}, {batch} pairs")
            for key, value in sorted(spent.items(), key=lambda item: -item[1]):
                rows.add_row(key, f"{1000 * value:.1f}", f"{value / max(sum(spent.values()), 1e-12):.0%}")
            console.print(rows)
        if given.operations:
            given.operations.write_text(operations, encoding="utf-8")


if __name__ == "__main__":
    main()
