"""Graphs computed within bounds: a file may hold any graph, and no runtime says beforehand what it takes.

A look at the graph would not do: loops over targets are part of every export, and whether one ends is known by running
it. So a graph is opened and run in a thread of its own, which is given up when it takes too much time or memory. What
ran well some times runs in the caller's thread from then on: to wake another one for each frame costs a small network a
tenth of its speed, and more where other programs keep the processor busy.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_LOOK_EVERY = 0.02  # seconds; most calls are done before the first look
_PATIENCE = 0.2  # seconds in which a runtime may end a call that it was told to stop
_TRIALS = 3  # calls of one kind that are watched
_GIVEN_UP = "given up"  # the name of threads whose answer nobody waits for


@dataclass(frozen=True)
class Bounds:
    """What a call may take.

    Attributes:
        seconds: on the clock, half of them of processor time: a program that was halted, or hardly gets a processor,
            has more.
        memory: bytes that it may add to those of the process; looked at under Linux.
    """

    seconds: float
    memory: int


class Guard:
    """Watches over the calls of one graph, from any number of threads."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._excess = ""
        self._trials: Counter[Hashable] = Counter()

    def __del__(self) -> None:
        for worker in self._idle:
            worker.hand(None)

    def run(self, work: Callable[[], T], stop: Callable[[], object], bounds: Bounds, kind: Hashable = None) -> T:
        """Return what `work` returns, or raise what it raises; Ctrl-C is heard while a call is watched.

        Args:
            work: computes in a runtime, which lets other threads go on.
            stop: asks the runtime to end that; many operators do not end in their middle.
            bounds: of this call.
            kind: what calls that take the same have in common, as the sizes of their inputs; None to watch this one
                in any case.

        Raises:
            RuntimeError: this call took more, or an earlier one did. It may go on until the process ends; see
                `is_computing`.
        """
        self._check()
        if kind is not None and self._trials[kind] >= _TRIALS:
            return work()
        worker = self._take()
        worker.hand(work)
        try:
            if not worker.done.acquire(timeout=_LOOK_EVERY):
                self._watch(worker, bounds)
        except BaseException:
            worker.name = _GIVEN_UP
            worker.hand(None)
            stop()
            worker.join(_PATIENCE)
            raise
        answer, worker.answer = worker.answer, None
        self._idle.append(worker)
        if isinstance(answer, _Raised):
            raise answer.error
        self._trials[kind] += 1
        return answer  # type: ignore[no-any-return]

    def _watch(self, worker: _Worker, bounds: Bounds) -> None:
        """Wait until a call is done, or raise what it takes too much of."""
        began, used, held = time.monotonic(), time.process_time(), _memory()
        while not worker.done.acquire(timeout=_LOOK_EVERY):
            if min(time.monotonic() - began, 2 * (time.process_time() - used)) > bounds.seconds:
                self._excess = f"it was not done after {bounds.seconds:.0f} s"
            elif _memory() - held > bounds.memory:
                self._excess = f"it takes more than {bounds.memory >> 20} MB of memory"
            self._check()

    def _check(self) -> None:
        """Raise what a call of this graph ended with that was given up: others would take as much."""
        if self._excess:
            raise RuntimeError(self._excess)

    def _take(self) -> _Worker:
        """A thread that has no work, the last one first: some libraries keep memory for each thread."""
        with suppress(IndexError):
            while True:
                worker = self._idle.pop()
                if worker.process == os.getpid():  # a fork has a copy of the object, and not of the thread
                    return worker
        worker = _Worker()
        worker.start()
        return worker


@dataclass(frozen=True)
class _Raised:
    error: BaseException


class _Worker(threading.Thread):
    """A thread that works when it is told to; `done` can be acquired once for each work that it was handed."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.process = os.getpid()
        self.done = threading.Lock()
        self.done.acquire()
        self.answer: Any = None
        self._handed: SimpleQueue[Callable[[], object] | None] = SimpleQueue()

    def hand(self, work: Callable[[], object] | None) -> None:
        """Do this next; None ends the thread."""
        self._handed.put(work)

    def run(self) -> None:
        while work := self._handed.get():
            try:
                self.answer = work()
            except BaseException as error:  # raised where the answer is waited for
                self.answer = _Raised(error)
            del work  # and with it the inputs
            self.done.release()


def is_computing() -> bool:
    """Whether a call that was given up goes on; then the process should end without its libraries' clean-up."""
    return any(thread.name == _GIVEN_UP for thread in threading.enumerate())


def _memory() -> int:
    """The bytes of memory that are this process's alone; 0 where the system does not say so."""
    if sys.platform != "linux":
        return 0
    try:
        handle = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        _, resident, shared = os.read(handle, 100).split()[:3]
    finally:
        os.close(handle)
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
