"""The settings to be tried: a few keys of a preset, each with a few values.

Only what is decided after training is tuned: the section `track`, and SA-Siam's `model.appearance_weight`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from siamtrack.config import Preset, Track, changed_preset
from siamtrack.errors import ConfigError, did_you_mean
from siamtrack.models.families.sa_siam import SaSiam

__all__ = ["Axis", "Setting", "Space", "default_grid", "make_space", "tunable_keys"]

Setting = tuple[Any, ...]
"""One value for each axis of a space, in the order of the axes."""

_APPEARANCE = "model.appearance_weight"


@dataclass(frozen=True)
class Axis:
    """A dotted key of the preset and the values to be tried, rising where they are numbers."""

    key: str
    values: tuple[Any, ...]

    @cached_property
    def ordered(self) -> bool:
        """Whether neighbouring values are alike: numbers are, words and switches are not."""
        return all(_is_number(value) for value in self.values)


@dataclass(frozen=True)
class Space:
    """Axes around a preset; made by `make_space`, which checks them."""

    preset: Preset
    axes: tuple[Axis, ...]

    @property
    def default(self) -> Setting:
        """The preset's own values, which need not lie on the axes."""
        return tuple(_value(self.preset, axis.key) for axis in self.axes)

    def settings(self) -> list[Setting]:
        """All combinations of the axes' values."""
        return list(itertools.product(*(axis.values for axis in self.axes)))

    def resolve(self, setting: Setting) -> Preset:
        """The preset with a setting's values in place of its own."""
        return changed_preset(self.preset, self.named(setting), "--grid")

    def named(self, setting: Setting) -> dict[str, Any]:
        """A setting by dotted keys."""
        return {axis.key: value for axis, value in zip(self.axes, setting, strict=True)}

    def changes(self, setting: Setting) -> dict[str, Any]:
        """What of a setting differs from the preset: the same for one tracker, whichever the axes are."""
        own = self.default
        return {k: v for (k, v), old in zip(self.named(setting).items(), own, strict=True) if v != old}

    def start(self) -> Setting:
        """The setting on the axes that is nearest to the preset's own."""
        return tuple(_nearest(axis, own) for axis, own in zip(self.axes, self.default, strict=True))


def tunable_keys(preset: Preset) -> list[str]:
    """The dotted keys that can be tuned without training again."""
    keys = [f"track.{field.name}" for field in fields(Track)]
    blends = isinstance(preset.model, SaSiam) and preset.model.branches == "both"
    return [*keys, _APPEARANCE] if blends else keys


def default_grid(preset: Preset) -> dict[str, list[Any]]:
    """What is tried where nothing is named.

    SA-Siam: the blend of its branches, 0.1 to 0.9, as its authors do (He et al. 2018, section 4.1). A search
    pyramid: window, rate and the penalty on other scales. Heads that predict sizes: window, penalty and rate.
    """
    if _APPEARANCE in tunable_keys(preset):
        return {_APPEARANCE: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]}
    if preset.track.scales:
        return {
            "track.window": [0.1, 0.2, 0.3, 0.4],
            "track.rate": [0.3, 0.45, 0.6],
            "track.scale_penalty": [0.95, 0.975, 1.0],
        }
    return {
        "track.window": [0.2, 0.3, 0.4, 0.5],
        "track.penalty": [0.0, 0.05, 0.1, 0.2],
        "track.rate": [0.3, 0.5, 0.7],
    }


def make_space(preset: Preset, grid: Mapping[str, Sequence[Any]]) -> Space:
    """Check a grid against a preset.

    Args:
        preset: of the model.
        grid: the values to be tried by dotted key.

    Raises:
        ConfigError: a key that cannot be tuned (the nearest is named), a value of the wrong type or out of
            range, or nothing to choose from.
    """
    known = tunable_keys(preset)
    axes = []
    for key, values in grid.items():
        if key not in known:
            keys = "those of [track]" + (f" and {_APPEARANCE}" if _APPEARANCE in known else "")
            hint = did_you_mean(key, known)
            raise ConfigError(f"--grid: unknown key '{key}'{hint} Keys that can be tuned: {keys}")
        # read back from a preset, a value has the type that the preset gives it: 1 is 1.0
        exact = dict.fromkeys(_value(changed_preset(preset, {key: value}, "--grid"), key) for value in values)
        found = tuple(sorted(exact)) if all(map(_is_number, exact)) else tuple(exact)
        axes.append(Axis(key, found))
    if not any(len(axis.values) > 1 for axis in axes):
        raise ConfigError("--grid: there is nothing to choose from; give a key two values or more")
    return Space(preset, tuple(axes))


def _value(preset: Preset, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(preset, section), name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nearest(axis: Axis, own: Any) -> Any:
    if axis.ordered and _is_number(own):
        return min(axis.values, key=lambda value: abs(value - own))
    return own if own in axis.values else axis.values[0]
