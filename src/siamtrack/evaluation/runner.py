"""Running a tracker over a suite: a job a sequence, whose results the worker writes itself.

What is in the store already is not run again; failures are tried anew.
"""

from __future__ import annotations

import random
import sys
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import cv2
import numpy as np

from siamtrack.errors import ConfigError, DataError
from siamtrack.evaluation.jobs import Advanced, Beat, Event, Failed, Started, Workers, one_line
from siamtrack.evaluation.pool import run_jobs
from siamtrack.evaluation.protocols import EvaluationProtocol
from siamtrack.evaluation.store import Failure, Store
from siamtrack.evaluation.suites import Suite
from siamtrack.evaluation.tracker_session import BadPredictionError, Session
from siamtrack.formats.sequence import VideoSequence
from siamtrack.tracking.interface import TrackerLike

__all__ = ["EvaluationWatcher", "TrackerFactory", "pending", "run_sequence", "run_suite"]


class TrackerFactory(Protocol):
    """What describes a tracker to the runner: a value that can be sent to another process (see `TrackerSpec`)."""

    @property
    def name(self) -> str:
        """The name of its results."""

    @property
    def identity(self) -> dict[str, Any]:
        """What its results depend on, for the manifest."""

    def build(self) -> TrackerLike:
        """Build the tracker in this process."""


class EvaluationWatcher(Protocol):
    """What is told about progress."""

    def started(self, worker: int, sequence: VideoSequence) -> None:
        """Tell that a worker has begun a sequence."""

    def advanced(self, worker: int, frames: int) -> None:
        """Tell how many frames the worker's sequence has had so far."""

    def finished(self, worker: int, sequence: VideoSequence, failure: Failure | None) -> None:
        """Tell that a sequence is done, or why not."""


def pending(store: Store, suite: Suite, sequences: Sequence[VideoSequence]) -> list[VideoSequence]:
    """Return the sequences that have a run which is not in the store yet."""
    done = store.done()
    return [s for s in sequences if not all(store.place(s.name, key) in done for key in suite.protocol.keys(s))]


def run_suite(
    tracker: TrackerFactory,
    suite: Suite,
    sequences: Sequence[VideoSequence],
    store: Store,
    workers: Workers,
    watcher: EvaluationWatcher,
) -> list[Failure]:
    """Run what the store does not hold yet, long sequences first.

    Returns:
        The failures of this call; they are in the store too, and are tried again by the next call.

    Raises:
        ConfigError: the tracker cannot be built at all.
        DataError: two sequences have one name, or workers write to another place than the store here.
    """
    names = [s.name for s in sequences]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"{suite.name}: two sequences are called {twice}; their results would share a file")
    todo = sorted(pending(store, suite, sequences), key=lambda s: (-len(s), s.name))
    failures: list[Failure] = []

    def on_event(event: Event[VideoSequence, None]) -> None:
        if isinstance(event, Started):
            watcher.started(event.worker, event.job)
            return
        if isinstance(event, Advanced):
            watcher.advanced(event.worker, event.beats)
            return
        failure = _failure(event) if isinstance(event, Failed) else None
        if failure is None:
            store.forgive(event.job.name)
        else:
            store.fail(failure)
            failures.append(failure)
        watcher.finished(event.worker, event.job, failure)

    run_jobs(partial(_open, tracker, suite.protocol, store), todo, workers, on_event)
    lost = {s.name for s in pending(store, suite, todo)} - {failure.sequence for failure in failures}
    if lost:
        raise DataError(
            f"{min(lost)} is done, but its results are not in {store.root}: "
            "give an --out that is the same place on all workers"
        )
    return failures


def _open(tracker: TrackerFactory, protocol: EvaluationProtocol, store: Store) -> Callable[[VideoSequence, Beat], None]:
    """Build the tracker in a worker; return the work, which makes all runs of a sequence that the store does not hold.

    Raises:
        ConfigError: the tracker cannot be built.
    """
    try:
        built = tracker.build()
    except Exception as error:
        raise ConfigError(f"the tracker cannot be built: {_told(error)}") from None

    def run(sequence: VideoSequence, beat: Beat) -> None:
        run_sequence(built, sequence, protocol, store, beat)

    return run


def run_sequence(
    tracker: TrackerLike,
    sequence: VideoSequence,
    protocol: EvaluationProtocol,
    store: Store,
    beat: Beat | None = None,
) -> None:
    """Make the runs of a sequence that the store does not hold yet, and write each when it is complete."""
    for key in protocol.keys(sequence):
        if not store.has(sequence.name, key):
            _seed(store.seed, f"{sequence.name}/{key}")
            store.save(sequence, key, protocol.run(Session(tracker, beat), sequence, key))


def _seed(seed: int, name: str) -> None:
    """Make random numbers a function of the seed and the run, whichever process makes it and when."""
    value = zlib.crc32(f"{seed}/{name}".encode())
    random.seed(value)
    np.random.seed(value)
    cv2.setRNGSeed(value & 0x7FFFFFFF)
    if torch := sys.modules.get("torch"):  # a tracker without torch need not wait for its import
        torch.manual_seed(value)


def _failure(event: Failed[VideoSequence]) -> Failure:
    if event.kind != "error":
        return Failure(event.job.name, event.kind, str(event.error))
    kinds = {BadPredictionError: "answer", DataError: "data"}
    kind = next((name for of, name in kinds.items() if isinstance(event.error, of)), "raised")
    return Failure(event.job.name, kind, _told(event.error))


def _told(error: Exception) -> str:
    plain = isinstance(error, BadPredictionError | DataError)
    return " ".join(str(error).split()) if plain else one_line(error)
