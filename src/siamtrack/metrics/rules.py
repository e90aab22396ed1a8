"""The named rules, which have a scorer for each protocol, and scoring by them: from truths and runs to `Scores`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from siamtrack.errors import ConfigError, DataError, look_up, reason
from siamtrack.formats.archive import sequence_key
from siamtrack.formats.records import Predictions, Truth
from siamtrack.io import first_names
from siamtrack.metrics import ope
from siamtrack.metrics.longterm import longterm_scorer, unsupervised_scorer
from siamtrack.metrics.multistart import multistart_scorer
from siamtrack.metrics.scores import Results, Scores, Truths
from siamtrack.metrics.vot import VotStack, got10k_reset_scorer, pysot_reset_scorer, toolkit_reset_scorer

AnyTruth = Truth | npt.ArrayLike
AnyRuns = Predictions | Sequence[Predictions] | npt.ArrayLike
Scorer = Callable[[Truths, Results, VotStack], Scores]
_NO_SIZE_NEEDED = ("ope", "tre", "sre")


@dataclass(frozen=True)
class Task:
    """How to score.

    Attributes:
        protocol: of the runs: ope, tre, sre, reset, multistart, unsupervised or longterm.
        rules: one of `RULES`.
        suite: a name for the scores and for messages.
        stack: VOT's settings of the year.
    """

    protocol: str = "ope"
    rules: str = "otb"
    suite: str = "these results"
    stack: VotStack = field(default_factory=VotStack)


@dataclass(frozen=True)
class Rule:
    """A scorer for each protocol, the source of the rules, and whether sequences without a result are scored."""

    name: str
    source: str
    scorers: Mapping[str, Scorer]
    scores_missing: bool = False


def _one_pass(score: Callable[[Truths, Results], Scores]) -> dict[str, Scorer]:
    """Return the scorers of one-pass rules: TRE and SRE are scored as one pass whose runs are joined."""

    def pooled(truths: Truths, results: Results, stack: VotStack) -> Scores:
        return score(*ope.pool_passes(truths, results))

    return {"ope": lambda truths, results, stack: score(truths, results), "tre": pooled, "sre": pooled}


def _rules() -> Mapping[str, Rule]:
    otb = _one_pass(ope.curves_scorer(ope.otb_curves))
    found = [
        Rule("otb", "OTB MATLAB toolkit v1.1", otb),
        Rule("uav123", "UAV123, whose sequences are configured for OTB's MATLAB toolkit", otb),
        Rule("lasot", "LaSOT MATLAB toolkit", _one_pass(ope.curves_scorer(ope.lasot_curves, drop_zero=True))),
        Rule("pysot", "PySOT toolkit, OPEBenchmark", _one_pass(ope.curves_scorer(ope.pysot_curves))),
        Rule("got10k", "GOT-10k evaluation, all frames pooled", _one_pass(ope.got10k_scorer)),
        Rule(
            "got10k-toolkit",
            "GOT-10k toolkit, its experiments for OTB, LaSOT and VOT",
            {**_one_pass(ope.curves_scorer(ope.got10k_toolkit_curves)), "reset": got10k_reset_scorer},
        ),
        Rule("trackingnet", "TrackingNet devkit, metrics.py", _one_pass(ope.trackingnet_scorer), scores_missing=True),
        Rule(
            "vot-pysot",
            "PySOT toolkit, AccuracyRobustness, EAO and F1 benchmarks",
            {
                "reset": pysot_reset_scorer,
                "longterm": lambda truths, results, stack: longterm_scorer(truths, results, toolkit=False),
            },
        ),
        Rule(
            "vot-toolkit",
            "vot-toolkit 0.9",
            {
                "reset": toolkit_reset_scorer,
                "multistart": multistart_scorer,
                "longterm": lambda truths, results, stack: longterm_scorer(truths, results, toolkit=True),
                "unsupervised": unsupervised_scorer,
            },
        ),
    ]
    return MappingProxyType({rule.name: rule for rule in found})


RULES: Mapping[str, Rule] = _rules()
"""The rules by name."""


def find_rule(task: Task) -> tuple[Rule, Scorer]:
    """Return a task's rule and scorer; raises `ConfigError` for an unknown rule, or one without its protocol."""
    key = task.rules.lower().replace("_", "-")
    if key == "pysot" and task.protocol not in _NO_SIZE_NEEDED:
        key = "vot-pysot"
    rule = look_up(RULES, key, "rules")
    if task.protocol not in rule.scorers:
        able = ", ".join(r.name for r in RULES.values() if task.protocol in r.scorers)
        raise ConfigError(f"rules {key} do not score {task.suite}, a {task.protocol} benchmark; use {able}")
    return rule, rule.scorers[task.protocol]


def without_sequences(truths: Mapping[str, Truth], leave_out: Iterable[str]) -> tuple[dict[str, Truth], list[str]]:
    """Return the truths without some sequences, in any spelling, and their names; raises `DataError` for others."""
    keys = {sequence_key(name): name for name in truths}
    wanted = list(leave_out)
    unknown = [name for name in wanted if sequence_key(name) not in keys]
    if unknown:
        raise DataError(f"cannot leave out {first_names(unknown)}: the truth has no such sequence")
    out = {keys[sequence_key(name)] for name in wanted}
    return {name: truth for name, truth in truths.items() if name not in out}, sorted(out)


def _several(name: str, found: Any) -> Sequence[Predictions]:
    if isinstance(found, Predictions):
        return [found]
    try:
        if all(isinstance(run, Predictions) for run in found):
            return list(found)
        return [Predictions(found)]
    except (DataError, TypeError) as error:
        raise DataError(f"the results of {name}: {reason(error)}") from None


def score_runs(
    truths: Mapping[str, AnyTruth],
    results: Mapping[str, AnyRuns],
    task: Task = Task(),
    *,
    leave_out: Iterable[str] = (),
) -> Scores:
    """Score one tracker's results against the truth, both in memory.

    Args:
        truths: by sequence a `Truth`, or (N, 4) boxes x, y, w, h or (N, 8) polygons.
        results: by sequence an array of the same kind, a `Predictions` (with VOT's special codes, confidences), or
            several (repetitions, passes, multi-starts). Results of other sequences are ignored.
        task: the rules, the protocol and VOT's settings.
        leave_out: sequences that are not scored.

    Raises:
        ConfigError: unknown rules, or rules that do not score the task's protocol.
        DataError: sequences have no result, or one that the scorer does not take; the message names them.
    """
    rule, scorer = find_rule(task)
    given: Mapping[str, Any] = truths
    every = {name: value if isinstance(value, Truth) else Truth(name, value) for name, value in given.items()}
    known, out = without_sequences(every, leave_out)
    if not known:
        raise DataError(f"{task.suite}: there is no sequence to score")
    runs: dict[str, Sequence[Predictions]] = {}
    for name in known:
        if several := _several(name, results.get(name, ())):
            runs[name] = several
    missing = [name for name in known if name not in runs]
    if missing and not rule.scores_missing:
        raise DataError(f"{rule.name}: no result for {first_names(missing)}; add it or leave the sequence out")
    without_size = [name for name, truth in known.items() if truth.size is None]
    if without_size and task.protocol not in _NO_SIZE_NEEDED:
        names = first_names(without_size)
        raise DataError(f"{task.suite}: no image size for {names}; expected meta.json or the frames beside the truth")
    scores = scorer(known, runs, task.stack)
    return replace(scores, suite=task.suite, rules=rule.name, left_out=out)
