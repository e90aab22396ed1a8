"""One tracking run of the command line: its files, its progress, its summary, and a clean end after Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from siamtrack.apps.cli.interrupts import Interrupts
from siamtrack.apps.cli.progress import Display

if TYPE_CHECKING:
    from siamtrack.tracking.tracker import Result, Step
    from siamtrack.video.reader import FrameSource


@dataclass(frozen=True)
class Outputs:
    """The files of a run: boxes, each with its format, and a drawn video, perhaps with the path of each target.

    `labels` are the classes of the targets, see `Clip`.
    """

    boxes: Sequence[tuple[Path, str]] = ()
    video: Path | None = None
    trails: bool = True
    labels: Sequence[str] = ("object",)


@dataclass
class Tally:
    """Counts of a run, correct at any moment, so that a run that stops early can be summed up too.

    `interrupted` is the number of the signal that ended the run, 0 for none.
    """

    frames: int = 0
    updates: int = 0
    seconds: float = 0.0
    tracker_seconds: float = 0.0
    interrupted: int = 0
    dropped: int = 0
    """Frames of a live source that were left out because newer ones had come."""
    lost_frames: list[int] = field(default_factory=list)
    """By target: in how many frames it was lost."""
    losses: list[int] = field(default_factory=list)
    """By target: how often it went from found to lost."""
    _before: Sequence[Result] = ()

    @property
    def exit_code(self) -> int:
        """0, or after a signal what shells expect: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.interrupted if self.interrupted else 0

    def count(self, step: Step, given: bool) -> None:
        """Take in one finished frame; `given` if its boxes were given, not tracked."""
        self.frames += 1
        if given:
            self.lost_frames, self.losses = [0] * len(step.results), [0] * len(step.results)
        else:
            self.updates += 1
            self.tracker_seconds += step.seconds
            for n, (before, now) in enumerate(zip(self._before, step.results, strict=True)):
                self.lost_frames[n] += now.status == "lost"
                self.losses[n] += now.status == "lost" and before.status != "lost"
        self._before = step.results

    def line(self, name: str) -> str:
        """Sum up in one line: frames, and frames a second of the whole and of the tracker alone."""
        text = f"tracked {_plural(self.frames, 'frame')} of {name} in {self.seconds:.1f} s"
        if self.updates and self.seconds > 0:
            text += f": {self.frames / self.seconds:.1f} frames a second"
            text += f", {1000 * self.tracker_seconds / self.updates:.1f} ms a frame in the tracker"
        if self.dropped:
            text += f"; {_plural(self.dropped, 'frame')} dropped to keep up"
        return text

    def lost_line(self) -> str:
        """Say how often and how long targets were lost: "lost 3 times, 41 frames"."""
        found = [
            (f"target {n} " if len(self.losses) > 1 else "")
            + f"lost {_plural(times, 'time')}, {_plural(frames, 'frame')}"
            for n, (times, frames) in enumerate(zip(self.losses, self.lost_frames, strict=True), 1)
            if times
        ]
        return "; ".join(found) or "never lost"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def run_session(steps: Iterable[Step], source: FrameSource, targets: int, outputs: Outputs, tally: Tally) -> None:
    """Write `outputs` of the steps of a run through `source`, which are computed as they are asked for.

    After Ctrl-C (or SIGTERM) the files hold all frames up to it and the tally says so; after an error they do too,
    and the error is raised on. `tally` is counted while it runs, from the seconds on that it has.
    """
    from siamtrack.video.box_writer import BoxWriter
    from siamtrack.video.draw import Mark, Trails, draw
    from siamtrack.video.writer import VideoWriter

    began = time.perf_counter() - tally.seconds
    trails = Trails(targets, 40 if outputs.trails else 0)
    with Interrupts() as interrupts, ExitStack() as files:
        interrupts.hold()
        video = files.enter_context(VideoWriter(outputs.video, source.size, source.fps)) if outputs.video else None
        clip = source.clip(outputs.labels)
        tables = [files.enter_context(BoxWriter(path, targets, kind, clip)) for path, kind in outputs.boxes]
        bar = files.enter_context(Display("frames")).bar(source.name, source.count)
        try:
            interrupts.release()
            for step in steps:
                interrupts.hold()
                for table in tables:  # first: from the boxes the video can be drawn again
                    table.write(source.number, step.results)
                if video is not None:
                    numbers = range(1, targets + 1) if targets > 1 else [None]
                    ways = trails.add([result.box for result in step.results])
                    rows = zip(step.results, numbers, ways, strict=True)
                    picture = draw(step.frame, [Mark(r.box, r.score, n, way, r.status) for r, n, way in rows])
                    video.write(picture, source.number - source.start)
                tally.count(step, given=step.number == source.start)
                tally.dropped = source.dropped
                tally.seconds = time.perf_counter() - began
                bar.set(tally.frames)
                interrupts.release()
        except KeyboardInterrupt:
            tally.interrupted = signal.SIGINT
        finally:
            interrupts.hold()  # the files are closed next
    tally.seconds = time.perf_counter() - began
    tally.interrupted = interrupts.came or tally.interrupted
