"""Searching a space of settings: which to measure, which one to take, and which sequences to hold out together.

A search is a pure function of the scores known so far: it ends, or says what it must know to go on. A search that is
asked again with more scores walks the same way and further. So a stopped one goes on without any state of its own, and
the searches of all folds share what was measured.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from siamtrack.errors import DataError
from siamtrack.geometry.regions import FloatArray
from siamtrack.tuning.space import Setting, Space

__all__ = [
    "DEFAULT_FOLDS",
    "Known",
    "Outcome",
    "SearchKind",
    "choose",
    "fold_names",
    "paired_gain",
    "plateau",
    "search",
]

SearchKind = Literal["grid", "coordinate"]
Known = Callable[[Setting], FloatArray | None]
"""The (N,) scores of a setting on the sequences that the search may see; None while some are missing."""

_SWEEPS = 5
DEFAULT_FOLDS = 5
# A difference in a single sequence is exactly its own standard error: it must not be decided by the last bit.
_ROUNDING = 1e-9
_TARGET = re.compile(r"[-.]\d{1,2}$")


@dataclass(frozen=True)
class Outcome:
    """Where a search stands: its choice, or None and the settings whose scores it waits for."""

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
    for _ in range(_SWEEPS):
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
    level = {i for i in range(len(settings)) if _as_good(scores[best], scores[i])}
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
    """Share sequences out into folds, the same ones for the same names and seed.

    Names that differ only in a final -1, -2 or .1, .2 are targets of one video (as OTB's Jogging) and stay
    together, unless that would leave a single group.

    Args:
        names: of the sequences.
        folds: how many; by default 5, or as many as there are groups.
        seed: of the shuffle.

    Raises:
        DataError: fewer groups than folds, or fewer than 2.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(_TARGET.sub("", name), []).append(name)
    if len(groups) < 2:
        groups = {name: [name] for name in sorted(names)}
    count = folds if folds is not None else min(DEFAULT_FOLDS, len(groups))
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


def _as_good(best: FloatArray, scores: FloatArray) -> bool:
    gain, error = paired_gain(best, scores)
    return gain <= error + _ROUNDING


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
