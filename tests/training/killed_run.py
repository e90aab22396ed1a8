"""Train, and die by `kill -9` at a named moment: `killed_run.py PRESET DATA OUT MOMENT NUMBER`.

The moment is reached when the function that it names is called for the NUMBER-th time; the process then ends
with no chance to tidy up.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from siamtrack.config import load_preset
from siamtrack.data.pair_source import open_pairs
from siamtrack.models.families.siamcar import SiamCar
from siamtrack.training import checkpoint, log, loop, parameters


def pretrained(*_args: object) -> bool:
    """As if the backbone's random weights were ImageNet's: stages are frozen, and opened later."""
    return True


def die(*_args: object, **_kwargs: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at(number: int, deed: Callable[..., object], real: Callable[..., Any]) -> Callable[..., Any]:
    """The real function, but for the NUMBER-th call, which does the deed instead."""
    calls = iter(range(1, 1_000_000))

    def call(*args: Any, **kwargs: Any) -> Any:
        return deed(*args, **kwargs) if next(calls) == number else real(*args, **kwargs)

    return call


def half_a_file(state: dict[str, Any], stream: Any) -> None:
    whole = io.BytesIO()
    real_save(state, whole)
    stream.write(whole.getvalue()[: whole.tell() // 2])
    stream.flush()
    die()


def half_a_line(self: log.RunLog, row: dict[str, float]) -> None:
    with self.path.open("a") as stream:
        stream.write('{"step": ' + str(row["step"]) + ', "lr"')
    die()


def half_an_update(optimiser: torch.optim.SGD) -> None:
    with torch.no_grad():
        for p in optimiser.param_groups[1]["params"]:
            p.add_(1.0)
    die()


def renamed(self: Path, target: Path) -> None:
    real_replace(self, target)
    die()


real_save, real_replace = torch.save, Path.replace
MOMENTS: dict[str, tuple[Any, str, Callable[..., object]]] = {
    "drawing": (loop, "draw_batch", die),
    "forward": (SiamCar, "loss", die),
    "clipping": (torch.nn.utils, "clip_grad_norm_", die),
    "updating": (torch.optim.AdamW, "step", half_an_update),
    "averaging": (parameters.Average, "update", die),
    "logging": (log.RunLog, "add", half_a_line),
    "saving": (torch, "save", half_a_file),
    "syncing": (os, "fsync", die),
    "renaming": (Path, "replace", renamed),
    "tidying": (checkpoint, "_checkpoints", die),
}


def main(preset: str, data: str, out: str, moment: str, number: str) -> None:
    torch.set_num_threads(1)
    loop.load_imagenet = pretrained
    home, name, deed = MOMENTS[moment]
    setattr(home, name, at(int(number), deed, getattr(home, name)))
    chosen = load_preset(preset)
    loop.train(chosen, open_pairs(data, chosen.crops, chosen.data), Path(out), loop.RunOptions(resume=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
