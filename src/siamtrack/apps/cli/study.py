"""`siamtrack study`: experiments of the papers, small enough to repeat."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from siamtrack.apps.cli.options import parse_settings

__all__ = ["center_bias", "study"]

study = typer.Typer(help="Experiments of the papers, small enough to repeat.", no_args_is_help=True)


@study.callback()
def _study() -> None:
    """Experiments of the papers, small enough to repeat."""


@study.command("center-bias")
def center_bias(
    data: Annotated[Path, typer.Option(metavar="DIR", help="A folder of shards (*.tar).")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where networks, numbers and the picture go.")],
    shift: Annotated[
        list[int] | None,
        typer.Option(metavar="PX", min=0, max=64, help="Train with this shift; repeatable; 0, 16, 32 and 64."),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Sequences (NAME/img/*, NAME/groundtruth.txt) to track."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as train.steps=500; repeatable."),
    ] = None,
    crops: Annotated[int, typer.Option(metavar="N", min=1, help="Test crops with placed targets.")] = 512,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the networks run.")] = "cpu",
    processes: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Shifts trained at a time, each in a process of one thread."),
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Train on the workers of this Dask scheduler, as tcp://host:8786."),
    ] = None,
) -> None:
    """Show how the targets' places in training bias a padded network (SiamRPN++, figures 1 and 2).

    A shift that was stopped goes on where it was when the command is given again; with --shift the parts
    can be done one by one. The picture, center_bias.png, shows all that have been measured.
    """
    from siamtrack.apps.cli.interrupts import Interrupts
    from siamtrack.apps.cli.progress import training
    from siamtrack.evaluation.jobs import Event, Failed, Finished, Started, Workers
    from siamtrack.evaluation.pool import run_jobs
    from siamtrack.studies.center_bias import Bias, Study, open_study, plot_bias, read_results

    whole = Study(data, out, parse_settings(settings or []), val, crops, device)
    steps = whole.preset.train.steps
    # an hour without a row of the log is a hang
    workers = Workers(processes if processes > 1 else 0, cluster, limit=3600.0)
    rows: list[Callable[[dict[str, float]], None]] = []
    with ExitStack() as stack, ExitStack() as shown:

        def on_event(event: Event[int, Bias | None]) -> None:
            if isinstance(event, Started):
                typer.echo(f"shift {event.job}: {steps} steps")
                if here:
                    rows.append(shown.enter_context(training(steps)))
            elif isinstance(event, Failed):
                raise event.error
            elif isinstance(event, Finished):
                shown.close()
                if event.value is None:
                    typer.echo("stopped with a checkpoint; give the same command to go on")
                    raise typer.Exit(130)

        here = workers.processes == 0 and cluster is None
        opened = partial(open_study, whole)
        if here:
            interrupts = stack.enter_context(Interrupts())
            interrupts.hold()
            opened = partial(opened, report=lambda row: rows[-1](row), stop=lambda: bool(interrupts.pending))
        run_jobs(opened, shift or (0, 16, 32, 64), workers, on_event)
    results, picture = read_results(out), out / "center_bias.png"
    typer.echo("shift  middle  found at <=16  <=32  <=64 px  success")
    for bias in results:
        hits = "  ".join(f"{value:.3f}" for value in bias.hits)
        success = "-" if bias.success is None else f"{bias.success:.3f}"
        typer.echo(f"{bias.shift:5d}  {bias.middle:6.2f}  {hits}  {success}")
    plot_bias(results, picture)
    typer.echo(f"picture: {picture}")
