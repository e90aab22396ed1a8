"""The tuning itself: run the settings that the searches need until all have ended, then measure the gain.

The setting that is best on the sequences it was chosen on looks better than it is. So the whole search is
repeated for every fold of sequences, on the others, and its choice is scored on the fold. The mean over what
was held out is the honest estimate of what tuning in this way gives on new sequences (Stone 1974).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from siamtrack.errors import DataError
from siamtrack.evaluation.jobs import Event, Failed, Finished, Workers
from siamtrack.evaluation.pool import run_jobs
from siamtrack.formats.sequence import VideoSequence
from siamtrack.geometry.regions import FloatArray
from siamtrack.tuning.scores import Ledger, ModelVariants, TuningJob, open_scorer, sequence_digest
from siamtrack.tuning.search import Outcome, SearchKind, Setting, Space, fold_names, paired_gain, plateau, search


@dataclass(frozen=True)
class TuningPlan:
    """How to search.

    Attributes:
        kind: "grid" or "coordinate".
        folds: of the cross-validation; None for 5, or fewer where there are fewer videos.
        seed: of the sharing out into folds.
        workers: where the runs are made; does not change a score.
    """

    space: Space
    kind: SearchKind = "grid"
    folds: int | None = None
    seed: int = 0
    workers: Workers = field(default_factory=lambda: Workers(processes=0))


class TuningWatcher(Protocol):
    """Receives progress."""

    def planned(self, jobs: Sequence[TuningJob]) -> None:
        """Tell which runs come next; a coordinate search plans several times."""

    def scored(self, job: TuningJob, score: float) -> None:
        """Tell that a run is done."""


@dataclass(frozen=True)
class Fold:
    """The setting chosen without some sequences, and its (n,) scores on them."""

    names: tuple[str, ...]
    setting: Setting
    scores: FloatArray


@dataclass(frozen=True)
class Tuning:
    """The result.

    Attributes:
        names: of the N sequences, sorted.
        table: (N,) scores of every setting that was tried, the preset's own among them.
        choice: the setting chosen on all sequences.
    """

    plan: TuningPlan
    names: tuple[str, ...]
    table: dict[Setting, FloatArray]
    choice: Setting
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

    @cached_property
    def plateau(self) -> tuple[Setting, ...]:
        """The settings that cannot be told from the best one (see `search.plateau`)."""
        rows = np.stack([self.table[setting] for setting in self._tried])
        return tuple(self._tried[i] for i in plateau(self.plan.space, self._tried, rows))

    @property
    def _tried(self) -> list[Setting]:
        on_axes = set(self.plan.space.settings())
        return [setting for setting in self.table if setting in on_axes]


def tune(
    variants: ModelVariants,
    sequences: Sequence[VideoSequence],
    plan: TuningPlan,
    ledger: Ledger,
    watcher: TuningWatcher,
) -> Tuning:
    """Tune a model on sequences with a target in the first frame. The same call goes on with one that was stopped.

    Each score is kept in the model's `ledger` at once; `watcher` is called with progress.

    Raises:
        DataError: two sequences of one name, one that cannot be started, or too few for the folds.
        SiamtrackError: a run that failed.
    """
    names = [s.name for s in sequences]
    for sequence in sequences:
        if names.count(sequence.name) > 1:
            raise DataError(f"two sequences are called {sequence.name}; rename one")
        if sequence.absent(0):
            raise DataError(f"{sequence.name}: the first frame has no box to start from; expected x,y,w,h")
    known = _Known(plan.space, sequences, ledger)
    folds = fold_names(known.names, plan.folds, plan.seed)
    seen = [[n for n in known.names if n not in set(fold)] for fold in folds]
    while True:
        outcomes = [search(plan.space, plan.kind, partial(known.scores, names)) for names in (*seen, known.names)]
        jobs = _jobs(plan.space, known, sequences, outcomes)
        if not jobs:
            break
        watcher.planned(jobs)

        def on_event(event: Event[TuningJob, float]) -> None:
            if isinstance(event, Failed):
                if event.kind == "error":
                    raise event.error
                raise DataError(f"{event.job.sequence.name}: {event.error}; the same command goes on from here")
            if isinstance(event, Finished):
                known.add(event.job.setting, event.job.sequence.name, event.value)
                watcher.scored(event.job, event.value)

        run_jobs(partial(open_scorer, variants), jobs, plan.workers, on_event)
    return _result(plan, known, folds, outcomes)


class _Known:
    """The ledger as seen from one space and its sequences; remembers the order in which settings came."""

    def __init__(self, space: Space, sequences: Sequence[VideoSequence], ledger: Ledger) -> None:
        self._space = space
        self._ledger = ledger
        self._digests = {s.name: sequence_digest(s) for s in sequences}
        self.names = sorted(self._digests)
        self.tried: set[Setting] = set()

    def score(self, setting: Setting, name: str) -> float | None:
        """The score of a setting on a sequence; None where it is not known yet."""
        return self._ledger.get(self._space.changes(setting), name, self._digests[name])

    def add(self, setting: Setting, name: str, score: float) -> None:
        self._ledger.add(self._space.changes(setting), name, self._digests[name], score)

    def scores(self, names: Sequence[str], setting: Setting) -> FloatArray | None:
        """The (n,) scores of a setting on these sequences, which is `tried` then; None while one is missing."""
        found = [self.score(setting, name) for name in names]
        known = [score for score in found if score is not None]
        if len(known) < len(names):
            return None
        self.tried.add(setting)
        return np.array(known)


def _jobs(
    space: Space, known: _Known, sequences: Sequence[VideoSequence], outcomes: Iterable[Outcome]
) -> list[TuningJob]:
    """The next runs: every wanted setting on all sequences, as each fold needs most of them.

    Runs on one sequence stand together, so that its frames are decoded once; long sequences come first.
    """
    asked = [setting for outcome in outcomes for setting in outcome.missing]
    wanted = {setting: space.resolve(setting) for setting in dict.fromkeys([space.default, *asked])}
    ordered = sorted(sequences, key=lambda s: (-len(s), s.name))
    return [
        TuningJob(setting, preset, sequence)
        for sequence in ordered
        for setting, preset in wanted.items()
        if known.score(setting, sequence.name) is None
    ]


def _result(plan: TuningPlan, known: _Known, folds: list[list[str]], outcomes: list[Outcome]) -> Tuning:
    space = plan.space
    # not what another search has left in the ledger
    wanted = dict.fromkeys([space.default, *(setting for setting in space.settings() if setting in known.tried)])
    table = {setting: scores for setting in wanted if (scores := known.scores(known.names, setting)) is not None}
    *others, whole = (outcome.choice for outcome in outcomes)
    assert whole is not None  # nothing was missing
    found = []
    for names, choice in zip(folds, others, strict=True):
        assert choice is not None
        held_out = known.scores(names, choice)
        assert held_out is not None  # every setting is run on all sequences
        found.append(Fold(tuple(names), choice, held_out))
    return Tuning(plan, tuple(known.names), table, whole, tuple(found))


def as_toml(found: Tuning, model: str) -> str:
    """The chosen values under their sections, with what they were measured to be worth as comments."""
    lines = [f"# siamtrack tune {model}", *(f"# {line}" for line in as_lines(found)[1:])]
    sections: dict[str, list[str]] = {}
    for key, value in found.plan.space.named(found.choice).items():
        section, name = key.split(".")
        # numbers, words, switches and lists are written alike in JSON and TOML
        sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
    for section, rows in sections.items():
        lines += ["", f"[{section}]", *rows]
    return "\n".join(lines) + "\n"


_FEW = 10  # sequences, of which a standard error says little


def as_lines(found: Tuning) -> list[str]:
    """A summary for the terminal, the chosen setting first."""
    gain, error = found.gain
    own = "" if found.default in found._tried else " and the preset's own"
    few = f", but {len(found.names)} sequences are few: measure on more before a preset is changed"
    return [
        _shown(found, found.choice),
        f"success AUC over {len(found.names)} sequences, rules otb; "
        f"{len(found._tried)} settings{own}, {found.plan.kind} search",
        f"chosen {_mean(found, found.choice)} (on the sequences that it was chosen on), "
        f"best {_mean(found, found.best)}, plateau of {len(found.plateau)}",
        f"preset {_mean(found, found.default)}: {_shown(found, found.default)}",
        f"held out, {len(found.folds)} folds: {found.held_out.mean():.4f}, "
        f"{gain:+.4f} to the preset with a standard error of {error:.4f}",
        "the gain is more than its standard error" + (few if len(found.names) < _FEW else "")
        if found.worth_it
        else "the gain is not more than its standard error: keep the preset's values",
    ]


def as_dict(found: Tuning, model: str) -> dict[str, Any]:
    """Everything that was found as a tree of plain values; settings by dotted key, scores by sequence."""
    space = found.plan.space
    gain, error = found.gain
    rows = sorted(found.table.items(), key=lambda item: -float(item[1].mean()))
    return {
        "model": model,
        "metric": "success_auc",
        "rules": "otb",
        "search": found.plan.kind,
        "seed": found.plan.seed,
        "grid": {axis.key: list(axis.values) for axis in space.axes},
        "sequences": list(found.names),
        "chosen": _row(found, found.choice),
        "best": _row(found, found.best),
        "default": _row(found, found.default),
        "held_out": {
            "success_auc": float(found.held_out.mean()),
            "gain": gain,
            "standard_error": error,
            "worth_it": found.worth_it,
            "sequences": dict(zip(found.names, found.held_out.tolist(), strict=True)),
        },
        "folds": [
            {
                "sequences": list(fold.names),
                "setting": space.named(fold.setting),
                "success_auc": float(fold.scores.mean()),
            }
            for fold in found.folds
        ],
        "settings": [
            _row(found, setting)
            | {"plateau": setting in found.plateau, "sequences": dict(zip(found.names, scores.tolist(), strict=True))}
            for setting, scores in rows
        ],
    }


def _row(found: Tuning, setting: Setting) -> dict[str, Any]:
    return {"setting": found.plan.space.named(setting), "success_auc": float(found.table[setting].mean())}


def _mean(found: Tuning, setting: Setting) -> str:
    return f"{found.table[setting].mean():.4f}"


def _shown(found: Tuning, setting: Setting) -> str:
    named = found.plan.space.named(setting)
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in named.items())
