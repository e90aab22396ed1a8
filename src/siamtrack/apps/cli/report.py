"""`siamtrack report`: one page and its plots from the results of evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from siamtrack.errors import ConfigError

__all__ = ["report_command"]


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
        Path | None,
        typer.Option(metavar="DIR", help="The data set; clips of truth and trackers are drawn from its frames."),
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

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    report = write_report(
        [parse_place(place) for place in results], out, title=title, raw=raw, data=data, clips=clips, tell=tell
    )
    counted = f", {len(report.clips)} clips" if data is not None else ""
    typer.echo(f"{report.page} ({report.plots} plots{counted})")
