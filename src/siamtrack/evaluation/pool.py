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
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic

from siamtrack.errors import ConfigError, DataError, SiamtrackError
from siamtrack.evaluation.jobs import (
    Advanced,
    Failed,
    Job,
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

_LOOK_EVERY = 0.5


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
    if workers.cluster is not None:
        from siamtrack.evaluation.cluster import run_on_cluster

        run_on_cluster(open_work, waiting, workers, on_event)
    elif workers.processes > 0:
        _Processes(open_work, waiting, workers, on_event).run()
    else:
        work = open_work()

        def advanced(job: Job, beats: int) -> None:
            on_event(Advanced(job, 0, beats))

        for job in waiting:
            on_event(Started(job, 0))
            on_event(outcome(job, 0, attempt(work, job, partial(advanced, job))))


# The parent's side of worker processes


@dataclass
class _Worker(Generic[Job]):
    """One process as its parent sees it; `job` holds its current job, if any."""

    number: int
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    job: tuple[Job] | None = None
    heard: float = field(default_factory=time.monotonic)

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


@dataclass
class _Processes(Generic[Job, Value]):
    """Hands jobs to worker processes until none is left."""

    open_work: OpenWork[Job, Value]
    waiting: deque[Job]
    limits: Workers
    on_event: Told[Job, Value]
    workers: dict[int, _Worker[Job]] = field(default_factory=dict)

    def run(self) -> None:
        """Run all jobs; whatever happens, no worker is left behind."""
        try:
            for number in range(min(self.limits.processes, len(self.waiting))):
                self._hire(number)
            while self.workers:
                self._look()
        finally:
            for worker in self.workers.values():
                worker.end()

    def _hire(self, number: int) -> None:
        # spawned, not forked: torch's threads do not survive a fork
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.open_work), daemon=True)
        with _without_ctrl_c():
            process.start()
        theirs.close()  # so that the end of the worker closes the pipe
        self.workers[number] = _Worker(number, process, ours)

    def _look(self) -> None:
        """Hear all workers that have something to say, then look for silent ones."""
        waited = {worker.pipe: worker for worker in self.workers.values()}
        heard = wait(list(waited), timeout=_LOOK_EVERY)
        for worker in [worker for pipe, worker in waited.items() if pipe in heard]:
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                self._died(worker)
                continue
            worker.heard = time.monotonic()
            self._hear(worker, message)
        for worker in list(self.workers.values()):
            limit = self.limits.limit if worker.ready else self.limits.start_limit
            busy = worker.job is not None or not worker.ready
            if busy and time.monotonic() - worker.heard > limit:
                if not worker.ready:
                    raise ConfigError(f"a worker was not ready after {limit:g} s")
                self._replace(worker, "hung", f"no frame was finished in {limit:g} s")

    def _hear(self, worker: _Worker[Job], message: tuple[Any, ...]) -> None:
        if message[0] == "broken":
            raise message[1]
        if message[0] == "beat":
            if worker.job is not None:
                self.on_event(Advanced(worker.job[0], worker.number, message[1]))
            return
        worker.ready = True
        if worker.job is not None:
            (job,), worker.job = worker.job, None
            self.on_event(outcome(job, worker.number, message))
        self._next(worker)

    def _next(self, worker: _Worker[Job]) -> None:
        """Give a free worker the next job, or send it home."""
        if not self.waiting:
            self._dismiss(worker)
            return
        job = self.waiting.popleft()
        worker.job = (job,)
        try:
            worker.pipe.send((job,))
        except OSError:
            self._died(worker)
            return
        self.on_event(Started(job, worker.number))

    def _died(self, worker: _Worker[Job]) -> None:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        if not worker.ready:
            raise ConfigError(f"a worker process ended with code {code} before it was ready")
        self._replace(worker, "died", f"its process ended with code {code}")

    def _replace(self, worker: _Worker[Job], kind: str, message: str) -> None:
        self._dismiss(worker)
        if worker.job is not None:
            self.on_event(Failed(worker.job[0], worker.number, kind, DataError(message)))
        if self.waiting:
            self._hire(worker.number)

    def _dismiss(self, worker: _Worker[Job]) -> None:
        del self.workers[worker.number]
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


# The worker's side


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
