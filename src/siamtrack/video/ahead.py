"""Items that a thread takes from an iterator while others are worked on: all of them in order, or the newest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
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
