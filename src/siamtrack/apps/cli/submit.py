"""`siamtrack submit`: pack results for an evaluation server, or say why it would reject a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siamtrack.errors import InputError

if TYPE_CHECKING:
    from siamtrack.evaluation.submit import Server

__all__ = ["submit_command"]


def submit_command(
    results: Annotated[
        str,
        typer.Argument(help="What `siamtrack eval` kept, OUT/<tracker>/<suite>; with --check the file to be sent."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.zip", help="Where to pack to; by default <tracker>-<server>.zip here."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say why the server would reject a zip file or folder.")
    ] = False,
    server: Annotated[
        str | None, typer.Option(help="got10k or trackingnet; by default the one that the results are for.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The data set; names and numbers of frames are then checked too."),
    ] = None,
) -> None:
    """Pack results for the servers of GOT-10k (test) and TrackingNet, in the format that they take.

    What the server would reject is not packed. With --check the exit code is 1 if there is a reason to
    reject.
    """
    from siamtrack.evaluation.submit import check_submission, find_server, guess_server, pack, stored_server
    from siamtrack.storage import parse_place

    place = parse_place(results)
    if isinstance(place, Path) and not place.exists():
        raise InputError(f"no such file or folder: '{results}'")
    if not check:
        chosen = stored_server(place)
        if server is not None and find_server(server) != chosen:
            raise InputError(f"these results are for the {chosen.name} server, not for '{server}'")
        tracker = Path(place).resolve().parent.name
        target = out or Path(f"{tracker}-{chosen.name}.zip")
        pack(place, target, _lengths(chosen, data))
        typer.echo(f"packed for the {chosen.name} server: {target}")
        return
    if not isinstance(place, Path):
        raise InputError(f"--check expects a file or folder of this machine; '{results}' is a URL")
    chosen = find_server(server) if server is not None else guess_server(place)
    problems = check_submission(place, chosen, _lengths(chosen, data))
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"the {chosen.name} server would take {results}")


def _lengths(server: Server, data: Path | None) -> dict[str, int] | None:
    """Return the frames of each sequence of the data set, None without one."""
    if data is None:
        return None
    from siamtrack.evaluation.evaluate import read_suite
    from siamtrack.evaluation.suites import find_suite

    return {sequence.name: len(sequence) for sequence in read_suite(find_suite(server.suite), data)}
