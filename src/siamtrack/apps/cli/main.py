"""The `siamtrack` program: gathers the commands and turns errors into one line and exit code 2."""

from __future__ import annotations

import sys

import typer

from siamtrack.apps.cli.demo import demo
from siamtrack.apps.cli.eval import eval_command
from siamtrack.apps.cli.models import models
from siamtrack.apps.cli.score import score_command
from siamtrack.apps.cli.study import study
from siamtrack.apps.cli.submit import submit_command
from siamtrack.apps.cli.track import track
from siamtrack.apps.cli.train import train
from siamtrack.apps.cli.tune import tune_command
from siamtrack.errors import SiamtrackError

__all__ = ["app", "run"]

app = typer.Typer(
    name="siamtrack",
    help="Visual object tracking with Siamese networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command("track")(track)
app.command("demo")(demo)
app.command("score")(score_command)
app.command("eval")(eval_command)
app.command("submit")(submit_command)
app.command("train")(train)
app.command("tune")(tune_command)
app.command("models")(models)
app.add_typer(study, name="study")


@app.callback()
def _main() -> None:
    """Visual object tracking with Siamese networks."""


def run() -> None:
    """Run the command line: exit code 2 and one line for bad input, 130 after Ctrl-C."""
    try:
        app()
    except SiamtrackError as error:
        print(f"siamtrack: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("siamtrack: interrupted", file=sys.stderr)
        sys.exit(130)
