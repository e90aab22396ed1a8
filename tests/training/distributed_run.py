"""One of several processes that train together, BatchNorm held still: `distributed_run.py DATA OUT PRESET...`.

On CPUs each process has its own batch statistics, as gloo has no BatchNorm over processes; without them the
loss of the joint batch does not depend on how many processes share it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from siamtrack.apps.cli.main import end_process
from siamtrack.config import Train, load_preset
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.training import loop
from siamtrack.training.distributed import ProcessGroup, join_processes

real_open = loop.unfreeze_backbone


def still(net: nn.Module, cfg: Train, step: int) -> None:
    """What is trained, with the statistics of every BatchNorm held still, in the backbone at those of noise.

    Their first values would leave nothing of an image in features of random weights.
    """
    real_open(net, cfg, step)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    if step == 0 and isinstance(net.backbone, nn.Module):
        for norm in norms:
            norm.train().momentum = 1.0
        with torch.no_grad():
            net.backbone(torch.rand(4, 3, 127, 127, generator=torch.Generator().manual_seed(0)) * 255)
    for norm in norms:
        norm.eval()


def train_all(data: Path, out: Path, presets: Sequence[Path], world: ProcessGroup | None = None) -> None:
    """Train presets one after the other, each in its own folder."""
    crops = ResidentSet.load(data)
    for path in presets:
        preset = load_preset(path)
        pairs = ResidentPairs(crops, preset.crops, preset.data)
        loop.train(preset, pairs, out / preset.name, loop.RunOptions(world=world or ProcessGroup()))


def main(data: str, out: str, *presets: str) -> None:
    torch.set_num_threads(1)
    loop.unfreeze_backbone = still
    with join_processes("cpu") as world:
        train_all(Path(data), Path(out), [Path(path) for path in presets], world)
    end_process(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
