"""One tracker on one suite, from the data set on disk to scores and speed in a store."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from siamtrack.errors import DataError
from siamtrack.evaluation.jobs import Workers
from siamtrack.evaluation.runner import EvaluationWatcher, TrackerFactory, pending, run_suite
from siamtrack.evaluation.scoring import score_results
from siamtrack.evaluation.store import Failure, Store
from siamtrack.evaluation.suites import Suite
from siamtrack.formats.archive import sequence_key
from siamtrack.formats.datasets import read_dataset
from siamtrack.formats.sequence import VideoSequence
from siamtrack.io import first_names
from siamtrack.metrics.scores import Scores
from siamtrack.storage import Place, join

__all__ = ["Evaluation", "Speed", "evaluate", "open_store", "read_suite", "score_store"]


@dataclass(frozen=True)
class Speed:
    """Frames a second: `tracker` from frame in memory to box, `network` alone, `end_to_end` with reading.

    nan where the tracker does not tell. The first call of each run, which starts the tracker, is left out.
    """

    tracker: float
    network: float
    end_to_end: float


@dataclass(frozen=True)
class Evaluation:
    """What became of one tracker on one suite.

    `scores` is None where the truth is not public or nothing ran. `complete` says that every sequence has its results.
    """

    tracker: str
    suite: str
    folder: Place
    scores: Scores | None
    speed: Speed | None
    failures: list[Failure]
    complete: bool


def read_suite(suite: Suite, data: str | Path) -> list[VideoSequence]:
    """Return the sequences of a suite from its data set's folder.

    Raises:
        DataError: not that data set, a malformed file, or a sequence of the suite that is missing.
    """
    found = read_dataset(suite.data, data)
    if not suite.only:
        return found
    by_key = {sequence_key(s.name): s for s in found}
    missing = [name for name in suite.only if sequence_key(name) not in by_key]
    if missing:
        raise DataError(f"{data}: {suite.name} needs the sequences {first_names(missing)}; they are not there")
    return [by_key[sequence_key(name)] for name in suite.only]


def open_store(tracker: TrackerFactory, suite: Suite, out: Place, seed: int = 0) -> Store:
    """Open `out/<tracker>/<suite>`, below a path or a URL, for results of this tracker.

    Raises `ConfigError` if it holds other settings.
    """
    manifest = {
        "tracker": tracker.name,
        "suite": suite.name,
        "protocol": {"kind": suite.kind, "settings": repr(suite.protocol)},
        "seed": seed,
        **tracker.identity,
    }
    return Store.open(join(out, tracker.name, suite.name), suite.kind, manifest)


def evaluate(
    tracker: TrackerFactory,
    suite: Suite,
    sequences: Sequence[VideoSequence],
    store: Store,
    workers: Workers,
    watcher: EvaluationWatcher,
    rules: str | None = None,
) -> Evaluation:
    """Run what is missing, then score what there is and write `scores.json` and `speed.json`.

    Sequences that failed are left out of the scores, by name.

    Raises:
        ConfigError: the tracker cannot be built, the rules do not score the suite, or no cluster answers.
        DataError: two sequences have one name, or the store cannot be read or written.
    """
    run_suite(tracker, suite, sequences, store, workers, watcher)
    todo = {s.name for s in pending(store, suite, sequences)}
    done = [s for s in sequences if s.name not in todo]
    speed, scores = None, None
    if done:
        speed = measure_speed(store, suite, done)
        store.write("speed.json", _speed_json(speed, workers))
        if all(s.has_truth for s in done):
            scores = score_store(store, suite, done, rules, left_out=sorted(todo))
            store.write("scores.json", scores.to_json(curves=True) + "\n")
    return Evaluation(tracker.name, suite.name, store.root, scores, speed, store.failures(), not todo)


def score_store(
    store: Store,
    suite: Suite,
    sequences: Sequence[VideoSequence],
    rules: str | None = None,
    *,
    left_out: Sequence[str] = (),
) -> Scores:
    """Score the results in a store by the suite's rules, or by named ones.

    Raises:
        ConfigError: rules that do not score the suite's protocol.
        DataError: a result that is missing or malformed.
    """
    truths = {s.name: s.annotation() for s in sequences}
    runs = {s.name: [store.load_raw(s.name, key) for key in suite.protocol.keys(s)] for s in sequences}
    return replace(score_results(suite, truths, runs, rules), left_out=list(left_out))


def measure_speed(store: Store, suite: Suite, sequences: Sequence[VideoSequence]) -> Speed:
    """Return the frames a second over all runs of these sequences, from the times in the store."""
    frames, tracker, network, reading = 0, 0.0, 0.0, 0.0
    for sequence in sequences:
        for key in suite.protocol.keys(sequence):
            timing = store.timing(sequence.name, key)
            called = timing.seconds[1:][timing.seconds[1:] > 0]
            frames += len(called)
            tracker += float(called.sum())
            network += timing.network
            reading += timing.reading
    return Speed(_rate(frames, tracker), _rate(frames, network), _rate(frames, tracker + reading))


def _rate(frames: int, seconds: float) -> float:
    return frames / seconds if seconds > 0 else math.nan


def _speed_json(speed: Speed, workers: Workers) -> str:
    document: Mapping[str, Any] = {
        "fps": {k: None if math.isnan(v) else round(v, 3) for k, v in vars(speed).items()},
        "processes": workers.processes,
        "cluster": workers.cluster,
        "threads": 1,
        "machine": {"processor": platform.processor() or platform.machine(), "system": platform.platform()},
    }
    return json.dumps(document, indent=2) + "\n"
