"""Options that several commands share, and settings as people type them: `--set train.lr=1e-3`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from siamtrack.errors import ConfigError, DataError, InputError
from siamtrack.io import parse_toml

Model = Annotated[str, typer.Option(help="A shipped model's name, a weights file or an exported one.")]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the network runs.")]
Engine = Annotated[
    str,
    typer.Option(
        metavar="auto|onnxruntime|openvino|torch",
        help="What runs the model; auto: ONNX Runtime for exported and shipped ones, else torch.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=1024, help="Threads that a frame may use; by default the engine's choice."),
]
PresetName = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME|FILE", help="Settings in place of those stored with the weights."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as track.window=0.3; repeatable."),
]
Processes = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=1024, help="Workers; by default one a core, one on a GPU.")
]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Run on the workers of this Dask scheduler, as tcp://host:8786.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a page that siamtrack did not write, too.")]

_WORD = re.compile(r"[A-Za-z_][\w.+/-]*")


def check_out(out: Path) -> None:
    """Refuse a folder for results that is a file, or would lie in one, before anything is computed."""
    found = next((place for place in (out, *out.parents) if place.exists() or place.is_symlink()), None)
    if found is not None and not found.is_dir():
        raise InputError(f"--out expects a folder; '{found}' is a file")


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Read `section.key=value`, the value as TOML; a bare word that TOML does not know is text.

    Returns:
        Values by dotted key, for `load_preset` or `changed_preset`, which check them.

    Raises:
        ConfigError: no `=`, or a value that is not TOML.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        key, value = _split(text, "--set expects key=value, as train.lr=1e-3")
        found = _toml(value)
        if found is None:
            expected = 'expected a TOML value, as 0.5, true, "text" or [1, 2]'
            raise ConfigError(f"--set {key}: {expected}; got '{value}'")
        settings[key] = found[0]
    return settings


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read `KEY=VALUE,VALUE,...`, the values as TOML; bare words that TOML does not know are texts.

    Raises:
        ConfigError: no `=`, no value, a value that is not TOML, or a key that is given twice.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        key, values = _split(text, "--grid expects KEY=VALUE,VALUE,..., as track.window=0.3,0.4")
        if key in grid:
            raise ConfigError(f"--grid {key} is given twice; list its values in one, as {key}=0.3,0.4")
        whole = _toml(f"[{values}]")
        words = [_toml(word.strip()) for word in values.split(",")]
        if whole is not None:
            grid[key] = list(whole[0])
        elif all(word is not None for word in words):
            grid[key] = [word[0] for word in words if word is not None]
        else:
            raise ConfigError(f"--grid {key}: expected values as 0.3,0.4 or best,neighbours; got '{values}'")
    return grid


def _split(text: str, expected: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals and value) or "\n" in text:
        raise ConfigError(f"{expected}; got '{' '.join(text.split())}'")
    return key, value


def _toml(text: str) -> tuple[Any] | None:
    """The value of one TOML expression or bare word; None for neither."""
    try:
        tree = parse_toml(f"value = {text}", "a setting")
    except DataError:
        return (text,) if _WORD.fullmatch(text) else None
    return (tree["value"],) if len(tree) == 1 else None
