"""`train --log`: the rows of a training's log for TensorBoard, Weights & Biases and Trackio, on this machine alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from siamtrack.errors import ConfigError, did_you_mean, missing_package

Write = Callable[[dict[str, float]], None]
"""Takes a row of the log, which has a `step`."""


@contextmanager
def _tensorboard(out: Path) -> Iterator[Write]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise missing_package("--log tensorboard", "tensorboard", "train") from None
    with SummaryWriter(str(out / "tensorboard")) as writer:

        def write(row: dict[str, float]) -> None:
            for name, value in _values(row).items():
                writer.add_scalar(name, value, int(row["step"]))

        yield write


@contextmanager
def _wandb(out: Path) -> Iterator[Write]:
    """Offline unless WANDB_MODE says otherwise; `wandb sync OUT/wandb/offline-run-*` sends it."""
    wandb = _program("wandb")
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
    trackio = _program("trackio")
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
        if name not in LOGS:
            raise ConfigError(f"--log: unknown program '{name}'{did_you_mean(name, LOGS)} Expected {', '.join(LOGS)}")


def open_log(name: str, out: Path) -> AbstractContextManager[Write]:
    """Open the log of a run in `out` for one of `LOGS`; raises `ConfigError` where the program is not installed."""
    return LOGS[name](out)


def _values(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "step"}


def _program(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise missing_package(f"--log {name}", name, "train") from None
