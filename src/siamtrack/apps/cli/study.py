"""`siamtrack study`: the tables and figures of the papers, each by one command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from siamtrack.apps.cli.options import Cluster, Device, Settings, check_out, parse_settings
from siamtrack.apps.cli.progress import print_columns, training
from siamtrack.errors import InputError
from siamtrack.studies.papers import STUDIES
from siamtrack.studies.rows import Scale, Study

if TYPE_CHECKING:
    from siamtrack.evaluation.jobs import Beat, Workers
    from siamtrack.studies.runner import StudyRun

Job = TypeVar("Job")
Value = TypeVar("Value")
_Model = Annotated[str, typer.Option(help="A shipped model's name, or a .safetensors file.")]
_Clips = Annotated[Path, typer.Option(metavar="DIR", help="Sequences (NAME/img/*, NAME/groundtruth.txt).")]
_Picture = Annotated[Path, typer.Option(metavar="FILE", help="The picture, .png.")]
_Frames = Annotated[int, typer.Option(metavar="N", min=2, help="Frames of each sequence that are looked at.")]
_Limit = Annotated[int, typer.Option(metavar="N", min=1, help="Sequences that are looked at.")]

study = typer.Typer(help="The papers' tables and figures, each by one command.", no_args_is_help=True)


@study.command("list")
def list_studies() -> None:
    """Name every table and figure of SiamRPN++, SiamCAR, SA-Siam and SPM: what it shows, and how to run it."""
    for found in STUDIES.values():
        count = sum(not row.of for row in found.rows if row.full is not None)
        given = sum(row.full is None for row in found.rows)
        trained = f" ({count} {'network' if count == 1 else 'networks'}" if found.rows else ""
        trained += (f", {given} of the paper's numbers alone)" if given else ")") if trained else ""
        typer.echo(f"{found.name:20} {found.item}: {found.shows}{trained}\n{'':20}   {found.command}")
        if found.aliases:
            typer.echo(f"{'':20}   also as {', '.join(found.aliases)}")


def _rows_command(found: Study) -> Callable[..., None]:
    """The command that runs the rows of a study."""

    def run(
        data: Annotated[str, typer.Option(metavar="DIR|URL", help="Shards to train on (*.tar).")],
        out: Annotated[Path, typer.Option(metavar="DIR", help="Where networks, results and the table go.")],
        suites: Annotated[
            list[str],
            typer.Option(
                metavar="NAME=DIR,..", help="Data sets to evaluate on, as vot2018=DIR,otb100=DIR; repeatable."
            ),
        ],
        scale: Annotated[
            Scale, typer.Option(help="The paper's networks, or the same rows on the light backbone, for a laptop.")
        ] = "full",
        steps: Annotated[
            int | None, typer.Option(metavar="N", min=1, help="Length of each training. [the preset's]")
        ] = None,
        frames: Annotated[
            int, typer.Option(metavar="N", min=0, help="At most so many frames of a sequence; 0: all.")
        ] = 0,
        seeds: Annotated[
            int, typer.Option(metavar="N", min=1, max=1000, help="Trainings of each row, with other seeds.")
        ] = 1,
        row: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this row; repeatable.")] = None,
        settings: Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                metavar="KEY=VALUE",
                help="Change a setting of all rows but those that set it themselves; repeatable.",
            ),
        ] = None,
        device: Device = "cpu",
        processes: Annotated[
            int, typer.Option(metavar="N", min=1, max=1024, help="Rows at a time, each in a process of one thread.")
        ] = 1,
        cluster: Cluster = None,
    ) -> None:
        from siamtrack.evaluation.jobs import Workers
        from siamtrack.studies.runner import StudyRun

        check_out(out)
        places: dict[str, Path] = {}
        for text in (part for given in suites for part in given.split(",")):
            suite, equals, place = text.partition("=")
            if not (suite and equals and place):
                raise InputError(f"--suites expects NAME=DIR,NAME=DIR, as vot2018=DIR; got '{text}'")
            if suite in places:
                raise InputError(f"--suites names '{suite}' twice, {places[suite]} and {place}; leave one out")
            places[suite] = Path(place)
        plan = StudyRun(
            found, data, places, out, scale, steps, frames, tuple(range(seeds)),
            parse_settings(settings or []), tuple(row or ()), device,
        )  # fmt: skip
        # an hour without a row of the log is a hang
        _run_rows(plan, Workers(processes if processes > 1 else 0, cluster, limit=3600.0))

    run.__doc__ = (
        f"{found.item}: {found.shows}.\n\nTrains and evaluates each row, and writes table.csv and table.md with the "
        "paper's numbers beside ours. What was done is not done again when the command is given again."
    )
    return run


def _figure_command(found: Study) -> Callable[..., None]:
    """The command that draws a figure of insides."""

    def run(
        model: _Model, clips: _Clips, out: _Picture, frames: _Frames = 6, limit: _Limit = 4, device: Device = "cpu"
    ) -> None:
        figure(found.figure, model, clips, out, frames, limit, device)

    run.__doc__ = f"{found.item}: {found.shows}, of any model and sequences."
    return run


def _telling_command(found: Study) -> Callable[..., None]:
    """The command of a table or figure that other commands make: it says how."""

    def run() -> None:
        typer.echo(f"{found.item}: {found.shows}\n   {found.run}")

    run.__doc__ = f"{found.item}: {found.shows}; says how it is made."
    return run


def _run_rows(plan: StudyRun, workers: Workers) -> None:
    from siamtrack.evaluation.suites import find_suite
    from siamtrack.studies.runner import RowJob, jobs_of, open_rows, row_preset, write_table

    for suite in plan.suites:
        find_suite(suite)  # a wrong name is told before anything is trained
    jobs = jobs_of(plan)
    # A setting that does not fit one of the rows is told before anything is trained, too.
    steps = {(job.trained, job.seed): row_preset(plan, job.trained, job.seed).train.steps for job in jobs}

    def about(job: RowJob) -> tuple[str, int]:
        count = steps[job.trained, job.seed]
        return f"{job.trained}, seed {job.seed}: {count} steps", count

    def finished(whole: bool) -> bool:
        if whole:
            write_table(plan)
        return whole

    _run_trainings(partial(open_rows, plan), jobs, workers, about, finished)
    print_columns(write_table(plan))
    typer.echo(f"table: {plan.out / 'table.csv'}, {plan.out / 'table.md'}")


def _run_trainings(
    open_work: Callable[..., Callable[[Job, Beat], Value]],
    jobs: Sequence[Job],
    workers: Workers,
    about: Callable[[Job], tuple[str, int]],
    finished: Callable[[Value], bool],
) -> None:
    """Run trainings as jobs; those of this process show their progress and are stopped, with a checkpoint, by Ctrl-C.

    Args:
        open_work: as `run_jobs` takes it; in this process it is given `report` and `stop`.
        jobs: one training each.
        workers: where they run.
        about: a line that says what a job is, and its number of steps.
        finished: called with each job's result; whether it was trained to its end.
    """
    from siamtrack.apps.cli.interrupts import Interrupts
    from siamtrack.evaluation.jobs import Event, Failed, Finished, Started
    from siamtrack.evaluation.pool import run_jobs

    here = workers.processes == 0 and workers.cluster is None
    rows: list[Callable[[dict[str, float]], None]] = []
    with ExitStack() as stack, ExitStack() as shown:

        def on_event(event: Event[Job, Value]) -> None:
            if isinstance(event, Started):
                line, steps = about(event.job)
                typer.echo(line)
                if here:
                    rows.append(shown.enter_context(training(steps)))
            elif isinstance(event, Failed):
                raise event.error
            elif isinstance(event, Finished):
                shown.close()
                if not finished(event.value):
                    typer.echo("stopped with a checkpoint; give the same command to go on")
                    raise typer.Exit(130)

        if here:
            interrupts = stack.enter_context(Interrupts())
            interrupts.hold()
            open_work = partial(open_work, report=lambda row: rows[-1](row), stop=lambda: bool(interrupts.pending))
        run_jobs(open_work, jobs, workers, on_event)


@study.command()
def figure(
    kind: Annotated[
        str, typer.Argument(help="channels, attention, responses, scores or recall; `study list` says of which figure.")
    ],
    model: _Model,
    clips: _Clips,
    out: _Picture,
    frames: _Frames = 6,
    limit: _Limit = 4,
    device: Device = "cpu",
) -> None:
    """Draw what is inside a model: what its channels, its attention and its candidates do on some sequences."""
    from siamtrack.studies.figures import draw_figure

    draw_figure(kind, model, clips, out, frames, limit, device)
    typer.echo(f"picture: {out}")


@study.command("center-bias")
def center_bias(
    data: Annotated[Path, typer.Option(metavar="DIR", help="A folder of shards (*.tar).")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where networks, numbers and the picture go.")],
    shift: Annotated[
        list[int] | None,
        typer.Option(metavar="PX", min=0, max=64, help="Train with this shift; repeatable; 0, 16, 32 and 64."),
    ] = None,
    val: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Sequences (NAME/img/*, NAME/groundtruth.txt) to track.")
    ] = None,
    settings: Settings = None,
    crops: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Test crops with placed targets.")] = 512,
    device: Device = "cpu",
    processes: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=1024, help="Shifts trained at a time, each in a process of one thread."),
    ] = 1,
    cluster: Cluster = None,
) -> None:
    """Show how the targets' places in training bias a padded network (SiamRPN++, figures 1 and 2).

    A shift that was stopped goes on where it was when the command is given again; with --shift the parts
    can be done one by one. The picture, center_bias.png, shows all that have been measured.
    """
    from siamtrack.evaluation.jobs import Workers
    from siamtrack.studies.center_bias import ShiftStudy, open_study, plot_bias, read_results

    check_out(out)
    whole = ShiftStudy(data, out, parse_settings(settings or []), val, crops, device)
    steps = whole.preset.train.steps
    # an hour without a row of the log is a hang
    workers = Workers(processes if processes > 1 else 0, cluster, limit=3600.0)

    _run_trainings(
        partial(open_study, whole),
        shift or (0, 16, 32, 64),
        workers,
        about=lambda job: (f"shift {job}: {steps} steps", steps),
        finished=lambda bias: bias is not None,
    )
    results, picture = read_results(out), out / "center_bias.png"
    typer.echo("shift  middle  found at <=16  <=32  <=64 px  success")
    for bias in results:
        hits = "  ".join(f"{value:.3f}" for value in bias.hits)
        success = "-" if bias.success is None else f"{bias.success:.3f}"
        typer.echo(f"{bias.shift:5d}  {bias.middle:6.2f}  {hits}  {success}")
    plot_bias(results, picture)
    typer.echo(f"picture: {picture}")


for _found in STUDIES.values():
    _make = _rows_command if _found.rows else _figure_command if _found.figure else _telling_command
    for _name in (_found.name, *_found.aliases):
        study.command(_name, hidden=_name != _found.name)(_make(_found))
