"""The log of a run: one JSON object a line, and the same rows for TensorBoard, Weights & Biases and Trackio.

A resumed run drops the rows of steps that it repeats. The other programs keep their rows on this machine.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from siamtrack.errors import DataError, require, unknown_name
from siamtrack.io import append_line, parse_json, read_lines, write_whole
from siamtrack.training.distributed import ProcessGroup

ReportRow = Callable[[dict[str, float]], None]
"""Called with each row of the log, which has a `step`."""

LOGS = ("tensorboard", "wandb", "trackio")
"""The programs that a log can be written for."""


class RunLog:
    """Appends rows to a `.jsonl` file and reports them, in the first process only.

    A run resumes at `step`: rows of later steps, and a truncated last line, are dropped.
    """

    def __init__(self, path: Path, step: int, report: ReportRow, world: ProcessGroup) -> None:
        self.path = path
        self.report = report
        self.world = world
        self._skipped: set[str] = set()
        self._since = step
        self._began = time.perf_counter()
        if world.main and path.exists():
            kept = [line for line in read_lines(path) if _step_of(line) <= step]
            write_whole(path, b"".join(line + b"\n" for line in kept))

    def add_step(self, step: int, batch: int, rate: float, norm: float, terms: Mapping[str, Tensor]) -> None:
        """Write a step's row: number, learning rate, gradient norm, pairs/s since the last row, terms.

        All processes call this: the terms are the mean over them.
        """
        joint = self.world.mean(terms)
        speed = (step - self._since) * batch / (time.perf_counter() - self._began)
        self.add({"step": step, "lr": rate, "norm": norm, "pairs_per_second": speed} | joint)

    def add_skipped(self, keys: Iterable[str]) -> None:
        """Warn of crops that cannot be decoded, each once and by its key."""
        fresh = sorted(set(keys) - self._skipped)
        if fresh:
            self._skipped.update(fresh)
            count = f"{len(fresh)} more" if len(fresh) < len(self._skipped) else str(len(fresh))
            warnings.warn(f"skipped {count} crops that cannot be decoded: {', '.join(fresh)}", stacklevel=2)

    def add(self, row: Mapping[str, float]) -> None:
        """Write one row, which has a `step`; raises `DataError` where that fails."""
        if self.world.main:
            append_line(self.path, json.dumps(dict(row)))
            self.report(dict(row))
        # Validation between two rows does not count in the next rate.
        self._since, self._began = int(row["step"]), time.perf_counter()


def _step_of(line: bytes) -> float:
    try:
        return float(parse_json(line, "a line")["step"])
    except (DataError, ValueError, KeyError, TypeError, OverflowError):
        return float("inf")


def check_logs(names: Sequence[str]) -> None:
    """Raise `ConfigError` for the name of no program."""
    for name in names:
        if name not in LOGS:
            raise unknown_name("--log", name, LOGS)


@contextmanager
def open_log(name: str, out: Path) -> Iterator[ReportRow]:
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
