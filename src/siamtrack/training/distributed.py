"""Training one network in several processes started by torchrun; each takes its parts of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from siamtrack.errors import ConfigError, reason


@dataclass(frozen=True)
class ProcessGroup:
    """One process among all: its number `rank` of `size`, and its number `local` on its machine."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device that this process computes on: "cuda" becomes its own GPU."""
        device = torch.device(name)
        return torch.device("cuda", self.local) if device.type == "cuda" and self.size > 1 else device

    def parts(self, count: int) -> range:
        """Which of `count` parts of a batch are this process's; raises `ConfigError` if shares would differ."""
        if count % self.size:
            raise ConfigError(f"{self.size} processes cannot share train.batch_shards = {count}; use a multiple")
        share = count // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """The mean over the processes of named scalars."""
        joint = torch.stack([value.detach().double() for value in values.values()])
        if self.size > 1:
            dist.all_reduce(joint)
        return dict(zip(values, (joint / self.size).tolist(), strict=True))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        joint = torch.tensor(float(flag), device=device)
        dist.all_reduce(joint)
        return bool(joint > 0)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over the processes, and BatchNorm over all of them on GPUs.

        Gloo has no BatchNorm over processes: on CPUs each uses the statistics of its own part of the batch.
        Call it again when the set of trained parameters changes.
        """
        if self.size == 1:
            return module
        if next(module.parameters()).is_cuda:
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(module)


@contextmanager
def join_processes(device: str) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started; a process on its own is a group of one.

    Raises:
        ConfigError: fewer GPUs than processes on this machine, variables that are not torchrun's, or no answer.
    """
    try:
        size, local = (int(os.environ.get(name, usual)) for name, usual in (("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
    except ValueError as error:
        raise ConfigError(
            f"WORLD_SIZE and LOCAL_RANK: expected whole numbers, as torchrun sets them: {reason(error)}"
        ) from None
    if size == 1:
        yield ProcessGroup()
        return
    cuda = torch.device(device).type == "cuda"
    if cuda and local >= torch.cuda.device_count():
        raise ConfigError(f"a GPU for each process is needed; there are {torch.cuda.device_count()} here")
    if cuda:
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("nccl" if cuda else "gloo")
    except (ValueError, RuntimeError) as error:  # RuntimeError: torch's own, of addresses and time limits
        said = reason(ValueError((str(error).splitlines() or ["no reason"])[0][:300]))
        raise ConfigError(f"cannot join the other processes; start them with torchrun: {said}") from None
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), local)
        # A process that leaves while another still talks to it would make that one fail.
        dist.barrier()
    finally:
        dist.destroy_process_group()
