"""Pairs a second of training: the data path alone, the network alone, and both together.

    python benchmarks/training.py                                  # the default preset, made crops
    python benchmarks/training.py siamrpn_r50 --device cuda --batch 64 128 --set train.precision=bfloat16
    python benchmarks/training.py --profile profile.txt            # and where the time of a step goes

The data path draws, cuts and changes a batch; the network learns from one batch that lies ready; together
they are a step of `siamtrack train`. Rounds alternate between the three, so that a machine that changes its
pace slows them all; the table gives the median over the rounds. The floor is the rate at which the step's
multiplications could be done at the peak that the same device reaches in one large matrix product of the same
precision.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from siamtrack.apps.cli.train import parse_settings
from siamtrack.config import Preset, load_preset
from siamtrack.data.pairs import PairSampler
from siamtrack.data.resident import ResidentSet
from siamtrack.training.batches import draw_batch
from siamtrack.training.distributed import World
from siamtrack.training.objective import objective
from siamtrack.training.parameters import Average, make_optimiser, open_backbone, prepare, set_rates


def made_set(sources: tuple[str, ...], count: int = 256, side: int = 368) -> ResidentSet:
    """Crops of noise: what the pixels show does not change the time."""
    rng = torch.Generator().manual_seed(0)
    numbers, zeros = torch.arange(count), torch.zeros(count, dtype=torch.int64)
    box = torch.tensor([side / 2 - 40, side / 2 - 32, side / 2 + 40, side / 2 + 32])
    return ResidentSet(
        torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=rng),
        box.repeat(count, 1),
        numbers // 2,
        numbers % 2,
        zeros,
        zeros,
        sources,
        ("noise",),
        tuple(map(str, range(count))),
    )


class Step:
    """The parts of a training step, each of which can be called alone."""

    def __init__(self, preset: Preset, crops: ResidentSet, device: torch.device) -> None:
        self.preset, self.device = preset, device
        self.net = preset.model.build()
        prepare(self.net, preset.train)
        self.net = self.net.to(device, memory_format=torch.channels_last)
        self.optimiser = make_optimiser(self.net, preset.train)
        self.average = Average(self.net, preset.train.ema) if preset.train.ema else None
        # The last step: the backbone is open, as it is for most of a run.
        open_backbone(self.net, preset.train, preset.train.steps - 1)
        set_rates(self.optimiser, preset.train, 0)
        self.crops = crops.to(device)
        self.sampler = PairSampler(self.crops, preset.data)
        self.ready = draw_batch(self.crops, self.sampler, preset, 0, World())
        self.count = 0

    def data(self) -> None:
        """Draw the next batch."""
        self.count += 1
        self.ready = draw_batch(self.crops, self.sampler, self.preset, self.count, World())

    def network(self) -> None:
        """Learn from the batch that lies ready."""
        cfg = self.preset.train
        batch, rng = self.ready
        with torch.autocast(self.device.type, torch.bfloat16, enabled=cfg.precision == "bfloat16"):
            terms = objective(self.net, batch, cfg.loss_weights, rng)
        self.optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        float(nn.utils.clip_grad_norm_(self.net.parameters(), cfg.clip))
        self.optimiser.step()
        if self.average:
            self.average.update(self.count)

    def together(self) -> None:
        """A whole step."""
        self.data()
        self.network()


def seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Mean seconds of a call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / repeats


def floor_seconds(step: Step) -> float:
    """What the step's multiplications take at the peak of a large matrix product."""
    with FlopCounterMode(display=False) as counter:
        step.network()
    low = step.preset.train.precision == "bfloat16"
    side = 8192 if step.device.type == "cuda" else 1024
    a = torch.randn(side, side, device=step.device, dtype=torch.bfloat16 if low else torch.float32)
    product = partial(torch.mm, a, a)
    seconds(product, 3, step.device)
    peak = 2 * side**3 / seconds(product, 10, step.device)
    return counter.get_total_flops() / peak


def profile(step: Step, path: Path) -> None:
    """Write a table of the operations that a step spends its time in."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if step.device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as found:
        for _ in range(3):
            step.together()
    order = "self_cuda_time_total" if step.device.type == "cuda" else "self_cpu_time_total"
    path.write_text(found.key_averages().table(sort_by=order, row_limit=30), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="siamcar_lite0")
    parser.add_argument("--data", type=Path, help="folder of shards; made crops if left out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, nargs="+", help="pairs a step; the preset's if left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2, help="steps of each part in a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--profile", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    settings = parse_settings(arguments.set)
    preset = load_preset(arguments.preset, settings)
    sources = ("made", *preset.data.source_weights)
    crops = ResidentSet.load(arguments.data) if arguments.data else made_set(sources)
    sizes = arguments.batch or [preset.train.batch]
    place = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {arguments.threads} threads"
    title = f"{arguments.preset}, pairs/s, {place}"
    table = Table("batch", "data", "network", "together", "data's share", "floor", title=title)
    for batch in sizes:
        step = Step(load_preset(arguments.preset, settings | {"train.batch": batch}), crops, device)
        parts = {"data": step.data, "network": step.network, "together": step.together}
        for part in parts.values():
            seconds(part, 2, device)
        times: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(arguments.rounds):
            for name, part in parts.items():
                times[name].append(seconds(part, arguments.repeats, device))
        medians = {name: statistics.median(values) for name, values in times.items()}
        share = float(np.clip(1 - medians["network"] / medians["together"], 0, 1))
        rates = [f"{batch / medians[name]:.1f}" for name in parts]
        table.add_row(str(batch), *rates, f"{share:.0%}", f"{batch / floor_seconds(step):.1f}")
        if arguments.profile:
            profile(step, arguments.profile)
    Console().print(table)


if __name__ == "__main__":
    main()
