"""`siamtrack demo`: track a clip that comes with the package, and tell how well that went."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from siamtrack.apps.cli.interrupts import ends_at_once
from siamtrack.apps.cli.session import DEFAULT_MODEL, Outputs, Tally, run_session

__all__ = ["demo", "mean_overlap"]


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if need be.")] = Path(
        "siamtrack-demo"
    ),
    model: Annotated[str, typer.Option(help="A shipped model's name or a weights file.")] = DEFAULT_MODEL,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the network runs.")] = "cpu",
    end: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop before this frame.")] = None,
) -> None:
    """Track a fish through a short clip, and write the video with the boxes drawn in.

    The clip comes with the fish's true boxes, against which the tracked ones are measured.
    """
    with ends_at_once():
        import siamtrack
        from siamtrack.io import write_whole
        from siamtrack.video.reader import open_source

        tracker = siamtrack.load_multi(model, device)
    clip, truth = out / "clip.mp4", out / "clip.txt"
    for path in (clip, truth):
        write_whole(path, resources.files("siamtrack.video").joinpath("demo", path.name).read_bytes())
    boxes, video, tally = out / "boxes.txt", out / "tracked.mp4", Tally()
    first = [float(value) for value in truth.read_text().splitlines()[0].split(",")]
    with open_source(clip, end=end) as frames:
        run_session(tracker, frames, [first], Outputs(boxes, video), tally)
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
    import torch

    from siamtrack.geometry.boxes import box_iou, xywh_to_xyxy

    rows = [torch.from_numpy(np.loadtxt(path, delimiter=",", ndmin=2)) for path in (found, truth)]
    count = min(map(len, rows))
    a, b = (xywh_to_xyxy(row[1:count]) for row in rows)
    return float(box_iou(a, b).mean())
