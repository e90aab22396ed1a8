"""`siamtrack tune`: choose a model's tracking hyper-parameters on a development set, by cross-validation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from siamtrack.apps.cli.options import Cluster, Device, PresetName, Processes, Settings, parse_grid, parse_settings
from siamtrack.errors import ConfigError, InputError

if TYPE_CHECKING:
    from siamtrack.formats.sequence import VideoSequence
    from siamtrack.tuning.scores import ModelVariants
    from siamtrack.tuning.tune import Tuning, TuningPlan


def tune_command(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a .safetensors file.")],
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Sequences: NAME/img/*.jpg and NAME/groundtruth.txt, or as --suite says."),
    ],
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
    suite: Annotated[
        str, typer.Option(help="The suite of `eval` that the sequences are of: one pass by OTB's rules, as tc128.")
    ] = "folder",
    search: Annotated[
        Literal["grid", "coordinate"],
        typer.Option(help="All combinations, or one key after the other: faster, coarser."),
    ] = "grid",
    folds: Annotated[
        int | None, typer.Option(metavar="K", min=2, help="Of the cross-validation; by default 5.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sharing out into folds.")] = 0,
    preset: PresetName = None,
    settings: Settings = None,
    device: Device = "cpu",
    processes: Processes = None,
    cluster: Cluster = None,
) -> None:
    """Choose tracking hyper-parameters on a development set, and measure their gain by cross-validation.

    Every finished run is kept: after Ctrl-C or a kill the same command goes on where it was.
    """
    from siamtrack.evaluation.evaluate import read_suite
    from siamtrack.evaluation.jobs import Workers
    from siamtrack.evaluation.suites import find_suite
    from siamtrack.io import write_whole
    from siamtrack.tuning.search import default_grid, fold_names, make_space
    from siamtrack.tuning.tune import TuningPlan, as_dict, as_lines, as_toml

    if out.suffix != ".toml":
        raise InputError(f"--out expects a .toml file; got '{out}'")
    kept = out.with_suffix(".scores.jsonl")
    table = out.with_suffix(".json")
    for path in (out, table):
        if path.is_dir() or (path.exists() and not kept.exists()):
            raise InputError(f"--out: {path} is there already and was not made by tune; choose another name")
    chosen = find_suite(suite)
    if chosen.kind != "ope" or chosen.rules not in ("otb", "uav123"):
        raise ConfigError(
            f"tune scores one pass by OTB's rules; {chosen.name} is another kind of suite, take one as tc128"
        )
    wanted = parse_grid(grid or [])
    variants = _find(model, device, preset, settings or [])
    space = make_space(variants.preset, wanted or default_grid(variants.preset))
    workers = processes or (1 if device.startswith("cuda") else os.cpu_count() or 1)
    plan = TuningPlan(space, search, folds, seed, Workers(workers if workers > 1 else 0, cluster))
    sequences = read_suite(chosen, data)
    fold_names([s.name for s in sequences], folds)  # too few sequences are told before anything is written
    found = _tune(variants, sequences, plan, kept)
    write_whole(table, json.dumps(as_dict(found, variants.name), indent=1) + "\n")
    write_whole(out, as_toml(found, variants.name))
    for line in as_lines(found):
        typer.echo(line)
    typer.echo(f"written: {out}, {table}, {kept}")


def _tune(variants: ModelVariants, sequences: list[VideoSequence], plan: TuningPlan, kept: Path) -> Tuning:
    """Tune with progress; every score goes into the ledger `kept`, so that Ctrl-C, which raises `Exit`, loses none."""
    from siamtrack.apps.cli.progress import Display, TuningBoard
    from siamtrack.tuning.scores import Ledger
    from siamtrack.tuning.tune import tune

    ledger = Ledger.open(kept, {**variants.identity, "rules": "otb"})
    frames, settings = sum(map(len, sequences)), len(plan.space.settings())
    way = "" if plan.kind == "grid" else "one key after the other, of "
    typer.echo(f"{len(sequences)} sequences of {frames} frames; {way}{settings} settings")
    try:
        with Display("frames") as display:
            return tune(variants, sequences, plan, ledger, TuningBoard(display))
    except KeyboardInterrupt:
        typer.echo(f"stopped; {len(ledger)} scores are kept in {kept}: give the same command to go on", err=True)
        raise typer.Exit(130) from None


def _find(model: str, device: str, preset: str | None, settings: list[str]) -> ModelVariants:
    from siamtrack.evaluation.trackers import find_tracker
    from siamtrack.tuning.scores import ModelVariants

    if model.startswith("opencv:"):
        raise ConfigError(f"tune expects a siamtrack model; '{model}' has no preset to tune")
    return ModelVariants(find_tracker(model, device, preset, parse_settings(settings), engine="torch"))
