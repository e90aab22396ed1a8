"""`train --log`: the rows of a training's log for TensorBoard, Weights & Biases and Trackio, on this machine alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from siamtrack.errors import look_up, require

Write = Callable[[dict[str, float]], None]
"""Takes a row of the log, which has a `step`."""


@contextmanager
def _tensorboard(out: Path) -> Iterator[Write]:
    program = require("torch.utils.tensorboard", "--log tensorboard", "tensorboard", "train")
    with program.SummaryWriter(str(out / "tensorboard")) as writer:

        def write(row: dict[str, float]) -> None:
            for name, value in _values(row).items():
                writer.add_scalar(name, value, int(row["step"]))

        yield write


@contextmanager
def _wandb(out: Path) -> Iterator[Write]:
    """Offline unless WANDB_MODE says otherwise; `wandb sync OUT/wandb/offline-run-*` sends it."""
    wandb = require("wandb", "--log wandb", "wandb", "train")
    out.mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE", "offline")
    run = wandb.init(project="siamtrack", name=out.resolve().name, dir=str(out), mode=mode)
    try:
        yield lambda row: run.log(_values(row), step=int(row["step"]))
    finally:
        run.finish()


@contextmanager
def _trackio(out: Path) -> Iterator[Write]:
    """In Trackio's own folder, TRACKIO_DIR; `trackio show --project siamtrack` shows it."""
    trackio = require("trackio", "--log trackio", "trackio", "train")
    run = trackio.init(project="siamtrack", name=out.resolve().name, resume="allow")
    try:
        yield lambda row: run.log(_values(row), step=int(row["step"]))
    finally:
        run.finish()


LOGS: Mapping[str, Callable[[Path], AbstractContextManager[Write]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "trackio": _trackio,
}
"""The programs that a log can be written for."""


def check_logs(names: Sequence[str]) -> None:
    """Raise `ConfigError` for the name of no program."""
    for name in names:
        look_up(LOGS, name, "--log")


def open_log(name: str, out: Path) -> AbstractContextManager[Write]:
    """Open the log of a run in `out` for one of `LOGS`; raises `ConfigError` where the program is not installed."""
    return LOGS[name](out)


def _values(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "step"}
