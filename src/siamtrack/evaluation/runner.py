"""Running a tracker over a suite: sequences are shared out to worker processes, and to machines by torchrun.

A worker builds the tracker, runs one sequence after the other and writes each result itself. The parent hands
out sequences and watches: a worker that is silent for too long is killed, one that dies is replaced, and the
sequence is recorded as failed while the rest goes on. What is in the store already is not run again; failures
are tried anew.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from siamtrack.errors import ConfigError, DataError
from siamtrack.evaluation.spawn import start_worker
from siamtrack.evaluation.store import Failure, Store
from siamtrack.evaluation.suites import Suite
from siamtrack.evaluation.tracker_session import TrackerLike
from siamtrack.evaluation.worker import work
from siamtrack.formats.sequence import VideoSequence

__all__ = ["Settings", "TrackerFactory", "Watcher", "pending", "ranks", "run_suite", "share"]

_LOOK_EVERY = 0.5


class TrackerFactory(Protocol):
    """What describes a tracker to the runner.

    A value that can be sent to another process (see `TrackerSpec`).
    """

    @property
    def name(self) -> str:
        """The name of its results."""

    @property
    def identity(self) -> dict[str, Any]:
        """What its results depend on, for the manifest."""

    def build(self) -> TrackerLike:
        """Build the tracker in this process."""


class Watcher(Protocol):
    """What is told about progress."""

    def started(self, worker: int, sequence: VideoSequence) -> None:
        """Tell that a worker has begun a sequence."""

    def advanced(self, worker: int, frames: int) -> None:
        """Tell how many frames the worker's sequence has had so far."""

    def finished(self, worker: int, sequence: VideoSequence, failure: Failure | None) -> None:
        """Tell that a sequence is done, or why not."""


@dataclass(frozen=True)
class Settings:
    """How a suite is run; none of these changes a result.

    Attributes:
        processes: workers on this machine.
        limit: seconds without a sign of life after which a worker counts as hung: a frame must not take
            longer.
        start_limit: seconds that building the tracker may take.
        seed: of all random numbers, with the sequence's name (this one is in the manifest).
    """

    processes: int = 1
    limit: float = 120.0
    start_limit: float = 600.0
    seed: int = 0


def ranks() -> tuple[int, int]:
    """Return (rank, world size) as torchrun sets them, (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def share(sequences: Sequence[VideoSequence], rank: int, world: int) -> list[VideoSequence]:
    """Return the sequences of one rank, long ones first.

    Each goes to the rank with the fewest frames so far.
    """
    ordered = sorted(sequences, key=lambda s: (-len(s), s.name))
    if world == 1:
        return ordered
    load = [0] * world
    mine = []
    for sequence in ordered:
        least = load.index(min(load))
        load[least] += len(sequence)
        if least == rank:
            mine.append(sequence)
    return mine


def pending(store: Store, suite: Suite, sequences: Sequence[VideoSequence]) -> list[VideoSequence]:
    """Return the sequences that have a run which is not in the store yet."""
    return [s for s in sequences if not all(store.has(s.name, key) for key in suite.protocol.keys(s))]


@dataclass
class _Worker:
    """One worker process and what the parent knows of it."""

    number: int
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    sequence: VideoSequence | None = None
    heard: float = field(default_factory=time.monotonic)

    def silent(self, settings: Settings) -> bool:
        """Whether it has been silent for longer than it may."""
        limit = settings.limit if self.ready else settings.start_limit
        busy = self.sequence is not None or not self.ready
        return busy and time.monotonic() - self.heard > limit

    def end(self) -> None:
        """Make sure that the process is gone."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


class _Pool:
    """The parent's side: hands sequences to workers until none is left."""

    def __init__(
        self,
        tracker: TrackerFactory,
        suite: Suite,
        store: Store,
        settings: Settings,
        jobs: list[VideoSequence],
        watcher: Watcher,
    ) -> None:
        self._arguments = (tracker, suite.protocol, store, settings.seed)
        self._store = store
        self._settings = settings
        self._jobs = deque(jobs)
        self._watcher = watcher
        self._workers: dict[int, _Worker] = {}
        self.failures: list[Failure] = []

    def run(self) -> list[Failure]:
        """Run all jobs and return the failures among them."""
        try:
            for number in range(min(self._settings.processes, len(self._jobs))):
                self._hire(number)
            while self._workers:
                self._look()
        finally:
            for worker in self._workers.values():
                worker.end()
        return self.failures

    def _hire(self, number: int) -> None:
        pipe, process = start_worker(work, *self._arguments)
        self._workers[number] = _Worker(number, process, pipe)

    def _look(self) -> None:
        """Hear all workers that have something to say, then look for silent ones."""
        by_pipe = {worker.pipe: worker for worker in self._workers.values()}
        for pipe in wait(list(by_pipe), timeout=_LOOK_EVERY):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                self._died(worker)
                continue
            worker.heard = time.monotonic()
            self._hear(worker, message)
        for worker in list(self._workers.values()):
            if worker.silent(self._settings):
                self._hung(worker)

    def _hear(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        kind = message[0]
        if kind == "beat":
            self._watcher.advanced(worker.number, message[1])
        elif kind == "broken":
            raise ConfigError(f"the tracker cannot be built: {message[1]}")
        else:
            worker.ready = True
            if kind != "ready":
                self._finish(worker, None if kind == "done" else Failure(_name(worker), kind, message[1]))
            self._next(worker)

    def _next(self, worker: _Worker) -> None:
        """Give a free worker the next sequence, or send it home."""
        if not self._jobs:
            self._dismiss(worker)
            return
        sequence = self._jobs.popleft()
        worker.sequence = sequence
        try:
            worker.pipe.send(sequence)
        except OSError:
            self._died(worker)
            return
        self._watcher.started(worker.number, sequence)

    def _finish(self, worker: _Worker, failure: Failure | None) -> None:
        sequence, worker.sequence = worker.sequence, None
        if sequence is None:
            return
        if failure is None:
            self._store.forgive(sequence.name)
        else:
            self._store.fail(failure)
            self.failures.append(failure)
        self._watcher.finished(worker.number, sequence, failure)

    def _died(self, worker: _Worker) -> None:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        if not worker.ready:
            raise ConfigError(f"the tracker's process ended with code {code} before it was ready")
        self._replace(worker, Failure(_name(worker), "died", f"the tracker's process ended with code {code}"))

    def _hung(self, worker: _Worker) -> None:
        if not worker.ready:
            raise ConfigError(f"the tracker was not ready after {self._settings.start_limit:g} s")
        message = f"no frame was finished in {self._settings.limit:g} s"
        self._replace(worker, Failure(_name(worker), "hung", message))

    def _replace(self, worker: _Worker, failure: Failure) -> None:
        self._dismiss(worker)
        self._finish(worker, failure)
        if self._jobs:
            self._hire(worker.number)

    def _dismiss(self, worker: _Worker) -> None:
        del self._workers[worker.number]
        worker.end()


def _name(worker: _Worker) -> str:
    return worker.sequence.name if worker.sequence is not None else "?"


def run_suite(
    tracker: TrackerFactory,
    suite: Suite,
    sequences: Sequence[VideoSequence],
    store: Store,
    settings: Settings,
    watcher: Watcher,
) -> list[Failure]:
    """Run what the store does not hold yet, on this rank's share of the sequences.

    Returns:
        The failures of this call; they are in the store too, and are tried again by the next call.

    Raises:
        ConfigError: the tracker cannot be built at all.
        DataError: two sequences have one name.
    """
    names = [s.name for s in sequences]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"{suite.name}: two sequences are called {twice}; their results would share a file")
    todo = pending(store, suite, share(sequences, *ranks()))
    for sequence in todo:  # an old failure must not look like this run's to another rank
        store.forgive(sequence.name)
    return _Pool(tracker, suite, store, settings, todo, watcher).run()
