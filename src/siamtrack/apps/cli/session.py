"""One tracking run of the command line: outputs, progress and a clean end after Ctrl-C or an error."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamtrack.video.boxes import BoxWriter
    from siamtrack.video.follow import Step, TrackerLike
    from siamtrack.video.reader import FrameSource
    from siamtrack.video.writer import VideoWriter

__all__ = [
    "DEFAULT_MODEL",
    "Interrupts",
    "Outputs",
    "Tally",
    "ends_at_once",
    "ends_while_importing",
    "load_model",
    "run_session",
]

_ENDINGS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

DEFAULT_MODEL = "siamcar_lite0"
"""The same as the tracker's own default, repeated so that asking for help does not load torch."""


@dataclass
class Tally:
    """What has been done so far; true at any moment, so that a run that stops early can be summed up too.

    `interrupted` is the number of the signal that ended the run, 0 for none.
    """

    frames: int = 0
    updates: int = 0
    seconds: float = 0.0
    tracker_seconds: float = 0.0
    interrupted: int = 0

    @property
    def exit_code(self) -> int:
        """0, or after a signal what shells expect: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.interrupted if self.interrupted else 0

    def count(self, step: Step, given: bool) -> None:
        """Take in one finished frame; `given` if its boxes were given, not tracked."""
        self.frames += 1
        if not given:
            self.updates += 1
            self.tracker_seconds += step.seconds

    def line(self, name: str) -> str:
        """Sum up in one line: frames, and frames a second of the whole and of the tracker alone."""
        text = f"tracked {self.frames} frame{'s' if self.frames != 1 else ''} of {name} in {self.seconds:.1f} s"
        if self.updates and self.seconds > 0:
            text += f": {self.frames / self.seconds:.1f} frames a second"
            text += f", {1000 * self.tracker_seconds / self.updates:.1f} ms a frame in the tracker"
        return text


def ends_at_once() -> AbstractContextManager[None]:
    """For what comes before anything is written: let Ctrl-C end the process there and then, without a word.

    That holds inside a library too, as one that waits for a camera or for a stream.
    """
    return _on_ctrl_c(signal.SIG_DFL)


def ends_while_importing() -> AbstractContextManager[None]:
    """For a whole command: Ctrl-C while a library is loaded ends the process, with one line and exit code 130.

    A KeyboardInterrupt that is raised in the middle of an import comes out as an abort or as an ImportError. At any
    other moment it is raised as ever.
    """
    return _on_ctrl_c(_end_or_raise)


@contextmanager
def _on_ctrl_c(handler: Any) -> Iterator[None]:
    """Let `handler` take Ctrl-C, unless another program has asked for something else, such as nohup."""
    usual = (signal.default_int_handler, _end_or_raise)
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before not in usual:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        # Whoever took it over meanwhile knows better: after an interrupt that was obeyed, further ones are ignored.
        if signal.getsignal(signal.SIGINT) == handler:
            signal.signal(signal.SIGINT, before)


def _end_or_raise(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            print("siamtrack: interrupted", file=sys.stderr, flush=True)
            os._exit(128 + number)
        frame = frame.f_back
    raise KeyboardInterrupt


class Interrupts:
    """Holds Ctrl-C back while files are written, so that none ends in the middle of a frame.

    A context manager, of use in the main thread only; elsewhere it does nothing. A request to end (SIGTERM, a
    closed terminal) is taken as Ctrl-C. After the first one the program is about to end, and further ones are
    ignored from then on, as they could only break its ending. `came` is the number of the first, 0 for none;
    `pending` tells whether it was held back and not raised yet.
    """

    def __init__(self) -> None:
        self.came = 0
        self.pending = False
        self._held = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _ENDINGS:
                # One that is ignored stays so: it is how nohup works.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.came else before)

    def hold(self) -> None:
        """From here on, keep Ctrl-C in `pending` instead of raising it."""
        self._held = True

    def release(self) -> None:
        """End `hold`, and raise the KeyboardInterrupt that came in between, if any."""
        self._held = False
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            return
        self.came = number
        if not self._held:
            raise KeyboardInterrupt
        self.pending = True


class Outputs:
    """The files of a run: boxes, drawn video, both or neither."""

    def __init__(self, boxes: BoxWriter | None, video: VideoWriter | None, targets: int) -> None:
        from siamtrack.video.draw import Trails

        self._boxes = boxes
        self._video = video
        self._numbered = targets > 1
        self._trails = Trails(targets)

    def write(self, step: Step) -> None:
        """Write one frame to all files; the boxes first, from which the video can be drawn again."""
        from siamtrack.video.draw import Mark, draw

        if self._boxes is not None:
            self._boxes.write(step.number, step.boxes, step.scores)
        if self._video is None:
            return
        trails = self._trails.add(step.boxes)
        marks = [
            Mark(box, score, n if self._numbered else None, trail, sure)
            for n, (box, score, trail, sure) in enumerate(
                zip(step.boxes, step.scores, trails, step.sure, strict=True), start=1
            )
        ]
        self._video.write(draw(step.frame, marks))


def load_model(name: str, device: str) -> TrackerLike:
    """Load a tracker by name or path onto a device.

    Raises:
        SiamtrackError: an unknown model or device, or a bad weights file.
    """
    import siamtrack

    tracker: TrackerLike = siamtrack.load(name, device=device)
    return tracker


def run_session(
    tracker: TrackerLike,
    source: FrameSource,
    boxes: Sequence[Sequence[float]],
    output: Path | None = None,
    video: Path | None = None,
    tally: Tally | None = None,
) -> Tally:
    """Track `boxes` (N, 4) xywh through `source` and write what was asked for.

    After Ctrl-C (or SIGTERM) the files hold all frames up to it and the tally says so; after an error they do too,
    and the error is raised on. `tally` is counted while it runs.
    """
    from siamtrack.video.boxes import BoxWriter
    from siamtrack.video.follow import follow
    from siamtrack.video.writer import VideoWriter

    tally = tally if tally is not None else Tally()
    began = time.perf_counter()
    with Interrupts() as interrupts, ExitStack() as files:
        interrupts.hold()
        video_writer = files.enter_context(VideoWriter(video, source.size, source.fps)) if video else None
        box_writer = files.enter_context(BoxWriter(output, len(boxes))) if output else None
        outputs = Outputs(box_writer, video_writer, len(boxes))
        advance = files.enter_context(_progress(source.count))
        try:
            interrupts.release()
            for step in follow(tracker, source, boxes, source.start):
                interrupts.hold()
                outputs.write(step)
                tally.count(step, given=step.number == source.start)
                tally.seconds = time.perf_counter() - began
                advance(tally)
                interrupts.release()
        except KeyboardInterrupt:
            tally.interrupted = signal.SIGINT
        finally:
            interrupts.hold()  # the files are closed next
    tally.seconds = time.perf_counter() - began
    tally.interrupted = interrupts.came or tally.interrupted
    return tally


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[Tally], None]]:
    """Show a bar with frames a second and time left on the terminal; nothing where stderr is not one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} frames/s"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("tracking", total=total, rate=0.0)
        yield lambda tally: bar.update(
            task, completed=tally.frames, rate=tally.frames / tally.seconds if tally.seconds > 0 else 0.0
        )
