"""`siamtrack track`: follow one or several boxes through a video, a folder, a camera or a stream."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from siamtrack.apps.cli.session import DEFAULT_MODEL, Tally, load_model, run_session
from siamtrack.errors import InputError

__all__ = ["parse_box", "track"]


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Read `X,Y,W,H`, four numbers in pixels.

    Raises:
        InputError: not four numbers. Whether they make a box of the frame is checked with the frame.
    """
    try:
        x, y, w, h = map(float, re.split(r"\s*,\s*|\s+", text.strip()))
    except ValueError as error:
        raise InputError(
            f"--box expects four numbers X,Y,W,H in pixels, as 10,20,64,48; got '{text}'"
        ) from error
    return x, y, w, h


def track(
    source: Annotated[
        str, typer.Argument(help="A video file, a folder of images, a camera's number or a URL.")
    ],
    box: Annotated[
        list[str],
        typer.Option(
            metavar="X,Y,W,H", help="Left, top, width and height in the first frame; once a target."
        ),
    ],
    model: Annotated[str, typer.Option(help="A shipped model's name or a weights file.")] = DEFAULT_MODEL,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the boxes to a .txt, .csv or .jsonl file.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option(metavar="OUT.mp4", help="Write a video with the boxes drawn in.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the network runs.")] = "cpu",
    start: Annotated[
        int, typer.Option(metavar="N", min=0, help="The frame that the boxes are given for, counted from 0.")
    ] = 0,
    end: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop before this frame; all frames if left out.")
    ] = None,
) -> None:
    """Follow the boxes of the first frame through a video.

    Ctrl-C ends the run; the boxes and the video hold all frames up to it.
    """
    from siamtrack.geometry.boxes import as_boxes
    from siamtrack.video.reader import open_source

    boxes = [parse_box(text) for text in box]
    with open_source(source, start, end) as frames:
        as_boxes(boxes, frames.size)
        files = _check_outputs(source, output, video, len(boxes))
        tracker = load_model(model, device)
        tally = Tally()
        try:
            run_session(tracker, frames, boxes, output, video, tally)
        finally:
            _report(tally, frames.name, frames.warning, files)
    if tally.interrupted:
        raise typer.Exit(tally.exit_code)


def _check_outputs(
    source: str, output: Path | None, video: Path | None, targets: int
) -> list[tuple[str, Path]]:
    """Refuse outputs that cannot be written before anything is computed; return them with what they hold."""
    from siamtrack.video.boxes import box_paths

    files = [("boxes", path) for path in (box_paths(output, targets) if output else [])]
    if video:
        files.append(("video", video))
        if video.suffix.lower() != ".mp4":
            raise InputError(f"video is written as .mp4; got '{video}'")
    for kind, path in files:
        try:
            _check_output(kind, path, source)
        except OSError as error:
            raise InputError(f"cannot write the {kind} to '{path}': {str(error.strerror).lower()}") from error
    return files


def _check_output(kind: str, path: Path, source: str) -> None:
    if not path.parent.is_dir():
        raise InputError(f"no such folder to write the {kind} into: '{path.parent}'")
    if path.is_dir():
        raise InputError(f"cannot write the {kind}: '{path}' is a folder")
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise InputError(f"'{path}' is the source; write the {kind} to another file")


def _report(tally: Tally, name: str, warning: str | None, files: list[tuple[str, Path]]) -> None:
    """Print what was done and where it lies, however the run ended."""
    if warning:
        typer.echo(f"siamtrack: warning: {warning}", err=True)
    if not tally.frames:
        return
    stopped = "interrupted: " if tally.interrupted else ""
    typer.echo(stopped + tally.line(name))
    for kind, path in files:
        if path.exists():
            typer.echo(f"{kind}: {path}")
    if not files:
        typer.echo("nothing was written; --output FILE keeps the boxes, --video OUT.mp4 a drawn video")
