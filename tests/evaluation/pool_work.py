"""Work that worker processes import by name: it counts how often each job is begun, and goes wrong on demand."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from siamtrack.errors import InputError

Beat = Callable[[], None]


def open_square(notes: str, seconds: float = 0.0) -> Callable[[int, Beat], tuple[int, int]]:
    """The square of a number, and the process that made it; each begun job leaves a file in `notes`."""
    (Path(notes) / f"opened-{os.getpid()}").touch()

    def square(number: int, beat: Beat) -> tuple[int, int]:
        with (Path(notes) / f"job-{number}").open("a") as file:
            file.write(f"{os.getpid()}\n")
        for _ in range(5):
            time.sleep(seconds / 5)
            beat()
        return number * number, os.getpid()

    return square


def open_fault(notes: str, bad: int, how: str) -> Callable[[int, Beat], tuple[int, int]]:
    """As `open_square`, but one number goes wrong."""
    square = open_square(notes)

    def work(number: int, beat: Beat) -> tuple[int, int]:
        found = square(number, beat)
        if number == bad:
            if how == "error":
                raise InputError("not this one")
            if how == "raised":
                raise RuntimeError("out of\nluck")
            if how == "hung":
                time.sleep(3600)
            os._exit(7)
        return found

    return work


def open_broken() -> Callable[[int, Beat], int]:
    raise InputError("no such network")


def open_crash() -> Callable[[int, Beat], int]:
    os._exit(3)
