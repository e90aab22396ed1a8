"""`siamtrack study`: experiments of the papers, small enough to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from siamtrack.studies.center_bias import Bias

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
) -> None:
    """Show how the targets' places in training bias a padded network (SiamRPN++, figures 1 and 2).

    A shift that was stopped goes on where it was when the command is given again; with --shift the parts
    can be done one by one. The picture, center_bias.png, shows all that have been measured.
    """
    from siamtrack.apps.cli.interrupts import Interrupts
    from siamtrack.apps.cli.progress import training
    from siamtrack.config import parse_settings
    from siamtrack.data.resident import ResidentSet
    from siamtrack.studies.center_bias import bias_preset, plot_bias, read_results, run_shift
    from siamtrack.training.validate import find_clips

    overrides = parse_settings(settings or [])
    preset = bias_preset(out, 0, overrides)
    clips = find_clips(val, preset.train.validate_frames) if val else ()
    loaded = ResidentSet.load(data)
    for pixels in shift or (0, 16, 32, 64):
        typer.echo(f"shift {pixels}: {preset.train.steps} steps")
        with ExitStack() as stack:
            report = stack.enter_context(training(preset.train.steps))
            interrupts = stack.enter_context(Interrupts())
            interrupts.hold()
            stop = partial(getattr, interrupts, "pending")
            found = run_shift(out, loaded, pixels, overrides, clips, crops, device, report, stop)
        if found is None:
            typer.echo("stopped with a checkpoint; give the same command to go on")
            raise typer.Exit(130)
    results, picture = read_results(out), out / "center_bias.png"
    _show(results)
    plot_bias(results, picture)
    typer.echo(f"picture: {picture}")


def _show(results: Sequence[Bias]) -> None:
    typer.echo("shift  middle  found at <=16  <=32  <=64 px  success")
    for bias in results:
        hits = "  ".join(f"{value:.3f}" for value in bias.hits)
        success = "-" if bias.success is None else f"{bias.success:.3f}"
        typer.echo(f"{bias.shift:5d}  {bias.middle:6.2f}  {hits}  {success}")
