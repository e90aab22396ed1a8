"""One tracking run of the command line: its files, its progress, its summary, and a clean end after Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import typer

from siamtrack.apps.cli.interrupts import Interrupts
from siamtrack.apps.cli.progress import Display
from siamtrack.errors import InputError, reason
from siamtrack.io import IMAGE_SUFFIXES

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


class OutFile(NamedTuple):
    """A file to write: what it holds, and the mark of one of that name that was there before."""

    kind: str
    path: Path
    before: tuple[int, int] | None


def check_outputs(
    inputs: Sequence[str], outputs: Outputs, frames: FrameSource, targets: int, overwrite: bool
) -> list[OutFile]:
    """Refuse outputs that cannot be written, or are what is read, before anything is computed."""
    from siamtrack.video.box_writer import box_paths
    from siamtrack.video.boxes import check_images

    if len(outputs.labels) not in (1, targets):
        raise InputError(f"expected one --label, or one for each target; got {len(outputs.labels)} for {targets}")
    for _, kind in outputs.boxes:
        check_images(frames.clip().images, kind)
    named = [("boxes", path) for path, kind in outputs.boxes for path in box_paths(path, targets, kind)]
    folders = {path for path, kind in outputs.boxes if kind == "yolo" and path.suffix.lower() != ".zip"}
    if outputs.video:
        named.append(("video", outputs.video))
        if outputs.video.suffix.lower() != ".mp4":
            raise InputError(f"video is written as .mp4; got '{outputs.video}'")
    if twice := [path for n, (_, path) in enumerate(named) if path in [other for _, other in named[:n]]]:
        raise InputError(f"two outputs have the same name: '{twice[0]}'")
    paths = [Path(unquote(urlsplit(name).path) if name.startswith("file:") else name) for name in inputs if name]
    read = [path for path in paths if path.exists()]
    images = [path for path in paths[:1] if path.is_dir()]
    for kind, path in named:
        try:
            if not path.parent.is_dir():
                raise InputError(f"no such folder to write the {kind} into: '{path.parent}'")
            if path in folders:
                _check_folder(path, overwrite)
            else:
                _check_file(kind, path, read, images, overwrite)
        except OSError as error:
            raise InputError(f"cannot write the {kind} to '{path}': {reason(error)}") from error
    return [OutFile(kind, path, _mark(path / "data.yaml" if path in folders else path)) for kind, path in named]


def _check_folder(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"yolo is written into a folder or a .zip file; '{path}' is neither")
    if (path / "labels").exists() and not overwrite:
        raise InputError(f"'{path / 'labels'}' is there already; choose another folder, or --overwrite for its texts")


def _check_file(kind: str, path: Path, read: Sequence[Path], images: Sequence[Path], overwrite: bool) -> None:
    if path.is_dir():
        raise InputError(f"cannot write the {kind}: '{path}' is a folder")
    if path.exists() and any(map(path.samefile, read)):
        raise InputError(f"'{path}' is the source, the model or the preset; write the {kind} to another file")
    if path.suffix.lower() in IMAGE_SUFFIXES and any(map(path.parent.samefile, images)):
        raise InputError(f"'{path}' would be a frame of the source; write the {kind} to another file")
    if path.is_file() and not overwrite:
        raise InputError(f"'{path}' is there already; choose another name, or replace it with --overwrite")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"cannot write the {kind} to '{path}': permission denied")


def _mark(path: Path) -> tuple[int, int] | None:
    """Inode and time of a file, which change when it is written or replaced; None for no file."""
    if not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


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


def report_run(tally: Tally, name: str, warning: str | None, files: list[OutFile]) -> None:
    """Print what was done and where it lies, however the run ended."""
    if warning:
        typer.echo(f"siamtrack: warning: {warning}", err=True)
    if not tally.frames:
        return
    stopped = "interrupted: " if tally.interrupted else ""
    typer.echo(stopped + tally.line(name))
    for file in files:
        if _mark(file.path / "data.yaml" if file.path.is_dir() else file.path) != file.before:
            typer.echo(f"{file.kind}: {file.path}")
    if not files:
        typer.echo("nothing was written; --output FILE keeps the boxes, --video OUT.mp4 a drawn video")
    if tally.updates:
        typer.echo(tally.lost_line())
