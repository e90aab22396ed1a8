"""Presets as files: strict TOML in, JSON out and in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from siamtrack.arguments import checked
from siamtrack.config.sections import Crops, Data, Jitter, Preset, Track, Train
from siamtrack.errors import ConfigError, DataError, did_you_mean
from siamtrack.io import DEEPEST_KEY, parse_json, parse_toml, read_toml
from siamtrack.models.families import family_class, family_names
from siamtrack.models.fields import problem, shortened
from siamtrack.presets import preset_names

_SECTIONS = {"crops": Crops, "track": Track, "data": Data, "train": Train}

_LARGEST = 1 << 20  # bytes of a preset as JSON
_LONGEST_CHAIN = 32  # presets of which each extends the next


@checked
def load_preset(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Preset:
    """Read a preset by its name, or from a TOML file.

    A file with `extends = "OTHER"` (a packaged preset, or a .toml file beside it) inherits the values that it does not
    set; `clear = ["track", "data.source_weights"]` drops inherited sections or keys first. Name, description and
    published scores are not inherited, nor is `[model]` where it names another family.

    Args:
        name: a packaged preset's name, or a path that ends in `.toml`.
        overrides: dotted keys and values that replace the file's, as `{"train.lr": 0.01}`.

    Raises:
        ConfigError: an unknown name (the nearest is offered), key or type, broken TOML, or presets that extend
            each other in a circle.
    """
    table = _resolved(name, ())
    for dotted, value in (overrides or {}).items():
        _override(table, dotted, value)
    return _checked({"name": Path(name).stem} | table, str(name))


@checked
def changed_preset(preset: Preset, changes: Mapping[str, Any], where: str) -> Preset:
    """A preset with other values under dotted keys, as `{"track.window": 0.3}`.

    The values are checked as strictly as a file; `where` is their source for error messages, as "--set".

    Raises:
        ConfigError: an unknown key, or a value of the wrong type or out of range.
    """
    table = json.loads(preset_to_json(preset))
    for dotted, value in changes.items():
        _override(table, dotted, value)
    return _checked(table, where)


@checked
def preset_to_json(preset: Preset) -> str:
    """The resolved preset as JSON, keys in the order of their declaration."""
    return json.dumps(asdict(preset))


@checked
def preset_from_json(text: str, where: str = "stored preset") -> Preset:
    """Read what `preset_to_json` wrote, as strictly as a file; raises `ConfigError` for anything else."""
    try:
        return _checked(parse_json(text, where, _LARGEST), where)
    except DataError as error:
        raise ConfigError(str(error)) from None


def _resolved(name: str | Path, below: tuple[str, ...]) -> dict[str, Any]:
    """The tables of a preset file, with what it inherits; `below` are the files that extend this one."""
    if Path(name).suffix == ".toml":
        name = Path(os.path.abspath(name))  # noqa: PTH100 - resolve() fails for names that no file can have
    if str(name) in below:
        raise ConfigError(f"presets extend each other in a circle: {' -> '.join([*below, str(name)])}")
    if len(below) >= _LONGEST_CHAIN:
        raise ConfigError(f"{below[0]}: more than {_LONGEST_CHAIN} presets extend each other; expected one or two")
    table = _read_table(name)
    if not table:
        raise ConfigError(f"{name} is empty; expected a preset, such as extends = 'siamcar_lite0' and what differs")
    parent, cleared = table.pop("extends", None), table.pop("clear", [])
    if parent is None:
        if cleared:
            raise ConfigError(f"{name}: 'clear' drops what a preset inherits; it needs 'extends' too")
        return table
    if not isinstance(parent, str):
        got = shortened(repr(parent), 80)
        raise ConfigError(f"{name}: extends: expected a preset's name or a .toml file; got {got}")
    if parent.endswith(".toml"):
        parent = str(Path(name).parent / parent)
    base = _resolved(parent, (*below, str(name)))
    for own in ("name", "description", "published"):
        base.pop(own, None)
    if not isinstance(cleared, list):
        got = shortened(repr(cleared), 80)
        raise ConfigError(f"{name}: clear: expected a list of keys, as ['data.gaps']; got {got}")
    for dotted in map(str, cleared):
        *path, leaf = dotted.split(".")
        section = base
        for key in path:
            section = section.get(key, {}) if isinstance(section.get(key, {}), dict) else {}
        if leaf not in section:
            raise ConfigError(f"{name}: clear: {parent} does not set '{dotted}'{did_you_mean(leaf, list(section))}")
        del section[leaf]
    if (family := _family_name(table)) and family != _family_name(base):
        base.pop("model", None)
    return _merged(base, table)


def _read_table(name: str | Path) -> dict[str, Any]:
    """The TOML of a packaged preset, or of a file whose path ends in `.toml`."""
    if Path(name).suffix != ".toml":
        if str(name) not in preset_names():
            hint = did_you_mean(str(name), preset_names())
            raise ConfigError(f"unknown preset '{name}'{hint} `siamtrack models` lists them")
        packaged = resources.files("siamtrack.presets").joinpath(f"{name}.toml")
        return parse_toml(packaged.read_bytes(), f"{name}.toml")
    try:
        return read_toml(Path(name))
    except DataError as error:
        why = str(error).removeprefix(f"{name}: ")  # the reason is told, however long the name
        raise ConfigError(f"no preset file {shortened(str(name), 200)}: {shortened(why, 300)}") from None


def _override(table: dict[str, Any], dotted: str, value: Any) -> None:
    """Put `value` under the key `dotted`, as `train.lr`, into `table`; the key itself is checked with the rest."""
    section = table
    *parents, leaf = dotted.split(".")
    if len(parents) > DEEPEST_KEY:
        raise ConfigError(f"unknown key '{shortened(dotted, 200)}'; expected a section and a name, as train.lr")
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            known = [f"{name}.{f.name}" for name, kind in _SECTIONS.items() for f in fields(kind)]
            if dotted in known:  # the section was set as a whole, to something else
                raise ConfigError(f"cannot set '{dotted}': {parent} is {shortened(repr(section), 80)}, not a section")
            raise ConfigError(f"unknown key '{shortened(dotted, 200)}'{did_you_mean(dotted, known)}")
    section[leaf] = value


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` in it, tables within tables too; lists are replaced."""
    out = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merged(out[key], value) if both else value
    return out


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Preset]:
    return TypeAdapter(Preset)


def _known_keys(table: Mapping[str, Any], path: tuple[str | int, ...]) -> list[str]:
    """Field names of the section that `path` leads to, for the hint in an error."""
    found: Any = Preset
    for key in path:
        if found is Preset and key == "model":
            found = family_class(_family_name(table))
        elif is_dataclass(found):
            found = (_SECTIONS | {"template": Jitter, "search": Jitter}).get(str(key), found)
    return [f.name for f in fields(found)] if is_dataclass(found) else []


def _hint(table: Mapping[str, Any], path: tuple[str | int, ...]) -> str:
    """What may have been meant by an unknown key: one whose section was left out, or a near one."""
    key = str(path[-1])
    if len(path) == 1:
        for section in ("model", *_SECTIONS):
            if key in _known_keys(table, (section,)):
                return f"; did you mean '{section}.{key}'?"
    return did_you_mean(key, _known_keys(table, path[:-1]))


def _checked(table: Mapping[str, Any], where: str) -> Preset:
    name = _family_name(table)
    outside = family_class(name) if name and name not in family_names() else None  # another package's
    try:
        if outside is not None:
            table = {**table, "model": TypeAdapter(outside).validate_python(table["model"])}
        return _adapter().validate_python(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        path = first["loc"]
        if outside is not None and error.title == outside.__name__:
            path = ("model", *path)
        elif path[:1] == ("model",):
            # What pydantic puts here is the family, not a key.
            path = (path[0], *path[2:])
        hint = ""
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            hint = _hint(table, path)
        raise ConfigError(f"{where}: {problem(error, path)}{hint}") from None


def _family_name(table: Mapping[str, Any]) -> str:
    """The name of a preset's family; empty where it names none."""
    model = table.get("model")
    name = model.get("family") if isinstance(model, dict) else None
    return name if isinstance(name, str) else ""
