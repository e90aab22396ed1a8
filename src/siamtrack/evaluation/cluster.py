"""Jobs on a Dask cluster, with the same guarantees as `pool` gives for processes of one machine.

A worker of the cluster does one job at a time. A job whose worker is lost is run again on another one; if it loses
several workers in turn (Dask's `allowed-failures`), it counts as failed. A worker whose job hangs is restarted.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Generic

from siamtrack import __version__
from siamtrack.errors import ConfigError, DataError, SiamtrackError, missing_package
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
    one_line,
    opened,
    outcome,
    use_one_thread,
)

try:
    from distributed import Client, Future, KilledWorker, Worker, WorkerPlugin, get_worker
except ImportError:
    raise missing_package("a cluster", "dask distributed", "cluster") from None

_LOOK_EVERY = 0.5
_ANSWER = 30.0
_CONNECTED = 10.0  # seconds


def run_on_cluster(
    open_work: OpenWork[Job, Value], waiting: deque[Job], workers: Workers, on_event: Told[Job, Value]
) -> None:
    """Run jobs on the workers of a Dask cluster; see `pool.run_jobs`.

    Raises:
        SiamtrackError: what opening the work raised on a worker.
        ConfigError: no scheduler or no worker answers, or a worker runs another version of siamtrack.
        DataError: the cluster went away.
    """
    try:
        client = Client(workers.cluster, timeout=_CONNECTED, set_as_default=False, name="siamtrack")
    except (OSError, ValueError, TypeError) as error:  # TypeError: tls:// without certificates
        raise ConfigError(
            f"no Dask scheduler answers at {workers.cluster} ({one_line(error)}); start one with `dask scheduler`"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_ANSWER)
        except TimeoutError:
            raise ConfigError(
                f"the cluster at {workers.cluster} has no workers; start some with "
                f"`dask worker {workers.cluster} --nthreads 1`"
            ) from None
        run = _Run(client, open_work, waiting, workers, on_event)
        try:
            run.run()
        finally:
            run.close()


class _Opened(WorkerPlugin):
    """The work of one run on a worker: opened by its first job, gone when the run is over."""

    def __init__(self, name: str, open_work: OpenWork[Any, Any], version: str) -> None:
        self.name = name
        self._open_work = open_work
        self._version = version

    def setup(self, worker: Worker) -> None:
        """Take note of the worker; Dask calls this on each one, also on those that join later."""
        self._worker = worker
        self._work: Any = None
        # random numbers and the number of threads belong to the process: it does one job at a time
        self._lock = threading.Lock()

    def run(self, number: int, job: Any) -> tuple[Any, ...]:
        """Do a job; return what `attempt` returns, or ("broken", error) if the work cannot be opened."""
        with self._lock:
            self._tell(number, "opening", 0)
            if self._work is None:
                if self._version != __version__:
                    told = f"{self._worker.address} has siamtrack {__version__}, not {self._version} as here"
                    return "broken", ConfigError(f"workers of a cluster must run the same version: {told}")
                try:
                    self._work = opened(self._open_work)
                except SiamtrackError as error:
                    return "broken", error
            use_one_thread()
            self._tell(number, "started", 0)
            return attempt(self._work, job, lambda beats: self._tell(number, "beat", beats), every=1.0)

    def _tell(self, number: int, kind: str, beats: int) -> None:
        self._worker.log_event(self.name, (number, kind, beats, self._worker.address))


def _do(name: str, number: int, job: Any) -> tuple[Any, ...]:
    """Run a job on a worker."""
    opened = get_worker().plugins[name]
    assert isinstance(opened, _Opened)
    return opened.run(number, job)


@dataclass
class _Running(Generic[Job]):
    """A job on the cluster and its last news; jobs that run at the same time have different numbers `slot`."""

    job: Job
    slot: int
    future: Future[tuple[Any, ...]]
    worker: str | None = None
    opened: bool = False
    told: bool = False
    heard: float = field(default_factory=time.monotonic)


@dataclass
class _Run(Generic[Job, Value]):
    """One run: hands out as many jobs as there are workers, and hears of them through one queue."""

    _client: Client
    _open_work: OpenWork[Job, Value]
    _waiting: deque[Job]
    _limits: Workers
    _on_event: Told[Job, Value]
    _name: str = field(default_factory=lambda: f"siamtrack-{uuid.uuid4().hex[:12]}")
    _running: dict[int, _Running[Job]] = field(default_factory=dict)
    _count: int = 0
    _heard: queue.SimpleQueue[tuple[Any, ...]] = field(default_factory=queue.SimpleQueue)
    _alive: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._client.subscribe_topic(self._name, lambda event: self._heard.put(tuple(event[1])))
        self._client.register_plugin(_Opened(self._name, self._open_work, __version__), name=self._name)

    def run(self) -> None:
        while self._waiting or self._running:
            self._hand_out()
            pause = _LOOK_EVERY
            while True:  # all that was said is heard before anyone counts as silent
                try:
                    number, kind, *details = self._heard.get(timeout=pause)
                except queue.Empty:
                    break
                pause = 0.001
                if number not in self._running:  # it hung, and was told so
                    continue
                if kind == "over":
                    self._over(number)
                else:
                    self._sign_of_life(self._running[number], kind, *details)
            self._look_for_hung()

    def close(self) -> None:
        """Take back what is still handed out, and what was left on the workers."""
        if self._client.status != "running":
            return
        self._client.cancel([running.future for running in self._running.values()], force=True)
        self._client.unsubscribe_topic(self._name)
        self._client.unregister_worker_plugin(self._name)

    def _hand_out(self) -> None:
        """Hand out jobs while there is a worker for each: a job that kills its worker then harms no other."""
        if not self._waiting:
            return
        free = len(self._workers()) - len(self._running)
        while self._waiting and free > 0:
            job, number, free = self._waiting.popleft(), self._count, free - 1
            self._count += 1
            slot = min(set(range(len(self._running) + 1)) - {running.slot for running in self._running.values()})
            future = self._client.submit(_do, self._name, number, job, key=f"{self._name}-{number}", pure=False)
            self._running[number] = _Running(job, slot, future)
            self._call_when_over(number, future)

    def _call_when_over(self, number: int, future: Future[tuple[Any, ...]]) -> None:
        future.add_done_callback(lambda _: self._heard.put((number, "over")))

    def _workers(self) -> set[str]:
        """Return the addresses of the workers that are there; raises `DataError` where none is there for long."""
        if self._client.status != "running":
            raise self._gone()
        found = set(self._client.nthreads())
        now = time.monotonic()
        if found:
            self._alive = now
        elif now - self._alive > self._limits.start_limit:
            raise self._gone()
        return found

    def _gone(self) -> DataError:
        return DataError(f"the cluster at {self._limits.cluster} went away; the same command goes on from here")

    def _sign_of_life(self, running: _Running[Job], kind: str, beats: int, worker: str) -> None:
        running.worker, running.heard = worker, time.monotonic()
        running.opened = kind != "opening"
        if running.opened and not running.told:
            running.told = True
            self._on_event(Started(running.job, running.slot))
        if kind == "beat":
            self._on_event(Advanced(running.job, running.slot, beats))

    def _over(self, number: int) -> None:
        running = self._running[number]
        future = running.future
        if future.status == "error":
            error = future.exception()
            del self._running[number]
            if not isinstance(error, KilledWorker):
                raise ConfigError(f"a worker of the cluster cannot run jobs: {one_line(error)}")
            self._on_event(Failed(running.job, running.slot, "died", DataError("it ended the workers that ran it")))
            return
        if future.status != "finished":
            raise self._gone()
        try:
            message = future.result(timeout=_ANSWER)
        except TimeoutError:  # the worker was lost with the result: it is made again
            self._call_when_over(number, future)
            return
        if message[0] == "broken":
            raise message[1]
        del self._running[number]
        self._on_event(outcome(running.job, running.slot, message))

    def _look_for_hung(self) -> None:
        now = time.monotonic()
        silent = [
            (number, running)
            for number, running in self._running.items()
            if running.worker is not None
            and now - running.heard > (self._limits.limit if running.opened else self._limits.start_limit)
        ]
        workers = self._workers() if silent or not self._running else set()
        for number, running in silent:
            if running.worker is None or running.worker not in workers:  # lost: another one will run it
                running.worker = None
                continue
            running.future.cancel(force=True)
            try:
                self._client.restart_workers([running.worker], timeout=_ANSWER, raise_for_error=False)
            except ValueError:
                raise ConfigError(
                    f"a job hangs on {running.worker}, which cannot be restarted; start workers with a nanny, "
                    "as `dask worker` does by itself"
                ) from None
            if not running.opened:
                raise ConfigError(f"the worker {running.worker} was not ready after {self._limits.start_limit:g} s")
            del self._running[number]
            message = f"no frame was finished in {self._limits.limit:g} s"
            self._on_event(Failed(running.job, running.slot, "hung", DataError(message)))
