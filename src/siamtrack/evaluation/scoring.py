"""Scoring by the name of a suite: raw result files of any tracker, arrays in memory, or one sequence just tracked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from siamtrack.arguments import checked
from siamtrack.evaluation.jobs import Beat, use_one_thread
from siamtrack.evaluation.protocols import RealTime
from siamtrack.evaluation.suites import Suite, find_suite
from siamtrack.evaluation.tracker_session import Session
from siamtrack.formats.datasets import read_truths
from siamtrack.formats.records import Predictions, parse_regions
from siamtrack.formats.results import read_results, region_lines
from siamtrack.formats.sequence import VideoSequence, to_file
from siamtrack.metrics.rules import AnyRuns, AnyTruth, Task, find_rule, score_runs, without_sequences
from siamtrack.metrics.scores import Scores
from siamtrack.tracking.interface import TrackerLike


@checked
def scoring_task(suite: str | Suite, rules: str | None = None) -> Task:
    """Return the scoring of a suite, by its own rules if none are named.

    Raises:
        ConfigError: an unknown suite, unknown rules, or rules that do not score the suite's protocol.
    """
    found = find_suite(suite) if isinstance(suite, str) else suite
    task = Task(found.kind, rules or found.rules, found.name, found.stack)
    find_rule(task)
    return task


@checked
def score_results(
    suite: str | Suite,
    truths: Mapping[str, AnyTruth],
    results: Mapping[str, AnyRuns],
    rules: str | None = None,
    *,
    leave_out: Iterable[str] = (),
) -> Scores:
    """Score one tracker's results on a suite (or its name), both in memory.

    `rules` names the scorer (see `metrics.rules.RULES`), by default the suite's own; see `metrics.rules.score_runs` for
    the other arguments and what is raised, besides a `ConfigError` for an unknown suite.
    """
    return score_runs(truths, results, scoring_task(suite, rules), leave_out=leave_out)


@checked
def score(
    suite: str | Suite,
    truth: str | Path,
    results: str | Path,
    rules: str | None = None,
    *,
    leave_out: Iterable[str] = (),
) -> Scores:
    """Score one tracker's raw result files against a data set's annotation, each a folder or a zip file.

    See `score_results` for the other arguments and what is raised; `formats.results.read_results` and
    `formats.datasets.read_truths` for the layouts that are understood.
    """
    found = find_suite(suite) if isinstance(suite, str) else suite
    task = scoring_task(found, rules)  # raises for a wrong name before anything is read
    leave_out = list(leave_out)
    every = read_truths(truth, found.data, only=found.only, needs_size=found.data == "vot")
    truths = {name: one for name, one in every.items() if not found.leaves_out(name)}
    kept, _ = without_sequences(truths, leave_out)
    realtime = isinstance(found.protocol, RealTime)
    runs = read_results(results, kept, found.kind, realtime=realtime, layout=found.data)
    return score_runs(truths, runs, task, leave_out=leave_out)


@checked
def score_sequence(tracker: TrackerLike, sequence: VideoSequence, beat: Beat | None = None) -> float:
    """The area under the success curve in [0, 1] of one pass over a sequence, by the rules of the suite `folder`.

    The number that `siamtrack eval --suite folder` gives it; nothing is stored. On one thread, as all evaluations: a
    result must not depend on the number of cores. `beat` is called after each frame.

    Raises:
        SiamtrackError: a frame that cannot be read, a prediction that is no box, a tracker that cannot run.
    """
    suite = find_suite("folder")
    with _one_thread():
        (key,) = suite.protocol.keys(sequence)
        timed = suite.protocol.run(Session(tracker, beat), sequence, key)
    raw = Predictions(to_file(timed.run.regions, sequence.origin), timed.run.codes)
    # Through the text of a result file, whose decimals are what `siamtrack eval` scores.
    run = parse_regions(region_lines(raw).encode(), sequence.name)
    found = score_results(suite, {sequence.name: sequence.annotation()}, {sequence.name: run})
    return float(found.sequences[sequence.name]["success_auc"])


@contextmanager
def _one_thread() -> Iterator[None]:
    cv2, torch = (sys.modules.get(name) for name in ("cv2", "torch"))  # a tracker need have neither
    before = cv2.getNumThreads() if cv2 else 0, torch.get_num_threads() if torch else 0
    use_one_thread()
    try:
        yield
    finally:
        if cv2:
            cv2.setNumThreads(before[0])
        if torch:
            torch.set_num_threads(before[1])
