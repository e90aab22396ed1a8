"""One step is prepared ahead, once, and never anything else than what is asked for."""

from __future__ import annotations

import threading

import pytest

from siamtrack.data.streaming import Prefetch, Wanted


def test_steps_come_in_the_order_in_which_they_are_asked_for() -> None:
    seen: list[Wanted] = []
    reached = threading.Semaphore(0)

    def prepare(*wanted: int) -> Wanted:
        seen.append(wanted)  # type: ignore[arg-type]
        reached.release()
        return wanted  # type: ignore[return-value]

    ahead = Prefetch(prepare)
    asked = [(4, 0, 0, 5), (4, 0, 0, 6), (4, 0, 1, 6), (4, 0, 0, 7), (4, 0, 0, 3), (8, 0, 0, 4)]
    for wanted in asked:
        assert ahead.take(*wanted) == wanted
    for _ in range(10):  # six that were asked for, of which two had been begun, and what follows each
        assert reached.acquire(timeout=10)
    ahead.close()
    assert len(seen) == 10 and sorted({*seen}) == sorted(
        {*asked, (4, 0, 0, 8), (4, 0, 1, 7), (4, 0, 0, 4), (8, 0, 0, 5)}
    )


def test_an_error_comes_when_its_step_does() -> None:
    def prepare(count: int, seed: int, part: int, step: int) -> int:
        if step == 1:
            raise ValueError("broken")
        return step

    ahead = Prefetch(prepare)
    assert ahead.take(1, 0, 0, 0) == 0
    with pytest.raises(ValueError, match="broken"):
        ahead.take(1, 0, 0, 1)
    assert ahead.take(1, 0, 0, 2) == 2
    ahead.close()
