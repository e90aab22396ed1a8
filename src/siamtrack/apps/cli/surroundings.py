"""What a program finds around it, put right or refused before libraries take it as it is: streams and variables."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from traceback import walk_tb

_WIDEST = 10_000  # columns of a terminal: help is padded to its width
_NUMBERS = {
    "OPENCV_IO_MAX_IMAGE_PIXELS": 10**18,
    "OPENCV_IO_MAX_IMAGE_WIDTH": 10**18,
    "OPENCV_IO_MAX_IMAGE_HEIGHT": 10**18,
    "OPENCV_FOR_THREADS_NUM": 1024,
    "SOURCE_DATE_EPOCH": 253_402_300_799,
}
"""The most that variables may say at which OpenCV ends the process or begins threads without end, and Matplotlib's."""


def fill_streams() -> None:
    """Put nothing in the place of standard streams that are closed, as by `>&-`.

    A file that is opened would get the number of one, and then hold what libraries and other processes print.
    """
    with suppress(OSError):
        while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(opened, True)
        os.close(opened)


def forget_strange_variables() -> None:
    """Take away variables of terminals that no terminal has."""
    os.environ.pop("_SIAMTRACK_COMPLETE", None)  # by which shells ask for completions, which there are none of
    for name in ("COLUMNS", "TERMINAL_WIDTH"):
        if name in os.environ and not _is_number(os.environ[name], _WIDEST):
            del os.environ[name]


def strange_variable() -> str:
    """What is wrong with a variable that a library reads in the middle of a run and does not check; "" if none is."""
    for name, most in _NUMBERS.items():
        if (value := os.environ.get(name)) and not _is_number(re.sub("[kKmM][bB]$", "", value), most):
            return f"the variable {name} is set to '{value}'; expected a number up to {most}, or unset it"
    return ""


def library_that_failed(error: BaseException) -> str:
    """The library in whose import an error was raised, as by a variable that it cannot read; "" for other errors."""
    modules = [
        str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for frame, _ in walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"  # Python leaves its own frames of an import out
    ]
    return next((name for name in modules if name not in ("siamtrack", "__main__")), "")


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 18 and 0 <= int(text) <= most
