"""Scoring results by official rules: from files with `score`, from arrays in memory with `score_runs`.

The reading half turns folders and zip files into `Truth` and `Predictions` values, the other half knows nothing of
files; an evaluation that has just run a tracker calls the second with what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from siamtrack.errors import DataError
from siamtrack.evaluation.benchmarks import Benchmark, find_benchmark
from siamtrack.formats.archive import sequence_key
from siamtrack.formats.records import Predictions, Truth
from siamtrack.formats.results import read_results
from siamtrack.formats.truth import read_truths
from siamtrack.metrics.rules import find_rule
from siamtrack.metrics.scores import Scores

__all__ = ["Scores", "score", "score_runs"]

AnyTruth = Truth | npt.ArrayLike
AnyRuns = Predictions | Sequence[Predictions] | npt.NDArray[np.generic]


def _truth(name: str, value: AnyTruth) -> Truth:
    return value if isinstance(value, Truth) else Truth(name, np.asarray(value, dtype=np.float64))


def _runs(value: AnyRuns) -> list[Predictions]:
    if isinstance(value, Predictions):
        return [value]
    if isinstance(value, np.ndarray):
        return [Predictions(np.asarray(value, dtype=np.float64))]
    return list(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _less(truths: dict[str, Truth], leave_out: Iterable[str]) -> tuple[dict[str, Truth], list[str]]:
    keys = {sequence_key(name): name for name in truths}
    unknown = [name for name in leave_out if sequence_key(name) not in keys]
    if unknown:
        raise DataError(f"cannot leave out {_listed(unknown)}: the truth has no such sequence")
    out = {keys[sequence_key(name)] for name in leave_out}
    return {name: t for name, t in truths.items() if name not in out}, sorted(out)


def score_runs(
    suite: str | Benchmark,
    truths: Mapping[str, AnyTruth],
    results: Mapping[str, AnyRuns],
    rules: str | None = None,
    *,
    leave_out: Iterable[str] = (),
) -> Scores:
    """Score one tracker's results against the truth, both in memory.

    `truths` maps a sequence to its `Truth` or to bare (N, 4) or (N, 8) regions; `results` maps it to an array
    alike, to a `Predictions` (with VOT's special codes, confidences) or to several (repetitions, multi-starts).
    `rules` names the scorer (see `rules.RULES`), by default the suite's own. Sequences in `leave_out` are not
    scored.

    Raises `ConfigError` for an unknown suite or rule; `DataError` that names the sequences which have no
    result or one that the rule's scorer does not take. Results of other sequences are not looked at.
    """
    benchmark = suite if isinstance(suite, Benchmark) else find_benchmark(suite)
    rule, scorer = find_rule(rules, benchmark)
    known, out = _less({name: _truth(name, value) for name, value in truths.items()}, list(leave_out))
    if not known:
        raise DataError(f"{benchmark.name}: there is no sequence to score")
    runs = {name: _runs(results[name]) for name in known if name in results}
    missing = [name for name in known if not runs.get(name)]
    if missing and not rule.scores_missing:
        raise DataError(f"{rule.name}: no result for {_listed(missing)}; add it or leave the sequence out")
    without_size = [name for name, truth in known.items() if truth.size is None]
    if without_size and benchmark.protocol != "ope":
        raise DataError(
            f"{benchmark.name}: no image size for {_listed(without_size)}; "
            "expected meta.json or the frames beside the truth"
        )
    scores = scorer(known, {name: r for name, r in runs.items() if r}, benchmark, rule.name)
    return replace(scores, left_out=out) if out else scores


def score(
    suite: str,
    truth: str | Path,
    results: str | Path,
    rules: str | None = None,
    *,
    leave_out: Iterable[str] = (),
) -> Scores:
    """Score one tracker's raw result files against a benchmark's annotation, each a folder or a zip file.

    See `score_runs` for `suite`, `rules`, `leave_out` and what is raised; `results.read_results` and
    `truth.read_truths` for the layouts that are understood.
    """
    benchmark = find_benchmark(suite)
    find_rule(rules, benchmark)  # a wrong name is told before anything is read
    leave_out = list(leave_out)
    needs_size = benchmark.protocol != "ope" or benchmark.name == "got10k"
    truths = read_truths(truth, benchmark.data, only=benchmark.only, needs_size=needs_size)
    kept, _ = _less(truths, leave_out)
    runs = read_results(results, kept, benchmark.protocol)
    return score_runs(benchmark, truths, runs, rules, leave_out=leave_out)
