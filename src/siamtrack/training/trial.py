"""Two pairs through network and loss before training: whether they fit, and how much memory a step takes."""

from __future__ import annotations

import copy
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from siamtrack.config import Preset
from siamtrack.data.augment import render_batch
from siamtrack.data.pair_source import PairSource
from siamtrack.data.pairs import generator
from siamtrack.errors import ConfigError, reason
from siamtrack.models.siamese import SiameseNet
from siamtrack.training.parameters import settings_in_force, unfreeze_backbone

_PAIRS = 2
_SHARE = 1.25  # of what is saved; measured: 1.2 to 1.45 times as much, with the gradients of what is computed just then
# What a network or a loss raises whose sizes do not fit each other.
_UNFIT = (RuntimeError, ValueError, IndexError, ZeroDivisionError, OverflowError)


def check_step(net: SiameseNet, preset: Preset, data: PairSource, count: int, check_memory: bool = True) -> None:
    """Check that a step of `count` pairs can be computed. Network, data and torch's generator stay as they are.

    Raises:
        ConfigError: the network does not take crops of these sizes, or, with `check_memory`, what a step keeps for
            the backward pass is more than the memory that is left.
    """
    trial = try_step(net, preset, data, count)
    if check_memory and trial.pairs < count:
        raise ConfigError(f"{trial}: expected --set train.batch={trial.pairs} or less, or --no-memory-check")


@dataclass(frozen=True)
class StepTrial:
    """What a step of `count` pairs would need, in bytes of memory; `free` is None where that is not known."""

    count: int
    needed: float
    free: int | None

    @property
    def pairs(self) -> int:
        """How many pairs can be computed at once: `count`, or fewer where the memory is less."""
        if self.free is None or self.needed <= self.free:
            return self.count
        return max(1, int(self.count * 0.8 * self.free / self.needed))

    def __str__(self) -> str:
        free = "" if self.free is None else f", and {self.free / 1e9:.1f} GB are free"
        return f"a step of {self.count} pairs needs {self.needed / 1e9:.1f} GB of memory{free}"


def try_step(net: SiameseNet, preset: Preset, data: PairSource, count: int) -> StepTrial:
    """Take two pairs through network and loss, and say what a step of `count` needs; see `check_step`.

    Raises:
        ConfigError: the network does not take crops of these sizes.
    """
    device = next(net.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        needed = _SHARE * count * _bytes_of_a_pair(copy.deepcopy(net), preset, data)
    return StepTrial(count, needed, available_memory(device))


def _bytes_of_a_pair(net: SiameseNet, preset: Preset, data: PairSource) -> int:
    """What a step keeps of each pair: its pixels, and what autograd saves."""
    cfg = settings_in_force(preset.train)
    device = next(net.parameters()).device
    unfreeze_backbone(net, cfg, cfg.steps - 1)
    seen = data.preview(_PAIRS, cfg.seed)
    batch = render_batch(seen.plan, seen.crops)
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    saved = {pixels.untyped_storage().data_ptr(): pixels.nbytes for pixels in (batch.template, batch.search)}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    try:
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast(device.type, torch.bfloat16, enabled=cfg.precision == "bfloat16"),
        ):
            terms = preset.model.loss(net, batch, [generator(cfg.seed, 0, 0)])
            return sum(saved.values()) // _PAIRS if terms else 0  # while the graph holds what was saved
    except _UNFIT as error:
        crops = preset.crops
        raise ConfigError(
            f"{preset.name}: its network or its loss does not take crops of {crops.template_side} (template) and "
            f"{crops.search} pixels (search): expected sizes that fit its layers ({reason(error)[:200]})"
        ) from error


def available_memory(device: torch.device) -> int | None:
    """Bytes that this process may still take; None where that is not known, as on other systems than Linux."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        found = re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())
        pages = [int(number) for number in Path("/proc/self/statm").read_text().split()]
    except (OSError, ValueError):
        return None
    there = [int(found[1]) << 10] if found else []
    with suppress(OSError, ValueError):  # no control group of a container, or "max"
        group = Path("/sys/fs/cgroup")
        there.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    import resource

    for limit, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            there.append(most - used * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(there)) if there else None
