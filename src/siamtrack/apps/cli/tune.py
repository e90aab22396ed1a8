"""`siamtrack tune`: find a model's tracking hyper-parameters on a development set, honestly measured."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siamtrack.errors import ConfigError, InputError

if TYPE_CHECKING:
    from siamtrack.formats.sequence import VideoSequence
    from siamtrack.tuning.scorer import ModelVariants
    from siamtrack.tuning.tune import Tuning, TuningPlan

__all__ = ["tune_command"]


class _Search(StrEnum):
    grid = "grid"
    coordinate = "coordinate"


def tune_command(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a .safetensors file.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Sequences: NAME/img/*.jpg and NAME/groundtruth.txt.")],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE.toml", help="The values to paste into a preset; .json and .scores.jsonl beside it."),
    ],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V,V,..",
            help="Values to try, as track.window=0.3,0.4,0.5; repeatable, all combinations are tried.",
        ),
    ] = None,
    search: Annotated[
        _Search, typer.Option(help="All combinations, or one key after the other: faster, coarser.")
    ] = _Search.grid,
    folds: Annotated[
        int | None, typer.Option(metavar="K", min=2, help="Of the cross-validation; by default 5.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sharing out into folds.")] = 0,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Settings in place of those stored with the weights.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as track.rate=0.3; repeatable."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the network runs.")] = "cpu",
    processes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Workers; by default one a core, one on a GPU.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run on the workers of this Dask scheduler, as tcp://host:8786."),
    ] = None,
) -> None:
    """Choose tracking hyper-parameters on a development set, and say by cross-validation what they are worth.

    Every finished run is kept: after Ctrl-C or a kill the same command goes on where it was.
    """
    from siamtrack.config import parse_grid
    from siamtrack.evaluation.jobs import Workers
    from siamtrack.tuning.space import default_grid, make_space
    from siamtrack.tuning.tune import TuningPlan

    kept = _ledger_path(out)
    wanted = parse_grid(grid or [])
    variants = _find(model, device, preset, settings or [])
    space = make_space(variants.preset, wanted or default_grid(variants.preset))
    workers = processes or (1 if device.startswith("cuda") else os.cpu_count() or 1)
    plan = TuningPlan(space, search.value, folds, seed, Workers(workers if workers > 1 else 0, cluster))
    found = _tune(variants, _sequences(data, folds), plan, kept)
    _write(found, variants.name, out)


def _sequences(data: Path, folds: int | None) -> list[VideoSequence]:
    """The development set; that it is too small for the folds is told before anything is written."""
    from siamtrack.evaluation.evaluate import read_suite
    from siamtrack.evaluation.suites import find_suite
    from siamtrack.tuning.search import fold_names

    sequences = read_suite(find_suite("folder"), data)
    fold_names([s.name for s in sequences], folds)
    return sequences


def _tune(variants: ModelVariants, sequences: list[VideoSequence], plan: TuningPlan, kept: Path) -> Tuning:
    """Tune with progress on the terminal; every score goes into the ledger `kept`, from which Ctrl-C can be made good.

    Raises:
        Exit: Ctrl-C, after a line that says how to go on.
    """
    from siamtrack.apps.cli.progress import TuningBoard
    from siamtrack.tuning.ledger import Ledger
    from siamtrack.tuning.tune import tune

    ledger = Ledger.open(kept, {**variants.identity, "rules": "otb"})
    frames, settings = sum(map(len, sequences)), len(plan.space.settings())
    way = "" if plan.kind == "grid" else "one key after the other, of "
    typer.echo(f"{len(sequences)} sequences of {frames} frames; {way}{settings} settings")
    try:
        with TuningBoard() as board:
            return tune(variants, sequences, plan, ledger, board)
    except KeyboardInterrupt:
        typer.echo(f"stopped; {len(ledger)} scores are kept in {kept}: give the same command to go on", err=True)
        raise typer.Exit(130) from None


def _write(found: Tuning, model: str, out: Path) -> None:
    """Write `out` and the .json beside it, and print what was found."""
    from siamtrack.io import write_whole
    from siamtrack.tuning.tune import as_dict, as_lines, as_toml

    write_whole(out.with_suffix(".json"), json.dumps(as_dict(found, model), indent=1) + "\n")
    write_whole(out, as_toml(found, model))
    for line in as_lines(found):
        typer.echo(line)
    typer.echo(f"written: {out}")


def _ledger_path(out: Path) -> Path:
    """Where the scores go.

    Raises:
        InputError: `out` is no .toml, or a file that this command did not write.
    """
    if out.suffix != ".toml":
        raise InputError(f"--out expects a .toml file; got '{out}'")
    path = out.with_suffix(".scores.jsonl")
    if out.is_dir() or (out.exists() and not path.exists()):
        raise InputError(f"--out {out} is there already and was not made by tune; choose another name")
    return path


def _find(model: str, device: str, preset: str | None, settings: list[str]) -> ModelVariants:
    from siamtrack.config import parse_settings
    from siamtrack.evaluation.trackers import find_tracker
    from siamtrack.tuning.scorer import ModelVariants

    if model.startswith("opencv:"):
        raise ConfigError(f"tune expects a siamtrack model; '{model}' has no preset to tune")
    return ModelVariants(find_tracker(model, device, preset, parse_settings(settings)))
