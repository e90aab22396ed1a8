"""`train --log`: the rows of a training's log for TensorBoard, Weights & Biases and Trackio, on this machine alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from siamtrack.errors import require, unknown_name

Write = Callable[[dict[str, float]], None]
"""Takes a row of the log, which has a `step`."""


LOGS = ("tensorboard", "wandb", "trackio")
"""The programs that a log can be written for."""


def check_logs(names: Sequence[str]) -> None:
    """Raise `ConfigError` for the name of no program."""
    for name in names:
        if name not in LOGS:
            raise unknown_name("--log", name, LOGS)


@contextmanager
def open_log(name: str, out: Path) -> Iterator[Write]:
    """Open the log of a run in `out` for one of `LOGS`; raises `ConfigError` where the program is not installed."""
    if name == "tensorboard":
        program = require("torch.utils.tensorboard", "--log tensorboard", "tensorboard", "train")
        with program.SummaryWriter(str(out / "tensorboard")) as writer:

            def write(row: dict[str, float]) -> None:
                for key, value in _values(row).items():
                    writer.add_scalar(key, value, int(row["step"]))

            yield write
        return
    program = require(name, f"--log {name}", name, "train")
    if name == "wandb":  # offline unless WANDB_MODE says otherwise; `wandb sync OUT/wandb/offline-run-*` sends it
        out.mkdir(parents=True, exist_ok=True)
        own = {"dir": str(out), "mode": os.environ.get("WANDB_MODE", "offline")}
    else:  # in Trackio's own folder, TRACKIO_DIR; `trackio show --project siamtrack` shows it
        own = {"resume": "allow"}
    run = program.init(project="siamtrack", name=out.resolve().name, **own)
    try:
        yield lambda row: run.log(_values(row), step=int(row["step"]))
    finally:
        run.finish()


def _values(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "step"}
