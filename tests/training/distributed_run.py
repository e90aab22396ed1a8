"""One of several processes that train together, BatchNorm held still: `distributed_run.py PRESET DATA OUT`.

On CPUs each process has its own batch statistics, as gloo has no BatchNorm over processes; without them the
loss of the joint batch does not depend on how many processes share it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from siamtrack.config import Train, load_preset
from siamtrack.data.resident import ResidentSet
from siamtrack.training import loop
from siamtrack.training.distributed import joined

real_prepare = loop.prepare


def still(net: nn.Module, cfg: Train) -> None:
    real_prepare(net, cfg)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def main(preset: str, data: str, out: str) -> None:
    torch.set_num_threads(1)
    loop.prepare = still
    with joined("cpu") as world:
        loop.train(load_preset(preset), ResidentSet.load(data), Path(out), world=world)


if __name__ == "__main__":
    main(*sys.argv[1:])
