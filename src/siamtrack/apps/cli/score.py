"""`siamtrack score`: score any tracker's raw result files by a benchmark's official rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from siamtrack.metrics.scores import Scores

__all__ = ["score_command"]


def _cell(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:.1f}"


def _print(scores: Scores, per_sequence: bool) -> None:
    """Print the metrics as plain aligned columns, which survive a pipe."""
    typer.echo(f"{scores.suite} by {scores.rules} rules, {len(scores.sequences)} sequences")
    if scores.left_out:
        typer.echo(f"left out: {', '.join(scores.left_out)}")
    wide = max(len(name) for name in scores.metrics)
    for name, value in scores.metrics.items():
        typer.echo(f"  {name:<{wide}}  {_cell(value)}")
    if per_sequence:
        names = list(next(iter(scores.sequences.values()), {}))
        first = max((len(s) for s in scores.sequences), default=8)
        typer.echo("\n" + " " * first + "".join(f"  {n:>{max(len(n), 8)}}" for n in names))
        for seq, metrics in scores.sequences.items():
            typer.echo(f"{seq:<{first}}" + "".join(f"  {_cell(metrics[n]):>{max(len(n), 8)}}" for n in names))


def score_command(
    suite: Annotated[str, typer.Option(help="The benchmark: otb100, vot2018, lasot, got10k, uav123, ..")],
    truth: Annotated[Path, typer.Option(help="Its annotation: a folder or a zip file.")],
    results: Annotated[Path, typer.Option(help="One tracker's raw results: a folder or a zip file.")],
    rules: Annotated[
        str | None,
        typer.Option(
            help="The scorer: otb, pysot, lasot, got10k, got10k-toolkit, trackingnet, uav123, vot-pysot or "
            "vot-toolkit; by default the suite's own."
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A sequence not to score; may be given several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    per_sequence: Annotated[bool, typer.Option(help="Print every sequence too.")] = False,
) -> None:
    """Score raw result files of any tracker by the official rules, named, of a benchmark.

    A result that the rule's own scorer cannot take is refused with the names of its sequences. Of masks in the
    annotation (VOT-ST 2020 and later) the bounds are scored against, as in VOT's challenge of boxes.
    """
    from siamtrack.evaluation.scoring import score

    scores = score(suite, truth, results, rules, leave_out=leave_out or [])
    if as_json:
        typer.echo(scores.to_json())
    else:
        _print(scores, per_sequence)
