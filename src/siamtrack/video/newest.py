"""The newest of the items that keep coming, for whoever is slower than they come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestOf(Generic[T]):
    """An iterator over the newest items of another one, which a thread reads to the end.

    Each item is yielded once at most; those that came and went between two calls of `next` are left out. An error of
    the other iterator is raised once its last item has been taken.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._changed = threading.Condition()
        self._waiting: list[T] = []
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="newest frame")
        self._thread.start()

    def __iter__(self) -> NewestOf[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            while not self._waiting and not self._ended:
                self._changed.wait()
            if self._waiting:
                return self._waiting.pop()
            if self._error is not None:
                raise self._error
            raise StopIteration

    def close(self, timeout: float = 2.0) -> bool:
        """End the thread after the item that it waits for, at most `timeout` seconds; return whether it has ended."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    if self._ended:
                        return
                    self._waiting = [item]
                    self._changed.notify_all()
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
