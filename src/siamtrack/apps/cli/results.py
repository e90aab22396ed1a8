"""Commands on results: `score` raw files, `report` a page of evaluations, `submit` to a server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siamtrack.apps.cli.options import Overwrite
from siamtrack.apps.cli.progress import print_columns
from siamtrack.errors import ConfigError, InputError

if TYPE_CHECKING:
    from siamtrack.evaluation.submit import Server
    from siamtrack.metrics.scores import Scores


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


def _cell(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:.1f}"


def _print(scores: Scores, per_sequence: bool) -> None:
    """Print the metrics as plain aligned columns, which survive a pipe."""
    typer.echo(f"{scores.suite} by {scores.rules} rules, {len(scores.sequences)} sequences")
    if scores.left_out:
        typer.echo(f"left out: {', '.join(scores.left_out)}")
    print_columns([["", name, _cell(value)] for name, value in scores.metrics.items()])
    if per_sequence:
        names = list(next(iter(scores.sequences.values()), {}))
        first = max((len(s) for s in scores.sequences), default=8)
        typer.echo("\n" + " " * first + "".join(f"  {n:>{max(len(n), 8)}}" for n in names))
        for seq, metrics in scores.sequences.items():
            typer.echo(f"{seq:<{first}}" + "".join(f"  {_cell(metrics[n]):>{max(len(n), 8)}}" for n in names))


def report_command(
    results: Annotated[
        list[str],
        typer.Argument(
            help="What `siamtrack eval` kept: OUT, OUT/<tracker> or OUT/<tracker>/<suite>, a folder or a URL. "
            "With --suite and --truth also raw results of other programs, a folder or zip file for each tracker."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where index.html, plots and clips go.")],
    title: Annotated[str, typer.Option(help="The page's heading.")] = "Tracking results",
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SUITE=]DIR",
            help="The data set; clips of truth and trackers are drawn from its frames. With several suites once for "
            "each, as --data otb100=DIR.",
        ),
    ] = None,
    clips: Annotated[
        str,
        typer.Option(
            metavar="N|all|NAMES",
            help="With --data: how many clips of the sequences in which trackers differ most, or all, or names "
            "between commas.",
        ),
    ] = "10",
    suite: Annotated[str | None, typer.Option(help="The benchmark of raw results.")] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="DIR|ZIP", help="The annotation that raw results are scored by.")
    ] = None,
    rules: Annotated[str | None, typer.Option(help="The scorer of raw results; by default the suite's own.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a page with plots and tables of all trackers in RESULTS, which needs no network to be read.

    A section for each suite and set of rules: scores by different rules are not set side by side.
    """
    from siamtrack.report import RawSource, write_report
    from siamtrack.storage import parse_place

    if (suite is None) != (truth is None):
        raise ConfigError("raw results need both --suite and --truth")
    if rules is not None and suite is None:
        raise ConfigError("--rules is for raw results; stored ones keep the rules that they were scored by")
    raw = RawSource(suite, truth, rules) if suite is not None and truth is not None else None

    places, tell = [parse_place(place) for place in results], partial(typer.echo, err=True)
    chosen = _places(data)
    report = write_report(places, out, title=title, raw=raw, data=chosen, clips=clips, tell=tell, overwrite=overwrite)
    counted = f", {len(report.clips)} clips" if data else ""
    typer.echo(f"{report.page} ({report.plots} plots{counted})")


def _places(data: list[str] | None) -> dict[str, Path] | Path | None:
    """The data sets by suite, or the one without a name; a folder may have "=" in its own name."""
    if not data:
        return None
    named = {text.partition("=")[0]: Path(text.partition("=")[2]) for text in data if "=" in text}
    if len(data) == 1 and (not named or Path(data[0]).exists()):
        return Path(data[0])
    if len(named) < len(data):
        raise ConfigError("several --data need the suite of each, once: --data otb100=DIR --data lasot=DIR")
    return named


def submit_command(
    results: Annotated[
        str, typer.Argument(help="What `siamtrack eval` kept, OUT/<tracker>/<suite>; with --check the file to be sent.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.zip", help="Where to pack to; by default <tracker>-<server>.zip here.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say why the server would reject a zip file or folder.")
    ] = False,
    server: Annotated[
        str | None, typer.Option(help="got10k or trackingnet; by default the one that the results are for.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The data set; names and numbers of frames are then checked too.")
    ] = None,
) -> None:
    """Pack results for the servers of GOT-10k (test) and TrackingNet, in the format that they take.

    What the server would reject is not packed. With --check the exit code is 1 if there is a reason to
    reject.
    """
    from siamtrack.evaluation.evaluate import read_suite
    from siamtrack.evaluation.submit import check_submission, find_server, guess_server, pack, stored_server
    from siamtrack.evaluation.suites import find_suite
    from siamtrack.storage import parse_place

    def lengths(server: Server) -> dict[str, int] | None:
        """The frames of each sequence of the data set, None without one."""
        return {s.name: len(s) for s in read_suite(find_suite(server.suite), data)} if data is not None else None

    place = parse_place(results)
    if isinstance(place, Path) and not place.exists():
        raise InputError(f"no such file or folder: '{results}'")
    if not check:
        chosen = stored_server(place)
        if server is not None and find_server(server) != chosen:
            raise InputError(f"these results are for the {chosen.name} server, not for '{server}'")
        if out is not None and out.suffix != ".zip":
            raise InputError(f"--out expects a file that ends in .zip; got {out}")
        tracker = Path(place).resolve().parent.name
        target = out or Path(f"{tracker}-{chosen.name}.zip")
        pack(place, target, lengths(chosen))
        typer.echo(f"packed for the {chosen.name} server: {target}")
        return
    if not isinstance(place, Path):
        raise InputError(f"--check expects a file or folder of this machine; '{results}' is a URL")
    chosen = find_server(server) if server is not None else guess_server(place)
    problems = check_submission(place, chosen, lengths(chosen))
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"the {chosen.name} server would take {results}")
