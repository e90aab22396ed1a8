"""Threads beside the one that tracks: one takes items ahead of it, in order or the newest, one works behind it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class AheadOf(Generic[T]):
    """An iterator over all items of another one, which a thread takes from it, at most `count` ahead.

    An error of the other iterator is raised after the items that came before it.
    """

    def __init__(self, items: Iterator[T], count: int = 2) -> None:
        self._items = items
        self._count = count
        self._changed = threading.Condition()
        self._ready: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="frames ahead")
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with self._changed:
            while not self._ready and not self._ended:
                self._changed.wait()
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def close(self, timeout: float = 2.0) -> bool:
        """End the thread after the item that it makes, at most `timeout` seconds; return whether it has ended."""
        with self._changed:
            self._ended = True
            self._ready.clear()
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _put(self, item: T) -> None:
        self._ready.append(item)

    def _run(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    if not self._ended:
                        self._put(item)
                        self._changed.notify_all()
                    del item  # the thread must not keep a frame that has been taken
                    while len(self._ready) >= self._count and not self._ended:
                        self._changed.wait()
                    if self._ended:
                        return
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


class NewestOf(AheadOf[T]):
    """An iterator over the newest items of another one, which a thread reads to the end, however slow its reader is.

    Each item is yielded once at most; those that came and went between two calls of `next` are left out.
    """

    def _put(self, item: T) -> None:
        self._ready.clear()  # it is never full, so that the thread never waits
        self._ready.append(item)


class Behind(Generic[T]):
    """A thread that does `work` with each item that is put, in their order, at most `count` behind.

    An error of `work` ends it: items after that one are dropped, and the next `put`, or `close`, raises it.
    """

    def __init__(self, work: Callable[[T], None], count: int = 4) -> None:
        self._work = work
        self._queue: Queue[T | None] = Queue(count)
        self._error: BaseException | None = None
        self._told = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="frames behind")
        self._thread.start()

    def put(self, item: T) -> None:
        """Hand on an item, and wait while there are `count` of them; raises the error of an earlier one."""
        self._raise()
        self._queue.put(item)

    def close(self) -> None:
        """Wait until all items are done; raises an error that `put` has not raised."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if not self._told:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._work(item)
                except BaseException as error:
                    self._error = error
