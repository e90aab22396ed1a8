"""The tuning itself: run what the searches ask for until all of them have ended, then say what it is worth.

The setting that is best on the sequences it was chosen on looks better than it is. So the whole search is
repeated for every fold of sequences, on the others, and its choice is scored on the fold. The mean over what
was held out is the honest estimate of what tuning in this way gives on new sequences (Stone 1974).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from siamtrack.errors import DataError
from siamtrack.evaluation.pool import Job, run_jobs
from siamtrack.formats.sequence import VideoSequence
from siamtrack.geometry.regions import FloatArray
from siamtrack.tuning.ledger import Ledger, sequence_digest
from siamtrack.tuning.scorer import MEMORY, Variants
from siamtrack.tuning.search import Kind, Outcome, search
from siamtrack.tuning.select import fold_names, paired_gain, plateau
from siamtrack.tuning.space import Setting, Space

__all__ = ["Fold", "Plan", "Tuning", "Watcher", "tune"]


@dataclass(frozen=True)
class Plan:
    """How to search.

    Attributes:
        space: what is tried.
        kind: "grid" or "coordinate".
        folds: of the cross-validation; None for 5, or fewer where there are fewer videos.
        seed: of the sharing out into folds.
        processes: workers; does not change a score.
        memory: bytes of decoded frames that each worker may keep.
    """

    space: Space
    kind: Kind = "grid"
    folds: int | None = None
    seed: int = 0
    processes: int = 1
    memory: int = MEMORY


class Watcher(Protocol):
    """What is told about progress."""

    def planned(self, jobs: Sequence[Job]) -> None:
        """Tell which runs come next; a coordinate search plans several times."""

    def scored(self, job: Job, score: float) -> None:
        """Tell that a run is done."""


@dataclass(frozen=True)
class Fold:
    """What was chosen without some sequences, and its (n,) scores on these."""

    names: tuple[str, ...]
    setting: Setting
    scores: FloatArray


@dataclass(frozen=True)
class Tuning:
    """The result.

    Attributes:
        plan: how it was searched.
        names: of the N sequences, sorted.
        table: (N,) scores of every setting that was tried, the preset's own among them.
        choice: the setting chosen on all sequences.
        plateau: the settings that cannot be told from the best one (see `select.plateau`).
        folds: the cross-validation.
    """

    plan: Plan
    names: tuple[str, ...]
    table: dict[Setting, FloatArray]
    choice: Setting
    plateau: tuple[Setting, ...]
    folds: tuple[Fold, ...]

    @property
    def best(self) -> Setting:
        """The setting on the axes with the highest mean, which may be chance's favourite."""
        return max(self._tried, key=lambda setting: float(self.table[setting].mean()))

    @property
    def default(self) -> Setting:
        """The preset's own."""
        return self.plan.space.default

    @property
    def held_out(self) -> FloatArray:
        """(N,) in the order of `names`, the score of each sequence by the setting chosen without it."""
        found = {n: s for fold in self.folds for n, s in zip(fold.names, fold.scores.tolist(), strict=True)}
        return np.array([found[name] for name in self.names])

    @property
    def gain(self) -> tuple[float, float]:
        """The honest gain over the preset's own setting, and its standard error over sequences."""
        return paired_gain(self.held_out, self.table[self.default])

    @property
    def worth_it(self) -> bool:
        """Whether the honest gain exceeds its standard error, and the choice is another than the preset's."""
        gain, error = self.gain
        return self.choice != self.default and gain > error

    @property
    def _tried(self) -> list[Setting]:
        on_axes = set(self.plan.space.settings())
        return [setting for setting in self.table if setting in on_axes]


def tune(
    variants: Variants, sequences: Sequence[VideoSequence], plan: Plan, ledger: Ledger, watcher: Watcher
) -> Tuning:
    """Tune a model on a development set. A call that was stopped is gone on with by the same call.

    Args:
        variants: the model.
        sequences: with a target in the first frame.
        plan: how to search.
        ledger: of this model; each score is kept in it at once.
        watcher: is told about progress.

    Raises:
        DataError: two sequences of one name, one that cannot be started, or too few for the folds.
        SiamtrackError: a run that failed.
    """
    _check(sequences)
    known = _Known(plan.space, sequences, ledger)
    folds = fold_names(known.names, plan.folds, plan.seed)
    seen = [[n for n in known.names if n not in set(fold)] for fold in folds]
    while True:
        outcomes = [search(plan.space, plan.kind, partial(known.scores, names)) for names in (*seen, known.names)]
        jobs = _jobs(plan.space, known, sequences, outcomes)
        if not jobs:
            break
        watcher.planned(jobs)

        def keep(job: Job, score: float) -> None:
            known.add(job.setting, job.sequence.name, score)
            watcher.scored(job, score)

        run_jobs(variants, jobs, plan.processes, plan.memory, keep)
    return _result(plan, known, folds, outcomes)


class _Known:
    """The ledger as seen from one space and its sequences; remembers the order in which settings came."""

    def __init__(self, space: Space, sequences: Sequence[VideoSequence], ledger: Ledger) -> None:
        self._space = space
        self._ledger = ledger
        self._digests = {s.name: sequence_digest(s) for s in sequences}
        self.names = sorted(self._digests)

    def score(self, setting: Setting, name: str) -> float | None:
        """The score of a setting on a sequence; None where it is not known yet."""
        return self._ledger.get(self._space.changes(setting), name, self._digests[name])

    def add(self, setting: Setting, name: str, score: float) -> None:
        """Keep the score of a setting on a sequence."""
        self._ledger.add(self._space.changes(setting), name, self._digests[name], score)

    def scores(self, names: Sequence[str], setting: Setting) -> FloatArray | None:
        """The (n,) scores of a setting on these sequences; None while one is missing."""
        found = [self.score(setting, name) for name in names]
        known = [score for score in found if score is not None]
        return np.array(known) if len(known) == len(names) else None


def _check(sequences: Sequence[VideoSequence]) -> None:
    names = [s.name for s in sequences]
    for sequence in sequences:
        if names.count(sequence.name) > 1:
            raise DataError(f"two sequences are called {sequence.name}; rename one")
        if sequence.absent(0):
            raise DataError(f"{sequence.name}: the first frame has no box to start from; expected x,y,w,h")


def _jobs(space: Space, known: _Known, sequences: Sequence[VideoSequence], outcomes: Iterable[Outcome]) -> list[Job]:
    """What has to be run next: every wanted setting on all sequences, for each fold asks for most of them.

    Those of one sequence stand together, so that its frames are decoded once; long sequences come first.
    """
    asked = [setting for outcome in outcomes for setting in outcome.missing]
    wanted = {setting: space.resolve(setting) for setting in dict.fromkeys([space.default, *asked])}
    ordered = sorted(sequences, key=lambda s: (-len(s), s.name))
    return [
        Job(setting, preset, sequence)
        for sequence in ordered
        for setting, preset in wanted.items()
        if known.score(setting, sequence.name) is None
    ]


def _result(plan: Plan, known: _Known, folds: list[list[str]], outcomes: list[Outcome]) -> Tuning:
    space = plan.space
    table = {}
    for setting in dict.fromkeys([space.default, *space.settings()]):
        scores = known.scores(known.names, setting)
        if scores is not None:
            table[setting] = scores
    *others, whole = (outcome.choice for outcome in outcomes)
    assert whole is not None  # nothing was missing
    found = []
    for names, choice in zip(folds, others, strict=True):
        assert choice is not None
        held_out = known.scores(names, choice)
        assert held_out is not None  # every setting is run on all sequences
        found.append(Fold(tuple(names), choice, held_out))
    on_axes = set(space.settings())
    tried = [setting for setting in table if setting in on_axes]
    flat = plateau(space, tried, np.stack([table[setting] for setting in tried]))
    return Tuning(plan, tuple(known.names), table, whole, tuple(tried[i] for i in flat), tuple(found))
