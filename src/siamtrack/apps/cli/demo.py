"""`siamtrack demo`: make a clip, track it, and tell how well that went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from siamtrack.apps.cli.session import DEFAULT_MODEL, ends_at_once, load_model, run_session
from siamtrack.errors import InputError, reason

__all__ = ["demo", "mean_overlap"]


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if need be.")] = Path(
        "siamtrack-demo"
    ),
    model: Annotated[str, typer.Option(help="A shipped model's name or a weights file.")] = DEFAULT_MODEL,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the network runs.")] = "cpu",
) -> None:
    """Make a short clip, track a fish through it, and write the video with the boxes drawn in.

    The clip comes with the fish's true boxes, against which the tracked ones are measured.
    """
    with ends_at_once():
        from siamtrack.video.demo import make_demo
        from siamtrack.video.reader import open_source

        tracker = load_model(model, device)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{out}': {reason(error)}") from error
    typer.echo(f"making the demo clip in {out} ...")
    clip, truth = make_demo(out)
    boxes, video = out / "boxes.txt", out / "tracked.mp4"
    with open_source(clip) as frames:
        tally = run_session(tracker, frames, [_first_box(truth)], boxes, video)
    typer.echo(tally.line(clip.name))
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
    import torch

    from siamtrack.geometry.boxes import box_iou, xywh_to_xyxy

    rows = [torch.from_numpy(np.loadtxt(path, delimiter=",", ndmin=2)) for path in (found, truth)]
    count = min(map(len, rows))
    a, b = (xywh_to_xyxy(row[1:count]) for row in rows)
    return float(box_iou(a, b).mean())


def _first_box(truth: Path) -> tuple[float, float, float, float]:
    x, y, w, h = map(float, truth.read_text().splitlines()[0].split(","))
    return x, y, w, h
