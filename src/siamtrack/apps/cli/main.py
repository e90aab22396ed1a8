"""The `siamtrack` program: gathers the commands and turns errors into one line and exit code 2."""

from __future__ import annotations

import io
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from siamtrack import __version__
from siamtrack.apps.cli.app import app_command
from siamtrack.apps.cli.data import data
from siamtrack.apps.cli.eval import eval_command
from siamtrack.apps.cli.export import export_command
from siamtrack.apps.cli.interrupts import ends_while_importing
from siamtrack.apps.cli.models import import_command, models
from siamtrack.apps.cli.results import report_command, score_command, submit_command
from siamtrack.apps.cli.study import study
from siamtrack.apps.cli.surroundings import forget_strange_variables, library_that_failed, strange_variable
from siamtrack.apps.cli.track import demo, track
from siamtrack.apps.cli.train import train
from siamtrack.apps.cli.tune import tune_command
from siamtrack.errors import ConfigError, InputError, SiamtrackError, missing_torch, reason, shown
from siamtrack.runtime.guard import is_computing

# The base of all that typer finds wrong with arguments: it is exported under this name alone.
_UsageError: Any = typer.BadParameter.__base__

_EXTRAS = {"train": "train", "study": "train", "export": "export"}  # of commands that need more than the extra `torch`

app = typer.Typer(
    name="siamtrack",
    help="Visual object tracking with Siamese networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("track")(track)
app.command("demo")(demo)
app.command("app")(app_command)
app.command("score")(score_command)
app.command("eval")(eval_command)
app.command("report")(report_command)
app.command("submit")(submit_command)
app.command("train")(train)
app.command("tune")(tune_command)
app.command("models")(models)
app.command("import")(import_command)
app.command("export")(export_command)
app.add_typer(study, name="study")
app.add_typer(data, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"siamtrack {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Visual object tracking with Siamese networks."""


def run() -> None:
    """Run the command line and exit: code 2 after one line for bad input, 130 after Ctrl-C."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the program
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may hold what the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    # Pillow's, of pictures that are large or have odd tags: those that cannot be used are refused.
    warnings.filterwarnings("ignore", module=r"PIL\b")
    forget_strange_variables()
    try:
        if wrong := strange_variable():
            raise ConfigError(wrong)
        try:
            Path.cwd()
        except OSError as error:  # deleted: libraries would end the process in ways of their own
            raise InputError(f"the current folder cannot be used ({reason(error)}); change to another one") from None
        with ends_while_importing():
            code = app(prog_name="siamtrack", standalone_mode=False)
    except ModuleNotFoundError as error:
        command = next(iter(sys.argv[1:]), "")
        found = missing_torch(f"`siamtrack {command}`", error, _EXTRAS.get(command, "torch"))
        if found is error:
            raise
        code = _complain(str(found))
    except SiamtrackError as error:
        code = _complain(str(error))
    except OSError as error:
        code = _complain(f"{error.filename}: {reason(error)}" if error.filename else reason(error))
    except _UsageError as error:
        code = _complain(_usage(error))
    except KeyboardInterrupt:
        code = 130
    except SystemExit as error:  # rich's, where nobody reads what it shows, or an outside tracker's
        code = error.code if isinstance(error.code, int | None) else _complain(str(error.code))
    except Exception as error:
        if _is_lack_of_memory(error):
            code = _complain("not enough memory here; expected smaller images, crops, batches or files")
        elif library := library_that_failed(error):
            why = "a variable of the environment, or a file of its settings, may be why"
            code = _complain(f"{library} cannot be loaded here: {reason(error)}; {why}")
        else:
            raise
    if code == 130:
        _complain("interrupted")
    code = _flush(code or 0)
    grouped = os.environ.get("WORLD_SIZE", "1") != "1" and "torch.distributed" in sys.modules
    if grouped or is_computing():
        end_process(code)
    sys.exit(code)


def _flush(code: int) -> int:
    """Write out what was printed, and return the code to end with; at its end Python itself would show a traceback."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            with suppress(OSError, ValueError):  # what cannot be written goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or (1 if isinstance(error, BrokenPipeError) else _complain(f"cannot print: {reason(error)}"))
    return code


def end_process(code: int) -> NoReturn:
    """End this process at once, when its output is written; threads of libraries may still run.

    While Python cleans up they can abort it: those of a graph that was given up, and gloo's, which
    DistributedDataParallel keeps beyond the end of the group ("terminate called without an active exception").
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # closed, or none
            stream.flush()
    os._exit(code)


def _usage(error: Any) -> str:
    """What is wrong with the arguments; where there were none, the help was shown before."""
    message: str = error.format_message().replace(": Value error, ", ": ")  # pydantic's, which typer leaves in
    if type(error).__name__ == "NoArgsIsHelpError":
        message = "expected one of these commands"
    if error.ctx is None:
        return message
    return f"{message.rstrip('.')} (see '{error.ctx.command_path} --help')"


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether that is what Python, torch or OpenCV complain of, each in its own way."""
    words = ("can't allocate memory", "out of memory", "Insufficient memory", "bad alloc")
    return isinstance(error, MemoryError) or any(said in str(error) for said in words)


def _complain(message: str) -> int:
    if line := shown(message):
        with suppress(OSError):  # nobody listens
            print(f"siamtrack: {line}", file=sys.stderr)
    return 2
