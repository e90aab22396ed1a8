"""Running jobs: in worker processes of this machine, on a Dask cluster, or in this process.

Results are reported as they come. A worker that is silent for too long is ended, one that dies is replaced; its job is
reported as failed while the others go on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol

from siamtrack.errors import ConfigError, DataError, SiamtrackError
from siamtrack.evaluation.jobs import (
    Advanced,
    Failed,
    Job,
    Message,
    OpenWork,
    Started,
    Told,
    Value,
    Workers,
    attempt,
    opened,
    outcome,
    use_one_thread,
)

_LOOK_EVERY = 0.5  # seconds


def run_jobs(
    open_work: OpenWork[Job, Value], jobs: Iterable[Job], workers: Workers, on_event: Told[Job, Value]
) -> None:
    """Run jobs, values that can be sent to another process, begun in their order, and report each one's result.

    `on_event` is called here with every event; an exception that it raises ends the run.

    Raises:
        SiamtrackError: what opening the work raised.
        ConfigError: a worker cannot start, or no cluster answers. On each way out the workers of this machine are gone.
    """
    waiting = deque(jobs)
    if not waiting:
        return
    if workers.cluster is None and workers.processes == 0:
        _run_here(open_work, waiting, on_event)
        return
    crew: Crew
    if workers.cluster is None:
        crew = _Processes(open_work, workers)
    else:
        from siamtrack.evaluation.cluster import open_cluster

        crew = open_cluster(open_work, workers)
    try:
        _run(crew, waiting, workers, on_event)
    finally:
        crew.close()


def _run_here(open_work: OpenWork[Job, Value], jobs: Iterable[Job], on_event: Told[Job, Value]) -> None:
    work = open_work()

    def advanced(job: Job, beats: int) -> None:
        on_event(Advanced(job, 0, beats))

    for job in jobs:
        on_event(Started(job, 0))
        on_event(outcome(job, 0, attempt(work, job, partial(advanced, job))))


class Crew(Protocol):
    """The workers of a run, which know each job by a number. Every method may raise what ends the run."""

    def free(self, waiting: int) -> int:
        """Return how many of the waiting jobs can be given now."""

    def give(self, number: int, job: Any) -> None:
        """Have a free worker do a job."""

    def hear(self, seconds: float) -> Iterator[tuple[int, Message]]:
        """Wait some seconds at most, then yield all that was said of jobs; one that is over is forgotten."""

    def end(self, number: int) -> str | None:
        """End the worker of a job and forget the job; return its name, or None if no worker has the job just now."""

    def close(self) -> None:
        """Take back what is still given, and leave no worker of this machine behind."""


@dataclass
class _Running(Generic[Job]):
    """A job that a crew has; jobs that run at the same time have different numbers `slot`."""

    job: Job
    slot: int
    heard: float = field(default_factory=time.monotonic)
    opened: bool = False
    told: bool = False


def _run(crew: Crew, waiting: deque[Job], limits: Workers, on_event: Told[Job, Value]) -> None:
    """Give a crew one job after the other until all are over, and end the workers that are silent for too long."""
    running: dict[int, _Running[Job]] = {}
    given = 0
    while waiting or running:
        for _ in range(crew.free(len(waiting))):
            slot = min(set(range(len(running) + 1)) - {one.slot for one in running.values()})
            running[given] = _Running(waiting.popleft(), slot)
            crew.give(given, running[given].job)
            given += 1
        for number, message in crew.hear(_LOOK_EVERY):
            one = running[number]
            one.heard = time.monotonic()
            if message[0] == "opening":
                one.opened = False
            elif message[0] == "started":
                one.opened = True
                if not one.told:  # a cluster may begin a job again
                    one.told = True
                    on_event(Started(one.job, one.slot))
            elif message[0] == "beat":
                on_event(Advanced(one.job, one.slot, message[1]))
            else:
                del running[number]
                on_event(outcome(one.job, one.slot, message))
        for number, one in list(running.items()):
            limit = limits.limit if one.opened else limits.start_limit
            if time.monotonic() - one.heard <= limit:
                continue
            worker = crew.end(number)
            if worker is None:  # no worker has it just now
                one.heard = time.monotonic()
            elif not one.opened:
                raise ConfigError(f"{worker} was not ready after {limit:g} s")
            else:
                del running[number]
                on_event(Failed(one.job, one.slot, "hung", DataError(f"no frame was finished in {limit:g} s")))


# Processes of this machine: their parent's side


@dataclass(eq=False)
class _Worker:
    """A process, and the number of its job if it has one."""

    process: BaseProcess
    pipe: Connection
    ready: bool = False
    job: int | None = None
    hired: float = field(default_factory=time.monotonic)

    @property
    def free(self) -> bool:
        return self.ready and self.job is None

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


@dataclass
class _Processes:
    """Processes of this machine; each is given a job when it is ready, and ended when none waits for it."""

    open_work: OpenWork[Any, Any]
    limits: Workers
    workers: list[_Worker] = field(default_factory=list)
    begun: deque[int] = field(default_factory=deque)

    def free(self, waiting: int) -> int:
        busy = sum(worker.job is not None for worker in self.workers)
        while len(self.workers) < min(self.limits.processes, busy + waiting):
            self._hire()
        idle = [worker for worker in self.workers if worker.free]
        for worker in idle[waiting:]:  # what it holds in memory is needed no more
            self._dismiss(worker)
        return min(waiting, len(idle))

    def _hire(self) -> None:
        # spawned, not forked: torch's threads do not survive a fork
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.open_work), daemon=True)
        with _without_ctrl_c():
            process.start()
        theirs.close()  # so that the end of the worker closes the pipe
        self.workers.append(_Worker(process, ours))

    def give(self, number: int, job: Any) -> None:
        worker = next(worker for worker in self.workers if worker.free)
        worker.job = number
        with suppress(OSError):  # it has died, which is heard next
            worker.pipe.send((job,))
        self.begun.append(number)

    def hear(self, seconds: float) -> Iterator[tuple[int, Message]]:
        while self.begun:
            yield self.begun.popleft(), ("started",)
        heard = wait([worker.pipe for worker in self.workers], timeout=seconds)
        for worker in [worker for worker in self.workers if worker.pipe in heard]:
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                message = self._died(worker)
            if message[0] == "broken":
                raise message[1]
            if message[0] == "ready":
                worker.ready = True
            elif worker.job is not None:
                number = worker.job
                if message[0] != "beat":
                    worker.job = None
                yield number, message
        for worker in self.workers:
            if not worker.ready and time.monotonic() - worker.hired > self.limits.start_limit:
                raise ConfigError(f"a worker was not ready after {self.limits.start_limit:g} s")

    def _died(self, worker: _Worker) -> Message:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        if not worker.ready:
            raise ConfigError(f"a worker process ended with code {code} before it was ready")
        self._dismiss(worker)
        return "failed", "died", DataError(f"its process ended with code {code}")

    def end(self, number: int) -> str:
        self._dismiss(next(worker for worker in self.workers if worker.job == number))
        return "a worker"

    def _dismiss(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.end()

    def close(self) -> None:
        for worker in self.workers:
            worker.end()


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Hold Ctrl-C back; a process that is started meanwhile never gets it, not even while it loads libraries."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first start would do it, and let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# Processes of this machine: their own side


def _serve(pipe: Connection, open_work: OpenWork[Any, Any]) -> None:
    """Serve the parent at the other end of `pipe` until it goes away.

    Sent are ("ready",), ("beat", beats), what `attempt` returns, and ("broken", error) if the work cannot be opened.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _end_with_parent()
    try:
        try:
            work = opened(open_work)
        except SiamtrackError as error:
            pipe.send(("broken", error))
            return
        use_one_thread()
        pipe.send(("ready",))
        while True:
            (job,) = pipe.recv()
            pipe.send(attempt(work, job, lambda beats: pipe.send(("beat", beats))))
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    """End this process when its parent is gone, however that was killed."""
    parent = parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
