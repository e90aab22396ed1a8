"""Presets as files: strict TOML in, with what it extends and what overrides it, and JSON out and in."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from siamtrack.config.sections import Crops, Data, Jitter, Preset, Track, Train
from siamtrack.errors import ConfigError, did_you_mean, reason
from siamtrack.models.families import family_class

__all__ = ["load_preset", "preset_from_json", "preset_names", "preset_to_json"]


def preset_names() -> list[str]:
    """Names of the presets that come with the package, sorted."""
    files = resources.files("siamtrack.presets").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def load_preset(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Preset:
    """Read a preset by its name, or from a TOML file.

    Args:
        name: a packaged preset's name, or a path that ends in `.toml`.
        overrides: dotted keys and values that replace the file's, as `{"train.lr": 0.01}`.

    Raises:
        ConfigError: an unknown name (the nearest is offered), key or type, or broken TOML.
    """
    table = {"name": Path(name).stem} | _read_table(name)
    parent = table.pop("extends", None)
    if parent is not None:
        table = _extended(table, str(name), str(parent))
    for dotted, value in (overrides or {}).items():
        _override(table, dotted, value)
    return _checked(table, str(name))


def preset_to_json(preset: Preset) -> str:
    """The resolved preset as JSON, keys in the order of their declaration."""
    return json.dumps(asdict(preset))


def preset_from_json(text: str, where: str = "stored preset") -> Preset:
    """Read what `preset_to_json` wrote, as strictly as a file.

    Raises:
        ConfigError: not JSON, or not a preset.
    """
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected an object, got {type(table).__name__}")
    return _checked(_migrated(table), where)


_RENAMED = {
    ("crops", "wide_template"): "template_crop",
    ("track", "lost_below"): "search_lost_below",
    ("track", "lost_under"): "status_lost_below",
}
"""Keys of presets that were stored in weights and results before they got their present names."""


def _migrated(table: dict[str, Any]) -> dict[str, Any]:
    """A stored preset with the names that its keys have today."""
    found = dict(table)
    for (section, old), new in _RENAMED.items():
        held = found.get(section)
        if isinstance(held, dict) and old in held and new not in held:
            found[section] = {new if key == old else key: value for key, value in held.items()}
    return found


def _read_table(name: str | Path) -> dict[str, Any]:
    """The TOML of a packaged preset, or of a file whose path ends in `.toml`."""
    path = Path(name)
    if path.suffix == ".toml":
        text = _read(path)
    else:
        if str(name) not in preset_names():
            hint = did_you_mean(str(name), preset_names())
            raise ConfigError(f"unknown preset '{name}'{hint} `siamtrack models` lists them")
        text = resources.files("siamtrack.presets").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"no preset file {path}") from None
    except OSError as error:
        raise ConfigError(f"cannot read the preset file {str(path)[:200]}: {reason(error)}") from None
    except ValueError:
        raise ConfigError(f"{path} is not a text file in UTF-8") from None


def _extended(table: dict[str, Any], name: str, parent: str) -> dict[str, Any]:
    """`table` over the data and train sections of the preset `parent`: what experiments share has one home."""
    shared = _read_table(parent)
    if "extends" in shared:
        raise ConfigError(f"{name}: extends '{parent}', which extends another itself; name that one")
    return _merged({key: shared[key] for key in ("data", "train") if key in shared}, table)


def _override(table: dict[str, Any], dotted: str, value: Any) -> None:
    """Put `value` under the key `dotted`, as `train.lr`, into `table`; the key itself is checked with the rest."""
    section = table
    *parents, leaf = dotted.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ConfigError(f"unknown key '{dotted}'{did_you_mean(dotted, _dotted_keys())}")
    section[leaf] = value


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` in it, tables within tables too."""
    out = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merged(out[key], value) if both else value
    return out


def _dotted_keys() -> list[str]:
    sections = {"crops": Crops, "track": Track, "data": Data, "train": Train}
    return [f"{name}.{f.name}" for name, section in sections.items() for f in fields(section)]


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Preset]:
    return TypeAdapter(Preset)


def _known_keys(table: Mapping[str, Any], path: tuple[str | int, ...]) -> list[str]:
    """Field names of the section that `path` leads to, for the hint in an error."""
    found: Any = Preset
    for key in path:
        if found is Preset and key == "model":
            name = table.get("model", {}).get("family", "") if isinstance(table.get("model"), dict) else ""
            found = family_class(name)
            continue
        if not is_dataclass(found):
            continue
        types = {"crops": Crops, "track": Track, "data": Data, "train": Train, "template": Jitter, "search": Jitter}
        found = types.get(str(key), found)
    return [f.name for f in fields(found)] if is_dataclass(found) else []


def _checked(table: Mapping[str, Any], where: str) -> Preset:
    try:
        return _adapter().validate_python(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(p for p in first["loc"])
        if path[:1] == ("model",):
            # What pydantic puts here is the family, not a key.
            path = (path[0], *path[2:])
        key = ".".join(str(p) for p in path)
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            hint = did_you_mean(str(path[-1]), _known_keys(table, path[:-1]))
            raise ConfigError(f"{where}: unknown key '{key}'{hint}") from None
        if first["type"] == "missing":
            raise ConfigError(f"{where}: the key '{key}' is missing") from None
        text = f"{key}: {_short(first['msg'], 300)}; got {_short(repr(first['input']), 80)}"
        raise ConfigError(f"{where}: {text}") from None


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."
