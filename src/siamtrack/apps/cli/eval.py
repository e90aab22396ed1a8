"""`siamtrack eval`: run trackers on a benchmark, score them and keep everything in a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siamtrack.apps.cli.options import (
    Cluster,
    Device,
    Engine,
    PresetName,
    Processes,
    Settings,
    check_out,
    parse_settings,
)
from siamtrack.apps.cli.progress import Display, EvaluationBoard, loading, print_columns
from siamtrack.errors import ConfigError

if TYPE_CHECKING:
    from siamtrack.evaluation.evaluate import Evaluation


def eval_command(
    model: Annotated[
        list[str],
        typer.Argument(
            help="What to evaluate: a shipped model's name, a .safetensors or an exported file, or opencv:csrt, "
            "opencv:kcf, opencv:mil, opencv:nano=BACKBONE.onnx,HEAD.onnx. Several are run one after the other."
        ),
    ],
    suite: Annotated[str, typer.Option(help="What to run: otb100, vot2018, lasot, got10k-val, folder, ..")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="The data set, as it is distributed.")],
    out: Annotated[
        str,
        typer.Option(metavar="DIR", help="Where results and scores are kept: a folder, or a URL as s3://bucket/out."),
    ],
    rules: Annotated[
        str | None, typer.Option(help="The scorer; by default the suite's own. See `siamtrack score --help`.")
    ] = None,
    processes: Processes = None,
    cluster: Cluster = None,
    preset: PresetName = None,
    settings: Settings = None,
    device: Device = "cpu",
    engine: Engine = "auto",
    limit: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="A frame that takes longer counts as a hang.")
    ] = 120.0,
    tracker_fps: Annotated[
        float | None,
        typer.Option(metavar="FPS", min=0.1, help="For real-time suites: assume this speed, do not measure."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers that a tracker may draw.")] = 0,
) -> None:
    """Run trackers on a benchmark and print their scores and speed.

    Results are kept in OUT/<tracker>/<suite>. What is there already is not run again, so a run that was
    stopped goes on where it was; a store of other settings is refused. Exit code 1 if a sequence failed.
    """
    from siamtrack.evaluation.evaluate import evaluate, open_store, pending, read_suite
    from siamtrack.evaluation.jobs import Workers
    from siamtrack.evaluation.scoring import scoring_task
    from siamtrack.evaluation.suites import find_suite, with_speed
    from siamtrack.evaluation.trackers import find_tracker
    from siamtrack.storage import parse_place

    chosen = find_suite(suite)
    if tracker_fps is not None:
        chosen = with_speed(chosen, tracker_fps)
    scoring_task(chosen, rules)
    changes = parse_settings(settings or [])
    with loading(", ".join(model)):
        specs = [find_tracker(name, device, preset, changes, engine) for name in model]
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise ConfigError(f"two models are called '{twice}'; their results would share a folder, rename one")
    sequences = read_suite(chosen, data)
    place = parse_place(out)
    if isinstance(place, Path):
        check_out(place)
    count = processes or (1 if device.startswith("cuda") else os.cpu_count() or 1)
    workers = Workers(count, cluster, limit)
    found = []
    for spec in specs:
        store = open_store(spec, chosen, place, seed)
        todo = pending(store, chosen, sequences)
        with Display("frames") as display:
            title, named = f"{spec.name} on {chosen.name}", spec.name if len(specs) > 1 else ""
            board = EvaluationBoard(display, title, len(todo), sum(map(len, todo)), named)
            found.append(evaluate(spec, chosen, sequences, store, workers, board.watch, rules))
    _print(found)
    if any(e.failures for e in found):
        raise typer.Exit(1)


def _column(name: str, values: list[float], digits: int) -> list[str]:
    """A column of the table, all numbers with as many digits: one behind the point where one of them is 10 or more."""
    digits = 1 if any(abs(value) >= 10 for value in values) else digits
    return [name, *("-" if value != value else f"{value:.{digits}f}" for value in values)]


def _print(found: list[Evaluation]) -> None:
    """Print a table of all trackers in plain columns, then what went wrong and where it lies."""
    scored = [e for e in found if e.scores is not None]
    if scored:
        assert scored[0].scores is not None
        head = scored[0].scores
        typer.echo(f"{head.suite} by {head.rules} rules, {len(head.sequences)} sequences")

    nan = float("nan")
    metrics = list(dict.fromkeys(m for e in scored if e.scores for m in e.scores.metrics))
    columns = {m: [e.scores.metrics.get(m, nan) if e.scores else nan for e in found] for m in metrics}
    shown = [_column(name, values, 4) for name, values in columns.items()]
    shown.append(_column("fps", [e.speed.tracker if e.speed else nan for e in found], 2))
    shown.append(_column("network fps", [e.speed.network if e.speed else nan for e in found], 2))
    names = ["tracker", *(e.tracker for e in found)]
    print_columns([list(row) for row in zip(names, *shown, strict=True)], right=range(1, len(shown) + 1))
    for e in found:
        typer.echo(f"results: {e.folder}")
        for failure in e.failures:
            typer.echo(f"failed: {failure.sequence} ({failure.kind}): {failure.message}", err=True)
        if e.failures:
            typer.echo("run the same command again to try the failed sequences anew", err=True)
