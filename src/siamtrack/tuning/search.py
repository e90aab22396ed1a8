"""The settings to be tried, and the search among them: which to measure, which to choose, what to hold out together.

A setting gives a few keys of a preset a value each. Only what is decided after training is tuned: the section `track`,
and SA-Siam's `model.appearance_weight`.

A search is a pure function of the scores known so far: it ends, or says what it must know to go on. Called again with
more scores it takes the same steps and further ones. So a stopped search goes on without any state of its own, and the
searches of all folds share what was measured.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np

from siamtrack.config import Preset, Track, changed_preset
from siamtrack.errors import ConfigError, DataError, did_you_mean
from siamtrack.geometry.regions import FloatArray
from siamtrack.models.families.sa_siam import SaSiam
from siamtrack.models.fields import SearchPyramid

Setting = tuple[Any, ...]
"""One value for each axis of a space, in the order of the axes."""

SearchKind = Literal["grid", "coordinate"]
Known = Callable[[Setting], FloatArray | None]
"""The (N,) scores of a setting on the sequences that the search may see; None while some are missing."""

_APPEARANCE = "model.appearance_weight"
# A difference in a single sequence is exactly its own standard error: it must not be decided by the last bit.
_ROUNDING = 1e-9
_MOST_VALUES = 1000  # of a key of a grid
_MOST_SETTINGS = 1_000_000  # of a grid, all combinations
_TARGET = re.compile(r"[-.]\d{1,2}$")


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
        """The values of a setting that differ from the preset: equal for equal trackers, whichever the axes are."""
        own = self.default
        return {k: v for (k, v), old in zip(self.named(setting).items(), own, strict=True) if v != old}

    def start(self) -> Setting:
        """The setting on the axes that is nearest to the preset's own."""

        def nearest(axis: Axis, own: Any) -> Any:
            if axis.ordered and _is_number(own):
                return min(axis.values, key=lambda value: abs(value - own))
            return own if own in axis.values else axis.values[0]

        return tuple(map(nearest, self.axes, self.default))


# What only candidates with sizes are ranked by (`tracking.select.pyramid`).
_OF_SIZES = frozenset(
    f"track.{name}"
    for name in (
        "penalty", "select", "averaged", "published_rate", "rerank", "distractor_over", "distractor_weight",
        "memory_rate",
    )
)  # fmt: skip


def tunable_keys(preset: Preset) -> list[str]:
    """The dotted keys that can be tuned without training again."""
    keys = [f"track.{field.name}" for field in fields(Track)]
    if isinstance(preset.model, SearchPyramid):
        keys = [key for key in keys if key not in _OF_SIZES]
        keys += [f"model.{field.name}" for field in fields(SearchPyramid)]
    blends = isinstance(preset.model, SaSiam) and preset.model.branches == "both"
    return [*keys, _APPEARANCE] if blends else keys


def default_grid(preset: Preset) -> dict[str, list[Any]]:
    """Return the values to try by default.

    SA-Siam: the blend of its branches, 0.1 to 0.9 in steps of 0.2, as its authors do (He et al. 2018, section 4.1). A
    search pyramid: window, rate and the penalty on other scales. Heads that predict sizes: window, penalty and rate.
    """
    if _APPEARANCE in tunable_keys(preset):
        return {_APPEARANCE: [0.1, 0.3, 0.5, 0.7, 0.9]}
    if isinstance(preset.model, SearchPyramid):
        return {
            "track.window": [0.1, 0.2, 0.3, 0.4],
            "track.rate": [0.3, 0.45, 0.6],
            "model.scale_penalty": [0.95, 0.975, 1.0],
        }
    return {
        "track.window": [0.2, 0.3, 0.4, 0.5],
        "track.penalty": [0.0, 0.05, 0.1, 0.2],
        "track.rate": [0.3, 0.5, 0.7],
    }


def make_space(preset: Preset, grid: Mapping[str, Sequence[Any]]) -> Space:
    """Check a grid, the values to be tried by dotted key, against a model's preset.

    Raises:
        ConfigError: a key that cannot be tuned (the nearest is named), a value of the wrong type or out of
            range, or nothing to choose from.
    """
    known = tunable_keys(preset)
    axes = []
    if (most := max(map(len, grid.values()), default=0)) > _MOST_VALUES:
        raise ConfigError(f"--grid: {most} values of one key; expected at most {_MOST_VALUES}")
    if (count := math.prod(map(len, grid.values()))) > _MOST_SETTINGS:
        raise ConfigError(f"--grid: {count} combinations; expected at most {_MOST_SETTINGS}: give fewer values")
    for key, values in grid.items():
        if key not in known:
            keys = ", ".join(["those of [track]", *(name for name in known if name.startswith("model."))])
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


@dataclass(frozen=True)
class Outcome:
    """The state of a search: its choice, or None and the settings whose scores it needs."""

    choice: Setting | None
    missing: tuple[Setting, ...] = ()


def search(space: Space, kind: SearchKind, known: Known) -> Outcome:
    """Search a space.

    "grid" looks at all combinations. "coordinate" starts at the preset's values, or the nearest on the axes,
    and chooses along one axis after the other, until a round over all of them changes nothing (at most 5):
    many fewer settings, but it misses what only two changes together would show.
    """
    if kind == "grid":
        return _decide(space, space.settings(), known)
    at = space.start()
    for _ in range(5):
        before = at
        for number, axis in enumerate(space.axes):
            line = [(*at[:number], value, *at[number + 1 :]) for value in axis.values]
            found = _decide(space, line, known)
            if found.choice is None:
                return found
            at = found.choice
        if at == before:
            break
    return Outcome(at)


def _decide(space: Space, settings: Sequence[Setting], known: Known) -> Outcome:
    rows = [known(setting) for setting in settings]
    missing = tuple(s for s, row in zip(settings, rows, strict=True) if row is None)
    if missing:
        return Outcome(None, missing)
    scores = np.stack([row for row in rows if row is not None])
    return Outcome(settings[choose(space, settings, scores)])


def paired_gain(scores: FloatArray, base: FloatArray) -> tuple[float, float]:
    """Mean and standard error of the differences of two trackers on the same (N,) sequences.

    Sequences differ in difficulty far more than settings do; within one sequence that cancels. The error is
    0 for a single sequence.
    """
    gains = scores - base
    error = float(gains.std(ddof=1)) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return float(gains.mean()), error


def plateau(space: Space, settings: Sequence[Setting], scores: FloatArray) -> list[int]:
    """The settings that cannot be told from the best and are connected to it; (S, N) scores -> indices.

    A setting belongs to the plateau if its mean lies below the best mean by no more than one standard error
    of the differences (Breiman et al. 1984, the one-standard-error rule, here paired by sequence), and if
    steps to the next value of one axis lead from the best to it without leaving the plateau. Words and
    switches have no next value. What differs in one sequence alone is thereby never told from chance.
    """
    best = int(scores.mean(1).argmax())
    gains = [paired_gain(scores[best], row) for row in scores]
    level = {i for i, (gain, error) in enumerate(gains) if gain <= error + _ROUNDING}
    reached, edge = {best}, [best]
    while edge:
        at = edge.pop()
        near = {i for i in level - reached if _steps(space, settings[at], settings[i]) == 1}
        reached |= near
        edge += sorted(near)
    return sorted(reached)


def choose(space: Space, settings: Sequence[Setting], scores: FloatArray) -> int:
    """The centre of the plateau: the member with the fewest grid steps to all others; (S, N) scores -> index.

    A peak is where chance helped most; the middle of what is equally good is less of an accident, and small
    changes around it cost nothing. Between equally central members the higher mean decides.
    """
    members = plateau(space, settings, scores)
    means = scores.mean(1)

    def rank(index: int) -> tuple[float, float]:
        away = sum(_steps(space, settings[index], settings[other]) for other in members)
        return away, -float(means[index])

    return min(members, key=rank)


def fold_names(names: Sequence[str], folds: int | None = None, seed: int = 0) -> list[list[str]]:
    """Share sequences out into folds, the same ones for the same names and seed; by default 5.

    Names that differ only in a final -1, -2 or .1, .2 are targets of one video (as OTB's Jogging) and stay
    together, unless that would leave a single group. Of fewer than 5 groups each is a fold by default.

    Raises:
        DataError: fewer groups than folds, or fewer than 2.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(_TARGET.sub("", name), []).append(name)
    if len(groups) < 2:
        groups = {name: [name] for name in sorted(names)}
    count = folds if folds is not None else min(5, len(groups))
    if len(groups) < max(count, 2):
        raise DataError(
            f"expected at least {max(count, 2)} videos for {max(count, 2)} folds; got {len(groups)}: "
            "add sequences or lower --folds"
        )
    shuffled = list(groups.values())
    random.Random(seed).shuffle(shuffled)
    shuffled.sort(key=len, reverse=True)
    found: list[list[str]] = [[] for _ in range(count)]
    for group in shuffled:
        min(found, key=len).extend(group)
    return [sorted(fold) for fold in found]


def _steps(space: Space, one: Setting, other: Setting) -> float:
    """Grid steps between two settings; infinite where a word or switch differs."""
    steps = 0
    for axis, a, b in zip(space.axes, one, other, strict=True):
        if a == b:
            continue
        if not axis.ordered:
            return float("inf")
        steps += abs(axis.values.index(a) - axis.values.index(b))
    return steps
