"""Two searches, each a pure function of the scores known so far: it ends, or says what it must know to go on.

A search that is asked again with more scores walks the same way and further. So a stopped one goes on without
any state of its own, and the searches of all folds share what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from siamtrack.geometry.regions import FloatArray
from siamtrack.tuning.select import choose
from siamtrack.tuning.space import Setting, Space

__all__ = ["Kind", "Known", "Outcome", "search"]

Kind = Literal["grid", "coordinate"]
Known = Callable[[Setting], FloatArray | None]
"""The (N,) scores of a setting on the sequences that the search may see; None while some are missing."""

_SWEEPS = 5


@dataclass(frozen=True)
class Outcome:
    """Where a search stands: its choice, or None and the settings whose scores it waits for."""

    choice: Setting | None
    missing: tuple[Setting, ...] = ()


def search(space: Space, kind: Kind, known: Known) -> Outcome:
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
