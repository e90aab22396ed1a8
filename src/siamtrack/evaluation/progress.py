"""The live table of a running evaluation on a terminal; a line a sequence where there is none."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from siamtrack.evaluation.store import Failure
from siamtrack.formats.sequence import VideoSequence

__all__ = ["Board"]


class _Line:
    """What a worker is doing."""

    def __init__(self, sequence: VideoSequence) -> None:
        self.sequence = sequence
        self.frames = 0
        self.began = time.monotonic()

    def rate(self) -> float:
        """Frames a second since the sequence began, reading included."""
        return self.frames / max(time.monotonic() - self.began, 1e-6)


class Board:
    """Shows progress; a context manager, to be given to `run_suite` as its watcher.

    Args:
        title: the tracker and the suite.
        total: sequences to be run, `frames` in all of them.
        console: where to show it; stderr if left out.
    """

    def __init__(self, title: str, total: int, frames: int, console: Console | None = None) -> None:
        self._console = console if console is not None else Console(stderr=True, highlight=False)
        self._total = total
        self._done = 0
        self._failed: list[Failure] = []
        self._lines: dict[int, _Line] = {}
        self._finished_frames = 0
        self._title = title
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
        )
        self._task = self._bar.add_task(title, total=frames)
        self._live: Live | None = None

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, worker: int, sequence: VideoSequence) -> None:
        """Show that a worker has begun a sequence."""
        self._lines[worker] = _Line(sequence)

    def advanced(self, worker: int, frames: int) -> None:
        """Show how far a worker's sequence is."""
        if worker in self._lines:
            self._lines[worker].frames = frames
        running = sum(min(line.frames, len(line.sequence)) for line in self._lines.values())
        self._bar.update(self._task, completed=self._finished_frames + running)

    def finished(self, worker: int, sequence: VideoSequence, failure: Failure | None) -> None:
        """Show that a sequence is done, or why not."""
        line = self._lines.pop(worker, None)
        self._done += 1
        self._finished_frames += len(sequence)
        self._bar.update(self._task, completed=self._finished_frames)
        if failure is not None:
            self._failed.append(failure)
        if self._live is None:
            seconds = time.monotonic() - line.began if line is not None else 0.0
            what = (
                f"failed ({failure.kind}): {failure.message}" if failure else f"{len(sequence)} frames, {seconds:.1f} s"
            )
            self._console.print(f"[{self._done}/{self._total}] {sequence.name}: {what}", markup=False, soft_wrap=True)

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for column in ("sequence", "frame", "of", "frames/s"):
            table.add_column(column, justify="left" if column == "sequence" else "right")
        for _, line in sorted(self._lines.items()):
            table.add_row(line.sequence.name, str(line.frames), str(len(line.sequence)), f"{line.rate():.1f}")
        for failure in self._failed[-5:]:
            table.add_row(f"[red]{failure.sequence}[/red]", failure.kind, "", "")
        return Group(self._bar, table)
