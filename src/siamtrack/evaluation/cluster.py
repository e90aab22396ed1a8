"""Jobs on a Dask cluster, with the same guarantees as `pool` gives for processes of one machine.

A worker of the cluster does one job at a time. A job whose worker is lost is run again on another one; if it loses
several workers in turn (Dask's `allowed-failures`), it counts as failed. A worker whose job hangs is restarted.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from siamtrack import __version__
from siamtrack.errors import ConfigError, DataError, SiamtrackError, missing_package
from siamtrack.evaluation.jobs import Message, OpenWork, Workers, attempt, one_line, opened, use_one_thread

try:
    from distributed import Client, Future, KilledWorker, Worker, WorkerPlugin, get_worker
except ImportError:
    raise missing_package("a cluster", "dask distributed", "cluster") from None

_ANSWER = 30.0
_CONNECTED = 10.0  # seconds


def open_cluster(open_work: OpenWork[Any, Any], limits: Workers) -> ClusterCrew:
    """Return the workers of a Dask cluster, as the crew of a run.

    Raises:
        ConfigError: no scheduler or no worker answers.
    """
    try:
        client = Client(limits.cluster, timeout=_CONNECTED, set_as_default=False, name="siamtrack")
    except (OSError, ValueError, TypeError) as error:  # TypeError: tls:// without certificates
        raise ConfigError(
            f"no Dask scheduler answers at {limits.cluster} ({one_line(error)}); start one with `dask scheduler`"
        ) from None
    with ExitStack() as undo:
        undo.enter_context(client)
        try:
            client.wait_for_workers(1, timeout=_ANSWER)
        except TimeoutError:
            raise ConfigError(
                f"the cluster at {limits.cluster} has no workers; start some with "
                f"`dask worker {limits.cluster} --nthreads 1`"
            ) from None
        crew = ClusterCrew(client, open_work, limits)
        undo.pop_all()
        return crew


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

    def run(self, number: int, job: Any) -> Message:
        """Do a job; return what `attempt` returns, or ("broken", error) if the work cannot be opened."""
        with self._lock:
            self._tell(number, "opening")
            if self._work is None:
                if self._version != __version__:
                    told = f"{self._worker.address} has siamtrack {__version__}, not {self._version} as here"
                    return "broken", ConfigError(f"workers of a cluster must run the same version: {told}")
                try:
                    self._work = opened(self._open_work)
                except SiamtrackError as error:
                    return "broken", error
            use_one_thread()
            self._tell(number, "started")
            return attempt(self._work, job, lambda beats: self._tell(number, "beat", beats), every=1.0)

    def _tell(self, number: int, kind: str, *beats: int) -> None:
        self._worker.log_event(self.name, (number, self._worker.address, kind, *beats))


def _do(name: str, number: int, job: Any) -> Message:
    """Run a job on a worker."""
    opened = get_worker().plugins[name]
    assert isinstance(opened, _Opened)
    return opened.run(number, job)


@dataclass
class _Given:
    """A job on the cluster, and the address of the worker that last spoke of it."""

    future: Future[Message]
    worker: str | None = None


class ClusterCrew:
    """The workers of a cluster: each is given one job at a time, and what they say comes through one queue.

    Raises, but for what opening the work raised:
        ConfigError: a worker runs another version of siamtrack, cannot run jobs, or hangs and cannot be restarted.
        DataError: the cluster went away.
    """

    def __init__(self, client: Client, open_work: OpenWork[Any, Any], limits: Workers) -> None:
        self._client = client
        self._limits = limits
        self._name = f"siamtrack-{uuid.uuid4().hex[:12]}"
        self._given: dict[int, _Given] = {}
        self._said: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._alive = time.monotonic()
        client.subscribe_topic(self._name, lambda event: self._said.put(tuple(event[1])))
        client.register_plugin(_Opened(self._name, open_work, __version__), name=self._name)

    def free(self, waiting: int) -> int:
        """Return how many jobs can be given: one a worker, so that a job that kills its worker harms no other."""
        return max(0, min(waiting, len(self._workers()) - len(self._given)))

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

    def give(self, number: int, job: Any) -> None:
        """Hand a job to Dask; it begins when a worker says so."""
        future = self._client.submit(_do, self._name, number, job, key=f"{self._name}-{number}", pure=False)
        self._given[number] = _Given(future)
        self._call_when_over(number, future)

    def _call_when_over(self, number: int, future: Future[Message]) -> None:
        future.add_done_callback(lambda _: self._said.put((number, None, "over")))

    def hear(self, seconds: float) -> Iterator[tuple[int, Message]]:
        """Yield all that was said, so that nobody who spoke counts as silent."""
        pause = seconds
        while True:
            try:
                number, worker, *message = self._said.get(timeout=pause)
            except queue.Empty:
                return
            pause = 0.001
            if number not in self._given:  # it hung, and was ended
                continue
            if message != ["over"]:
                self._given[number].worker = worker
                yield number, tuple(message)
            elif (last := self._last_words(number)) is not None:
                del self._given[number]
                yield number, last

    def _last_words(self, number: int) -> Message | None:
        """Return how a job ended, or None if its worker was lost with the result, which is then made again."""
        future = self._given[number].future
        if future.status == "error":
            error = future.exception()
            if not isinstance(error, KilledWorker):
                raise ConfigError(f"a worker of the cluster cannot run jobs: {one_line(error)}")
            return "failed", "died", DataError("it ended the workers that ran it")
        if future.status != "finished":
            raise self._gone()
        try:
            message = future.result(timeout=_ANSWER)
        except TimeoutError:
            self._call_when_over(number, future)
            return None
        if message[0] == "broken":
            raise message[1]
        return message

    def end(self, number: int) -> str | None:
        """Restart the worker of a job; None where Dask has the job wait, or run again as its worker is lost."""
        given = self._given[number]
        worker, given.worker = given.worker, None
        if worker is None or worker not in self._workers():
            return None
        del self._given[number]
        given.future.cancel(force=True)
        try:
            self._client.restart_workers([worker], timeout=_ANSWER, raise_for_error=False)
        except ValueError:
            raise ConfigError(
                f"a job hangs on {worker}, which cannot be restarted; start workers with a nanny, "
                "as `dask worker` does by itself"
            ) from None
        return f"the worker {worker}"

    def close(self) -> None:
        """Take back what is still given, and what was left on the workers."""
        with self._client:
            if self._client.status == "running":
                self._client.cancel([given.future for given in self._given.values()], force=True)
                self._client.unsubscribe_topic(self._name)
                self._client.unregister_worker_plugin(self._name)
