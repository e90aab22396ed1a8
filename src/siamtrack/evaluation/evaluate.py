"""One tracker on one suite, from the data set on disk to scores and speed in a store.

Each sequence is a job of the pool, whose results the worker writes itself. Results that the store holds are not made
again; failed sequences are tried again.
"""

from __future__ import annotations

import json
import math
import platform
import random
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from siamtrack.errors import ConfigError, DataError
from siamtrack.evaluation.jobs import Beat, Event, Failed, Finished, Workers, one_line
from siamtrack.evaluation.pool import run_jobs
from siamtrack.evaluation.protocols import EvaluationProtocol
from siamtrack.evaluation.scoring import score_results
from siamtrack.evaluation.store import Failure, Store
from siamtrack.evaluation.suites import Suite
from siamtrack.evaluation.tracker_session import BadPredictionError, Session
from siamtrack.evaluation.trackers import TrackerSpec
from siamtrack.formats.archive import sequence_key
from siamtrack.formats.datasets import read_dataset
from siamtrack.formats.sequence import VideoSequence
from siamtrack.io import first_names
from siamtrack.metrics.scores import Scores
from siamtrack.storage import Place, join
from siamtrack.tracking.interface import TrackerLike


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
    """The results of one tracker on one suite.

    `scores` is None where the truth is not public or nothing ran; `complete` if every sequence has its results, else
    `failures` tells why.
    """

    tracker: str
    suite: str
    folder: Place
    scores: Scores | None
    speed: Speed | None
    failures: list[Failure]
    complete: bool


Watch = Callable[[Event[VideoSequence, None], Failure | None], None]
"""Receives progress: what the pool tells, and of a sequence that failed what the store keeps of it."""


def read_suite(suite: Suite, data: str | Path) -> list[VideoSequence]:
    """Return the sequences of a suite from its data set's folder.

    Raises:
        DataError: not that data set, a malformed file, or a sequence of the suite that is missing.
    """
    found = [sequence for sequence in read_dataset(suite.data, data) if not suite.leaves_out(sequence.name)]
    if not found:
        raise DataError(f"{data}: {suite.name} leaves out all of its sequences")
    if not suite.only:
        return found
    by_key = {sequence_key(s.name): s for s in found}
    missing = [name for name in suite.only if sequence_key(name) not in by_key]
    if missing:
        raise DataError(f"{data}: {suite.name} needs the sequences {first_names(missing)}; they are not there")
    return [by_key[sequence_key(name)] for name in suite.only]


def open_store(tracker: TrackerSpec, suite: Suite, out: Place, seed: int = 0) -> Store:
    """Open `out/<tracker>/<suite>`, of a path or URL; raises `ConfigError` if it holds results of other settings."""
    manifest = {
        "tracker": tracker.name,
        "suite": suite.name,
        "protocol": {"kind": suite.kind, "settings": repr(suite.protocol)},
        "seed": seed,
        **tracker.identity,
    }
    return Store.open(join(out, tracker.name, suite.name), suite.kind, manifest)


def pending(store: Store, suite: Suite, sequences: Sequence[VideoSequence]) -> list[VideoSequence]:
    """Return the sequences that have a run which is not in the store yet."""
    done = store.done()
    return [s for s in sequences if not all(store.place(s.name, key) in done for key in suite.protocol.keys(s))]


def evaluate(
    tracker: TrackerSpec,
    suite: Suite,
    sequences: Sequence[VideoSequence],
    store: Store,
    workers: Workers,
    watch: Watch,
    rules: str | None = None,
) -> Evaluation:
    """Run what is missing, long sequences first, then score what there is and write `scores.json` and `speed.json`.

    Failures go into the store, which forgets those of other sequences than these; failed sequences are left out of the
    scores, by name.

    Raises:
        ConfigError: the tracker cannot be built, the rules do not score the suite, or no cluster answers.
        DataError: two sequences have one name, or the store cannot be read or written.
    """
    names = [s.name for s in sequences]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"{suite.name}: two sequences are called {twice}; their results would share a file")
    queue = sorted(pending(store, suite, sequences), key=lambda s: (-len(s), s.name))
    failed: set[str] = set()

    def on_event(event: Event[VideoSequence, None]) -> None:
        failure = _failure(event) if isinstance(event, Failed) else None
        if failure is not None:
            store.fail(failure)
            failed.add(failure.sequence)
        elif isinstance(event, Finished):
            store.forgive(event.job.name)
        watch(event, failure)

    run_jobs(partial(_open, tracker, suite.protocol, store), queue, workers, on_event)
    todo = {s.name for s in pending(store, suite, sequences)}
    lost = todo - failed
    if lost:
        raise DataError(
            f"{min(lost)} is done, but its results are not in {store.root}: "
            "give an --out that is the same place on all workers"
        )
    done = [s for s in sequences if s.name not in todo]
    speed, scores = None, None
    if done:
        speed = _measure_speed(store, suite, done, workers)
        if all(s.has_truth for s in done):
            scores = score_store(store, suite, done, rules, left_out=sorted(todo))
            store.write("scores.json", scores.to_json(curves=True) + "\n")
    failures = []
    for failure in store.failures():
        if failure.sequence in todo:
            failures.append(failure)
        else:  # of a sequence that the data do not have any more
            store.forgive(failure.sequence)
    return Evaluation(tracker.name, suite.name, store.root, scores, speed, failures, not todo)


def _open(tracker: TrackerSpec, protocol: EvaluationProtocol, store: Store) -> Callable[[VideoSequence, Beat], None]:
    """Build the tracker in a worker; return the work: all runs of a sequence that the store does not hold."""
    try:
        built = tracker.build()
    except Exception as error:
        raise ConfigError(f"the tracker cannot be built: {_told(error)}") from None
    return lambda sequence, beat: run_sequence(built, sequence, protocol, store, beat)


def run_sequence(
    tracker: TrackerLike, sequence: VideoSequence, protocol: EvaluationProtocol, store: Store, beat: Beat | None = None
) -> None:
    """Make the runs of a sequence that the store does not hold yet, and write each when it is complete.

    Random numbers are a function of the store's seed and the run, whichever process makes it and when.
    """
    for key in protocol.keys(sequence):
        if not store.has(sequence.name, key):
            seed = zlib.crc32(f"{store.seed}/{sequence.name}/{key}".encode(errors="surrogatepass"))
            random.seed(seed)
            np.random.seed(seed)
            if cv2 := sys.modules.get("cv2"):  # a tracker without it, or without torch, need not have it
                cv2.setRNGSeed(seed & 0x7FFFFFFF)
            if torch := sys.modules.get("torch"):
                torch.manual_seed(seed)
            session = Session(tracker, beat)
            timed = protocol.run(session, sequence, key)
            store.save(sequence, key, replace(timed, network=session.network, reading=session.reading))


def _failure(event: Failed[VideoSequence]) -> Failure:
    if event.kind != "error":
        return Failure(event.job.name, event.kind, str(event.error))
    kinds = {BadPredictionError: "answer", DataError: "data"}
    kind = next((name for of, name in kinds.items() if isinstance(event.error, of)), "raised")
    return Failure(event.job.name, kind, _told(event.error))


def _told(error: Exception) -> str:
    plain = isinstance(error, BadPredictionError | DataError)
    return " ".join(str(error).split()) if plain else one_line(error)


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


def _measure_speed(store: Store, suite: Suite, sequences: Sequence[VideoSequence], workers: Workers) -> Speed:
    """Return the frames a second over all runs of these sequences, from the times in the store; write `speed.json`."""
    frames, tracker, network, reading = 0, 0.0, 0.0, 0.0
    for sequence in sequences:
        for key in suite.protocol.keys(sequence):
            timing = store.timing(sequence.name, key)
            called = timing.seconds[1:][timing.seconds[1:] > 0]
            frames += len(called)
            tracker += float(called.sum())
            network += timing.network
            reading += timing.reading
    seconds = tracker, network, tracker + reading
    speed = Speed(*(frames / s if s > 0 else math.nan for s in seconds))
    measured = {
        "fps": {k: None if math.isnan(v) else round(v, 3) for k, v in vars(speed).items()},
        "processes": workers.processes,
        "cluster": workers.cluster,
        "threads": 1,
        "machine": {"processor": platform.processor() or platform.machine(), "system": platform.platform()},
    }
    store.write("speed.json", json.dumps(measured, indent=2) + "\n")
    return speed
