"""Making the next step ready while the caller works on the one that it has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Prefetch", "Wanted"]

T = TypeVar("T")

Wanted = tuple[int, int, int, int]
"""How many pairs, and the seed, part and step that they are drawn from."""


class Prefetch(Generic[T]):
    """Prepares the steps of each part in a thread, one ahead; whatever else is asked for is prepared on the spot.

    Args:
        prepare: a function of its arguments alone, called from one thread at a time.
    """

    def __init__(self, prepare: Callable[[int, int, int, int], T]) -> None:
        self._prepare = prepare
        self._thread = ThreadPoolExecutor(1, "ahead")
        self._next: dict[int, tuple[Wanted, Future[T]]] = {}

    def take(self, count: int, seed: int, part: int, step: int) -> T:
        """What `prepare` gives for a step; that of the step after it is begun."""
        wanted, following = (count, seed, part, step), (count, seed, part, step + 1)
        ready = self._next.pop(part, None)
        future = ready[1] if ready and ready[0] == wanted else self._thread.submit(self._prepare, *wanted)
        prepared = future.result()
        self._next[part] = following, self._thread.submit(self._prepare, *following)
        return prepared

    def close(self) -> None:
        """Prepare nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
