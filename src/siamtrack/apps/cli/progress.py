"""Progress: bars with counts, speed and time left on a terminal; elsewhere lines of a log, or nothing; and tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from siamtrack.errors import printable

if TYPE_CHECKING:
    from siamtrack.data.index import Progress as Count
    from siamtrack.evaluation.jobs import Event
    from siamtrack.evaluation.store import Failure
    from siamtrack.formats.sequence import VideoSequence
    from siamtrack.tuning.scores import TuningJob


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Say on a terminal what is being loaded, until it is: torch alone takes seconds to import."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"loading {printable(what)} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def print_columns(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> None:
    """Print a table in plain aligned columns, which survive a pipe; to the right those whose numbers `right` holds."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


class _Speed(ProgressColumn):
    """Units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {self._unit}/s")


class _TimeLeft(TimeRemainingColumn):
    """The time left, and nothing where no end is known, as of a camera."""

    def render(self, task: Task) -> Text:
        return Text("") if task.total is None else super().render(task) + Text(" left")


class Bar:
    """One line of a display."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def set(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Show how much is done, and a note behind the numbers; None leaves total and note as they are."""
        self._progress.update(self._task, completed=done, total=total)
        if note is not None:
            self._progress.update(self._task, note=note)

    def remove(self) -> None:
        """Take the line away."""
        self._progress.remove_task(self._task)


class Display:
    """The bars of a command; a context manager that clears them at its end.

    The `unit` is what is counted, as "frames"; "" shows neither speed nor time left. Bars are shown, on stderr by
    default, where it is a terminal: then it is `live`.
    """

    def __init__(self, unit: str = "", console: Console | None = None) -> None:
        self._console = console if console is not None else Console(stderr=True, highlight=False)
        self.live = self._console.is_terminal
        columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn()]
        columns.append(MofNCompleteColumn())
        if unit:
            columns += [TextColumn(unit), _Speed(unit), _TimeLeft()]
        columns.append(TextColumn("{task.fields[note]}", markup=False))
        self._progress = Progress(*columns, console=self._console, disable=not self.live, transient=True)

    def bar(self, title: str, total: float | None = None) -> Bar:
        """Add a line; `total` is None where it is not known."""
        return Bar(self._progress, self._progress.add_task(title, total=total, note=""))

    def log(self, line: str) -> None:
        """Print a line that stays, above the bars; without a terminal too."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


@contextmanager
def counting(title: str, unit: str = "files") -> Iterator[Count]:
    """Give a function that is called with (done, total); nothing is shown where stderr is no terminal."""
    with Display(unit) as display:
        bar = display.bar(title)
        yield lambda done, total: bar.set(done, total)


@contextmanager
def training(last: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """Give a function that is called with each row of the log of a training of `last` steps.

    Loss, pairs a second and time left: a bar on a terminal, else a line a row.
    """
    first: list[tuple[int, float]] = []
    with Display() as display:
        bar = display.bar("training", last)

        def show(row: dict[str, float]) -> None:
            step = int(row["step"])
            if "total" not in row:
                display.log(f"step {step}: success {row['success']:.4f}")
                return
            first.append((step, time.monotonic()))
            began = first[0]  # the first row of a resumed run is somewhere on its way
            del first[1:]
            state = f"loss {row['total']:.4f}, {row['pairs_per_second']:.1f} pairs/s"
            if step > began[0]:
                seconds = (time.monotonic() - began[1]) / (step - began[0]) * (last - step)
                state += f", {timedelta(seconds=round(seconds))} left"
            bar.set(step, note=state)
            if not display.live:
                display.log(f"step {step}/{last}: {state}")

        yield show


class EvaluationBoard:
    """Shows an evaluation: a bar for all frames and one for each running sequence, or a line a finished sequence.

    There are `total` sequences to be run with `frames` in all of them. Lines name the `tracker` where several are run.
    """

    def __init__(self, display: Display, title: str, total: int, frames: int, tracker: str = "") -> None:
        self._tracker = tracker
        self._display = display
        self._total = total
        self._finished = 0
        self._finished_frames = 0
        self._overall = self._display.bar(title, frames)
        self._running: dict[int, tuple[Bar, int, float]] = {}
        self._frames: dict[int, int] = {}

    def watch(self, event: Event[VideoSequence, None], failure: Failure | None) -> None:
        """Show what a worker tells; see `evaluate`."""
        from siamtrack.evaluation.jobs import Advanced, Started

        if isinstance(event, Started):
            self.started(event.worker, event.job)
        elif isinstance(event, Advanced):
            self.advanced(event.worker, event.beats)
        else:
            self.finished(event.worker, event.job, failure)

    def started(self, worker: int, sequence: VideoSequence) -> None:
        """Show that a worker has begun a sequence."""
        bar = self._display.bar(f"  {sequence.name}", len(sequence))
        self._running[worker] = bar, len(sequence), time.monotonic()

    def advanced(self, worker: int, frames: int) -> None:
        """Show how far a worker's sequence is; with resets it may run more frames than the sequence has."""
        if worker in self._running:
            bar, length, _ = self._running[worker]
            self._frames[worker] = min(frames, length)
            bar.set(self._frames[worker])
        self._overall.set(self._finished_frames + sum(self._frames.values()))

    def finished(self, worker: int, sequence: VideoSequence, failure: Failure | None) -> None:
        """Show that a sequence is done, or why not."""
        seconds = 0.0
        if worker in self._running:
            bar, _, began = self._running.pop(worker)
            bar.remove()
            seconds = time.monotonic() - began
        self._frames.pop(worker, None)
        self._finished += 1
        self._finished_frames += len(sequence)
        self._overall.set(self._finished_frames + sum(self._frames.values()))
        if failure is not None or not self._display.live:
            done = f"{len(sequence)} frames, {seconds:.1f} s"
            what = f"failed ({failure.kind}): {failure.message}" if failure else done
            name = f"{self._tracker}, {sequence.name}" if self._tracker else sequence.name
            self._display.log(f"[{self._finished}/{self._total}] {name}: {what}")


class TuningBoard:
    """Shows frames done and time left of a tuning; without a terminal a line for each finished sequence."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._bar = self._display.bar("tuning", 0)
        self._total = self._done = 0
        self._open: dict[str, int] = {}

    def planned(self, jobs: Sequence[TuningJob]) -> None:
        """Add runs to what has to be done."""
        for job in jobs:
            self._total += len(job.sequence)
            self._open[job.sequence.name] = self._open.get(job.sequence.name, 0) + 1
        self._bar.set(self._done, self._total)

    def scored(self, job: TuningJob, score: float) -> None:
        """Count a finished run."""
        name = job.sequence.name
        self._open[name] -= 1
        self._done += len(job.sequence)
        self._bar.set(self._done, note=f"{name} {score:.3f}")
        if not self._display.live and not self._open[name]:
            self._display.log(f"{name}: done, {sum(count > 0 for count in self._open.values())} sequences left")
