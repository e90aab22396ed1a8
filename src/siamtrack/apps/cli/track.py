"""`siamtrack track`: follow boxes through a video, a folder, a camera or a stream; `siamtrack demo`: through a clip."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siamtrack.apps.cli.app import app_command
from siamtrack.apps.cli.interrupts import ends_at_once
from siamtrack.apps.cli.options import Device, Engine, Model, PresetName, Settings, Threads, parse_settings
from siamtrack.apps.cli.progress import Display, loading
from siamtrack.apps.cli.session import Outputs, Tally, check_outputs, report_run, run_session
from siamtrack.errors import InputError
from siamtrack.io import parse_number
from siamtrack.presets import DEFAULT_MODEL

if TYPE_CHECKING:
    import numpy as np

    from siamtrack.tracking.tracker import MultiTracker, Step
    from siamtrack.video.reader import FrameSource


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Read `X,Y,W,H`, four numbers in pixels, or raise `InputError`; whether they make a box the frame will tell."""
    try:
        x, y, w, h = map(parse_number, re.split(r"\s*,\s*|\s+", text.strip()))
    except ValueError as error:
        raise InputError(f"--box expects four numbers X,Y,W,H in pixels, as 10,20,64,48; got '{text}'") from error
    return x, y, w, h


def parse_targets(texts: Sequence[str], start: int) -> list[dict[int, tuple[float, float, float, float]]]:
    """Read the boxes of all targets, each by the number of its frame.

    `X,Y,W,H` is a new target in frame `start`. `N:X,Y,W,H` is the box of the target before it in frame N; it is a new
    target where there is none yet, or where that one has a box in frame N already.

    Raises:
        InputError: as `parse_box`, or another frame's number.
    """
    targets: list[dict[int, tuple[float, float, float, float]]] = []
    for text in texts:
        head, colon, rest = text.rpartition(":")
        if colon and not (head.strip().isdecimal() and len(head) < 16):
            raise InputError(f"--box expects X,Y,W,H, or N:X,Y,W,H with the number N of a frame; got '{text}'")
        frame = int(head) if colon else start
        if not targets or not colon or frame in targets[-1]:
            targets.append({})
        targets[-1][frame] = parse_box(rest)
    return targets


def track(
    source: Annotated[str, typer.Argument(help="A video file, a folder of images, a camera's number or a URL.")],
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Left, top, width and height in the first frame; once a target. Without it a page opens to draw them. "
            "N:X,Y,W,H corrects the target before it in frame N.",
        ),
    ] = None,
    model: Model = DEFAULT_MODEL,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Write the boxes: .csv, .json, .jsonl, .txt, .xml (CVAT), .zip (YOLO); repeatable."
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="csv, json, jsonl, txt, mot, coco, yolo, cvat or labelstudio, once for each --output; "
            "by the suffix if left out.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The class of the targets in files of boxes; once, or once a target."),
    ] = None,
    video: Annotated[
        Path | None, typer.Option(metavar="OUT.mp4", help="Write a video with the boxes drawn in.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")] = False,
    trails: Annotated[bool, typer.Option(help="Draw the path of each target into the video.")] = True,
    preset: PresetName = None,
    settings: Settings = None,
    device: Device = "cpu",
    engine: Engine = "auto",
    threads: Threads = None,
    start: Annotated[
        int, typer.Option(metavar="N", min=0, help="The frame that the boxes are given for, counted from 0.")
    ] = 0,
    end: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop before this frame; all frames if left out.")
    ] = None,
    stride: Annotated[int, typer.Option("--vid-stride", metavar="N", min=1, help="Track every N-th frame only.")] = 1,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Of a camera or stream, track all frames, not just the newest ones.")
    ] = False,
    hwaccel: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Decode the video on hardware: cuda (NVDEC), vaapi, videotoolbox, d3d11va."),
    ] = None,
) -> None:
    """Follow the boxes of the first frame through a video.

    Ctrl-C ends the run; the boxes and the video hold all frames up to it.
    """
    if not box:
        given = {
            "--output": output, "--format": formats, "--video": video, "--overwrite": overwrite,
            "--no-trails": not trails, "--start": start, "--end": end, "--vid-stride": stride > 1,
            "--every-frame": every_frame, "--hwaccel": hwaccel,
        }  # fmt: skip
        if named := [name for name, value in given.items() if value]:
            raise InputError(
                f"without --box X,Y,W,H a page opens, to draw boxes and download them: give --box, or leave out "
                f"{', '.join(named)}"
            )
        app_command(source, model, preset, settings, device, engine, threads, label=label)
        return
    targets = parse_targets(box, start)
    keyed = any(":" in text for text in box)
    outputs = Outputs(_with_formats(output or [], formats or []), video, trails, label or ["object"])
    with ExitStack() as stack:
        with ends_at_once(), loading(model):
            import siamtrack
            from siamtrack.geometry.inputs import checked_boxes
            from siamtrack.tracking.tracker import follow
            from siamtrack.video.reader import open_source

            frames = stack.enter_context(open_source(source, start, end, stride, every_frame, hwaccel))
            checked_boxes([given for keys in targets for given in keys.values()], frames.size)
            if keyed:
                _check_keys(targets, frames)
            files = check_outputs([source, model, preset or ""], outputs, frames, len(targets), overwrite)
            tracker = siamtrack.load_multi(model, device, preset, parse_settings(settings or []), engine, threads)
        tally = Tally()
        if keyed:  # computed before any file is opened: an error or Ctrl-C leaves those of an earlier run
            steps = _follow_all_keys(tracker, source, frames, targets, tally)
        else:
            steps = follow(tracker, frames, [keys[start] for keys in targets], start)
        try:
            run_session(steps, frames, len(targets), outputs, tally)
        finally:
            report_run(tally, frames.name, frames.warning, files)
    if tally.interrupted:
        raise typer.Exit(tally.exit_code)


def _check_keys(targets: Sequence[Mapping[int, Sequence[float]]], frames: FrameSource) -> None:
    """Refuse boxes of frames that will not be tracked."""
    if frames.live:
        raise InputError(f"--box N:X,Y,W,H needs a file, whose frames can be read again; '{frames.name}' is live")
    if frames.stride != 1:
        raise InputError("--box N:X,Y,W,H follows from frame to frame; leave --vid-stride out")
    for number in (number for keys in targets for number in keys):
        if number < frames.start or (frames.count is not None and number >= frames.start + frames.count):
            last = f" to {frames.start + frames.count - 1}" if frames.count is not None else ""
            raise InputError(f"--box {number}:... is of a frame that is not tracked; expected {frames.start}{last}")


def _follow_all_keys(
    tracker: MultiTracker,
    source: str,
    frames: FrameSource,
    targets: Sequence[Mapping[int, Sequence[float]]],
    tally: Tally,
) -> Iterator[Step]:
    """Track each target by its keys, then give the steps of all of them, with the time that a frame took."""
    from siamtrack.tracking.tracker import Step
    from siamtrack.video.keyed import follow_keys
    from siamtrack.video.reader import open_source

    def read(start: int, end: int | None) -> Iterator[np.ndarray]:
        with open_source(source, start, end) as again:
            yield from again

    end = None if frames.count is None else frames.start + frames.count
    began = time.perf_counter()
    with Display("frames") as display:
        found = []
        for n, keys in enumerate(targets, 1):
            bar = display.bar(f"target {n}")
            found.append(follow_keys(tracker, read, keys, frames.start, end, bar.set))
    tally.seconds = time.perf_counter() - began
    each = tally.seconds / max(map(len, found))
    return (
        Step(number, frame, [results[number] for results in found], each)
        for number, frame in enumerate(frames, frames.start)
    )


def _with_formats(paths: Sequence[Path], formats: Sequence[str]) -> list[tuple[Path, str]]:
    """Pair each file of boxes with its format; raises `InputError` for unknown ones, or too few of them."""
    from siamtrack.video.boxes import format_of

    if formats and len(formats) != len(paths):
        raise InputError(f"expected one --format for each --output, or none; got {len(formats)} for {len(paths)}")
    return [(path, format_of(path, kind)) for path, kind in zip_longest(paths, formats)]


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if need be.")] = Path(
        "siamtrack-demo"
    ),
    model: Model = DEFAULT_MODEL,
    device: Device = "cpu",
    engine: Engine = "auto",
    threads: Threads = None,
    end: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop before this frame.")] = None,
) -> None:
    """Track a fish through a short clip, and write the video with the boxes drawn in.

    The clip comes with the fish's true boxes, against which the tracked ones are measured.
    """
    with ends_at_once(), loading(model):
        import siamtrack
        from siamtrack.io import write_whole
        from siamtrack.tracking.tracker import follow
        from siamtrack.video.reader import open_source

        tracker = siamtrack.load_multi(model, device, engine=engine, threads=threads)
    clip, truth = out / "clip.mp4", out / "clip.txt"
    for path in (clip, truth):
        write_whole(path, resources.files("siamtrack.video").joinpath("demo", path.name).read_bytes())
    boxes, video, tally = out / "boxes.txt", out / "tracked.mp4", Tally()
    first = [float(value) for value in truth.read_text().splitlines()[0].split(",")]
    with open_source(clip, end=end) as frames:
        run_session(follow(tracker, frames, [first]), frames, 1, Outputs([(boxes, "txt")], video), tally)
    typer.echo(f"{tally.line(clip.name)}; {tally.lost_line()}")
    if tally.updates:
        typer.echo(f"mean overlap with the true boxes: {mean_overlap(boxes, truth):.3f}")
    typer.echo(f"video: {video}")
    if tally.interrupted:
        raise typer.Exit(tally.exit_code)


def mean_overlap(found: Path, truth: Path) -> float:
    """Mean intersection over union of the boxes of two .txt files, in [0, 1], the given first box left out.

    Lines beyond the end of the shorter file are left out too.
    """
    import numpy as np

    from siamtrack.geometry.overlap import rectangle_iou

    rows = [np.loadtxt(path, delimiter=",", ndmin=2) for path in (found, truth)]
    count = min(map(len, rows))
    return float(np.nan_to_num(rectangle_iou(rows[0][1:count], rows[1][1:count])).mean())
