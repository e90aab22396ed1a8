"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Cluster", "Device", "Model", "PresetName", "Processes", "Settings"]

Model = Annotated[str, typer.Option(help="A shipped model's name or a weights file.")]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the network runs.")]
PresetName = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME|FILE", help="Settings in place of those stored with the weights."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as track.window=0.3; repeatable."),
]
Processes = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Workers; by default one a core, one on a GPU.")
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Run on the workers of this Dask scheduler, as tcp://host:8786."),
]
