"""`siamtrack train`: train a preset on a folder of shards, go on with a run, or play a failed step again."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamtrack.apps.cli.options import Device, Settings, check_out, parse_settings
from siamtrack.apps.cli.progress import loading, training
from siamtrack.errors import InputError, SiamtrackError

if TYPE_CHECKING:
    import torch

    from siamtrack.config import Jitter, Preset
    from siamtrack.data.pair_source import PairSource
    from siamtrack.training.loop import RunOptions
    from siamtrack.training.preview import DrawnPairs


def train(
    preset: Annotated[
        str | None, typer.Argument(metavar="PRESET", help="A preset's name, or a .toml file; not with --replay.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL", help="Shards (*.tar): a folder, its URL, or a pattern as URL/train-{00..09}.tar."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where checkpoints, log.jsonl and the weights go.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out, if there is one.")
    ] = False,
    settings: Settings = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Train N steps in all and stop there. The learning rate still follows the schedule of "
            "train.steps, so a run may be done in pieces: --steps 9, then --resume --steps 20. To shorten "
            "the schedule itself, use --set train.steps=N; an N beyond train.steps lengthens it to N.",
        ),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Sequences (NAME/img/*, NAME/groundtruth.txt) to track every train.validate_every steps; "
            "the weights that track them best are kept.",
        ),
    ] = None,
    device: Device = "cpu",
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="tensorboard|wandb|trackio", help="Write the log for this program too, into --out; repeatable."
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Play a failed step again, from a file in OUT/failures; then end."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Train nothing: print which pairs are drawn and how they are changed, the schedule, and what a few "
            "steps take here in time and memory.",
        ),
    ] = False,
    memory_check: Annotated[
        bool, typer.Option(help="Refuse a batch for which there is not enough memory, before training.")
    ] = True,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A dry run that also draws pairs with their labels on a page (.png or .jpg)."
        ),
    ] = None,
) -> None:
    """Train a preset's network: --out ends with a .safetensors file that --model accepts.

    Ctrl-C saves a checkpoint. Several processes train together under torchrun.
    """
    with loading("torch"):
        from siamtrack.tracking.torch_engine import check_device

    check_device(device)
    from siamtrack.training.log import check_logs

    check_logs(log or [])
    if replay is not None:
        _replay(replay, device)
        return
    dry_run = dry_run or picture is not None
    if preset is None or data is None or (out is None and not dry_run):
        raise InputError("train needs a preset, --data DIR|URL and --out DIR (or --dry-run); or --replay FILE alone")
    from siamtrack.config import load_preset
    from siamtrack.data.pair_source import open_pairs
    from siamtrack.training.distributed import join_processes
    from siamtrack.training.loop import RunOptions, check_start
    from siamtrack.training.preview import check_gaps
    from siamtrack.training.validate import find_clips

    changes = parse_settings(settings or [])
    chosen = load_preset(preset, changes)
    if steps is not None and steps > chosen.train.steps:
        chosen = load_preset(preset, changes | {"train.steps": steps})
    if out is not None:
        check_out(out)
    if not dry_run:
        check_start(chosen, out, resume)
    until = min(steps or chosen.train.steps, chosen.train.steps)
    with _one_line_warnings(), ExitStack() as stack:
        clips = find_clips(val, chosen.train.validate_frames) if val else ()
        world = stack.enter_context(join_processes(device))
        pairs = open_pairs(data, chosen.crops, chosen.data, world.device(device))
        stack.callback(pairs.close)
        _check_sources(changes, pairs.source_names)
        check_gaps(pairs, chosen)
        if out is None or dry_run:
            typer.echo(f"{data}: {pairs.about}")
            try:
                check_start(chosen, out, resume)
            except SiamtrackError as error:
                typer.echo(f"siamtrack: training would not begin: {error}", err=True)
            _dry_run(chosen, pairs, world.device(device), picture, memory_check)
            return
        if world.main:
            typer.echo(f"{data}: {pairs.about}")
            if not resume:
                drawn = _measured(chosen, pairs)
                typer.echo(
                    f"{_percent(drawn.one_frame)} of the positive pairs show one frame twice"
                    f" ({_percent(drawn.video_one_frame)} of those of objects with several frames);"
                    f" {_percent(drawn.fill)} of the search crops show flat fill"
                )
        options = RunOptions(device, resume, until, clips, world=world, check_memory=memory_check)
        _run(chosen, pairs, out, options, log or [])


def _run(preset: Preset, pairs: PairSource, out: Path, options: RunOptions, logs: Sequence[str]) -> None:
    """Train with progress and logs, which the first process shows; Ctrl-C ends it with a checkpoint and `Exit`."""
    from siamtrack.apps.cli.interrupts import Interrupts
    from siamtrack.training.log import open_log
    from siamtrack.training.loop import train as learn

    with ExitStack() as stack:
        reports: list[Callable[[dict[str, float]], None]] = []
        if options.world.main:
            reports.append(stack.enter_context(training(options.until or preset.train.steps)))
            reports += [stack.enter_context(open_log(name, out)) for name in logs]
        interrupts = stack.enter_context(Interrupts())
        interrupts.hold()

        def report(row: dict[str, float]) -> None:
            for show in reports:
                show(row)

        path = learn(preset, pairs, out, replace(options, report=report, stop=lambda: bool(interrupts.pending)))
        if interrupts.pending:
            again = [*sys.argv[1:], *([] if options.resume else ["--resume"])]
            typer.echo(f"stopped with a checkpoint; go on with: siamtrack {shlex.join(again)}")
            raise typer.Exit(128 + interrupts.came)
    if options.world.main:
        typer.echo(f"weights: {path}")
        named = shlex.quote(str(path))
        typer.echo(f"track with them: siamtrack track VIDEO --box X,Y,W,H --model {named} --video tracked.mp4")
        typer.echo(f"score them:      siamtrack eval {named} --suite folder --data SEQUENCES --out results")


def _measured(preset: Preset, pairs: PairSource) -> DrawnPairs:
    from siamtrack.data.pair_source import ResidentPairs
    from siamtrack.training.preview import measure_pairs

    # A stream has to decode what is drawn.
    return measure_pairs(pairs, preset, 4000 if isinstance(pairs, ResidentPairs) else 256)


def _dry_run(preset: Preset, pairs: PairSource, device: torch.device, picture: Path | None, check_memory: bool) -> None:
    """Print what training would do: pairs, augmentation, schedule, time and memory."""
    from siamtrack.data.pictures import draw_pairs
    from siamtrack.training.preview import measure_pace, stages, trained_stages

    cfg, data = preset.train, preset.data
    drawn = _measured(preset, pairs)
    sources = ", ".join(f"{name} {_percent(share)}" for name, share in drawn.sources.items())
    chances = {
        name: getattr(data, name) for name in ("flip", "grey", "noise", "distract", "occlude", "object_part_prob")
    }
    typer.echo(f"{cfg.steps * cfg.batch} pairs: {cfg.steps} steps of {cfg.batch}; of {drawn.count} drawn ones:")
    for name, said in {
        "sources": sources,
        "negative": _percent(drawn.negative),
        "one frame twice": f"{_percent(drawn.one_frame)} of the positive pairs, "
        f"{_percent(drawn.video_one_frame)} of those of objects with several frames",
        "frames apart": _range(drawn.distance, 0),
        "flat fill": f"{_percent(drawn.fill)} of the search crops, {_percent(drawn.template_fill)} of the templates",
        "other objects": f"in {_percent(drawn.others)} of the search crops",
        "shift, pixels": _range(drawn.shift, 0),
        "scale": _range(drawn.scale, 2),
        "aspect": _range(drawn.aspect, 2),
    }.items():
        typer.echo(f"  {name:16} {said}")
    typer.echo("how crops are changed:")
    blurred = "both crops" if data.blur_templates else "search regions alone"
    for name, said in {
        "search": _jitter(data.search),
        "template": _jitter(data.template),
        "colour": f"brightness, contrast, saturation and balance by up to {data.colour:g}",
        "lighting": f"{_percent(data.lighting)} with an offset along the principal components of colour",
        "blur": f"{_percent(data.blur)}, law '{data.blur_law}', {blurred}",
        "chances": ", ".join(f"{name} {_percent(chance)}" for name, chance in chances.items()),
    }.items():
        typer.echo(f"  {name:16} {said}")
    never, then = trained_stages(preset)
    rates = f"weight decay {cfg.weight_decay:g}; the backbone at {cfg.backbone_rate:g} of the rate"
    typer.echo(f"schedule ({cfg.optimiser}, {rates}):")
    if never:
        typer.echo(f"  never trained: the backbone's {', '.join(never)}")
    for number, stage in enumerate(stages(cfg)):
        part = f"epoch {number + 1:<4}" if cfg.epochs else ""
        trained = f"head and backbone ({', '.join(then)})" if stage.backbone and then else "head"
        typer.echo(f"  {part}step {stage.step:<10} learning rate {stage.rate:<10.3g} {trained}")
    if picture is not None:
        draw_pairs(pairs, preset, picture)
        typer.echo(f"picture: {picture}")
    pace = measure_pace(pairs, preset, device, check_memory=check_memory)
    parts = {"backbone frozen": pace.frozen, "backbone trained": pace.whole}
    paces = ", ".join(f"{seconds:.2f} s a step ({name})" for name, seconds in parts.items() if seconds == seconds)
    typer.echo(f"on {device}: {paces}; about {pace.hours:.1f} hours and {pace.memory / 1e9:.1f} GB of memory")
    if pace.pairs < cfg.batch:
        times = f"{cfg.batch / pace.pairs:g} times that"
        typer.echo(
            f"  timed with {pace.pairs} of {cfg.batch} pairs at once: a step is {times}, and its memory estimated"
        )
    if pace.trial.pairs < cfg.batch:
        typer.echo(
            f"train will refuse this batch: {pace.trial}; --set train.batch={pace.trial.pairs} or less fits, several "
            "GPUs share a batch (torchrun), and --no-memory-check tries it"
        )


def _jitter(jitter: Jitter) -> str:
    """The ranges of a jitter."""
    scale, aspect = 1 + jitter.scale, 1 + jitter.aspect
    if jitter.law == "uniform":
        said = [f"width and height each times {1 - jitter.scale:g} to {scale:g}"]
    elif jitter.law == "log":
        said = [f"size times {1 / scale:.3g} to {scale:g}"]
        said += [f"aspect times {1 / aspect:.3g} to {aspect:g}"] if jitter.aspect else []
    else:
        said = [f"size times {1 - jitter.scale:g} to {scale:g}, whole pixels"]
    said += [f"turned by up to {jitter.turn:g} degrees"] if jitter.turn else []
    said += ["inside the stored crop"] if jitter.inside else []
    return f"shift up to {jitter.shift:g} pixels, {', '.join(said)} (law '{jitter.law}')"


def _percent(share: float) -> str:
    if share != share:  # nan: there are none
        return "none"
    return f"{100 * share:.0f}%" if share in (0, 1) or 0.01 <= share <= 0.99 else f"{100 * share:.3g}%"


def _range(quantiles: Sequence[float], digits: int) -> str:
    low, middle, high = (f"{value:.{digits}f}" for value in quantiles)
    return "none" if low == "nan" else f"{low} to {high} (90% of them), median {middle}"


def _check_sources(changes: dict[str, Any], known: tuple[str, ...] | None) -> None:
    """Check that sources named by --set are in the data; those that a preset names may be of other data."""
    from siamtrack.data.pairs import check_sources

    if known is None:
        return
    for key in ("data.source_weights", "data.gaps"):
        named = [name.removeprefix(f"{key}.") for name in changes if name.startswith(f"{key}.")]
        check_sources([*named, *changes.get(key, ())], known, key)


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show each warning as one line, without its place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda text, *_rest, **_more: typer.echo(f"siamtrack: {text}", err=True)
        yield


def _replay(path: Path, device: str) -> None:
    from siamtrack.training.failure import replay

    found = replay(path, device)
    typer.echo(f"step {found.step} of {path}")
    for name, value in found.terms.items():
        typer.echo(f"  {name}: {value:g} now, {found.recorded[name]:g} recorded")
    typer.echo(f"  gradient: {found.norm:g}")
    typer.echo(f"  first part of the network with a value that is not finite: {found.module or 'none'}")
    for key, value in found.alone:
        typer.echo(f"  {key} alone: {value:g}")
