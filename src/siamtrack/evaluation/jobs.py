"""What `pool` and `cluster` share: jobs, the work that is done with them, and the events that tell of it.

A job is a value that can be sent to another process. The work is opened once in each worker, so that a network is
loaded once, and then called with one job after the other.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from siamtrack.errors import ConfigError, DataError, SiamtrackError

Job = TypeVar("Job")
Value = TypeVar("Value")
Beat = Callable[[], None]
"""Called by the work now and then, once a frame: a sign of life."""
Message = tuple[Any, ...]
"""What is said of a job: ("opening",) and ("started",), ("beat", beats), at last what `attempt` returns."""
OpenWork = Callable[[], Callable[[Job, Beat], Value]]
"""Called once in each worker; returns the work, which makes a value of a job. Both must be importable."""


@dataclass(frozen=True)
class Workers:
    """Where jobs run; does not change a result.

    Attributes:
        processes: workers on this machine; 0 runs the jobs in this process, which nothing guards against a hang.
        cluster: the address of a Dask scheduler, as tcp://host:8786; its workers are used in place of processes here.
        limit: seconds without a beat after which a job counts as hung.
        start_limit: seconds that opening the work may take.
    """

    processes: int = 1
    cluster: str | None = None
    limit: float = 120.0
    start_limit: float = 600.0


@dataclass(frozen=True)
class Started(Generic[Job]):
    """A worker has begun a job; jobs that run at the same time have different numbers `worker`."""

    job: Job
    worker: int


@dataclass(frozen=True)
class Advanced(Generic[Job]):
    """A job has had `beats` beats so far."""

    job: Job
    worker: int
    beats: int


@dataclass(frozen=True)
class Finished(Generic[Job, Value]):
    """A job has given a value."""

    job: Job
    worker: int
    value: Value


@dataclass(frozen=True)
class Failed(Generic[Job]):
    """A job that gave no value.

    `kind` is error (a `SiamtrackError` of the work, here as it was raised), raised (any other), hung or died; `error`
    says what happened in one line.
    """

    job: Job
    worker: int
    kind: str
    error: SiamtrackError


Event = Started[Job] | Advanced[Job] | Finished[Job, Value] | Failed[Job]
Told = Callable[[Event[Job, Value]], None]


def opened(open_work: OpenWork[Job, Value]) -> Callable[[Job, Beat], Value]:
    """Open the work in a worker process; an error that is no `SiamtrackError` is raised as a `ConfigError`."""
    try:
        return open_work()
    except SiamtrackError:
        raise
    except Exception as error:
        raise ConfigError(f"a worker cannot start: {one_line(error)}") from None


def attempt(work: Callable[[Job, Beat], Value], job: Job, tell: Callable[[int], None], every: float = 0.2) -> Message:
    """Do a job's work; return ("done", value), or ("failed", kind, error) as `Failed` has them.

    `tell` is called with the number of beats so far, at most once in `every` seconds.
    """
    beats, told = 0, 0.0

    def beat() -> None:
        nonlocal beats, told
        beats += 1
        now = time.monotonic()
        if now - told >= every:
            told = now
            tell(beats)

    try:
        return "done", work(job, beat)
    except SiamtrackError as error:
        return "failed", "error", error
    except Exception as error:  # the work may raise anything, and the other jobs go on
        return "failed", "raised", DataError(one_line(error))


def outcome(job: Job, worker: int, message: Message) -> Event[Job, Value]:
    """Return the event for what `attempt` returned."""
    return Finished(job, worker, message[1]) if message[0] == "done" else Failed(job, worker, *message[1:])


def one_line(error: BaseException) -> str:
    """Return an error's kind and words on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def use_one_thread() -> None:
    """Use one thread in this process: results must not depend on the number of cores, and workers share them anyway."""
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(1)
    if torch := sys.modules.get("torch"):  # work without torch need not wait for its import
        torch.set_num_threads(1)
