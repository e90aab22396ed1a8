"""The few kinds of error that siamtrack raises on purpose.

Each message is one line that says what was expected, what came instead and what to do about it. The command
line prints that line and exits with code 2; a program catches `SiamtrackError`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from tokenize import TokenError
from typing import Any, TypeVar

T = TypeVar("T")

_LONGEST_LINE = 2000  # characters of a message
_LONGEST_WORD = 300  # characters of a name or value in it


class SiamtrackError(Exception):
    """The base of all errors that siamtrack raises on purpose.

    The message is one line of readable length, whatever the files, names and values hold that it shows; see `shown`.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))


class InputError(SiamtrackError):
    """A box, frame, video or argument that cannot be used."""


class ConfigError(SiamtrackError):
    """A preset or setting with an unknown key, a wrong type or a value out of range."""


class WeightsError(SiamtrackError):
    """A weights file that is missing, corrupt, or made for another network."""


class DataError(SiamtrackError):
    """A data set, annotation or result file that does not follow its format."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the hint ``; did you mean 'x'?`` for the known name most like `name`, or ``.`` if none is near."""
    spelling = {word.casefold(): word for word in known}
    found = difflib.get_close_matches(name.casefold(), list(spelling), n=1, cutoff=0.5)
    return f"; did you mean '{spelling[found[0]]}'?" if found else "."


def unknown_name(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a name that is none of the known ones: the nearest is offered, and all are listed.

    `what` is what it should be a name of, for the message: "suite".
    """
    names = list(known)
    return ConfigError(f"unknown {what} '{name}'{did_you_mean(name, names)} Known: {', '.join(names)}")


def look_up(table: Mapping[str, T], name: str, what: str) -> T:
    """Return what a table has by a name; raises `ConfigError` where it has no such name, see `unknown_name`."""
    if name not in table:
        raise unknown_name(what, name, table)
    return table[name]


def printable(text: str) -> str:
    """A text on one line, with what a terminal cannot show escaped."""
    line = " ".join(text.splitlines())
    return line if line.isprintable() else "".join(_escaped(sign) for sign in line)


def shown(message: str) -> str:
    """A message on one printable line, of which long words and then the whole lose their middle, not the reason."""
    words = (_shortened(word, _LONGEST_WORD) for word in printable(message).split(" "))
    return _shortened(" ".join(words), _LONGEST_LINE)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest // 2]}...{text[-longest // 4 :]}"


def _escaped(sign: str) -> str:
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode()


_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (UnicodeError, "expected text in UTF-8"),
    (RecursionError, "nested too deep"),
    (MemoryError, "it does not fit into memory"),
    (OverflowError, "a number is too large"),
    (IndexError, "something is missing"),
    (TypeError, "a value of another kind than expected"),
    (AttributeError, "a value of another kind than expected"),
    (TokenError, "a bracket or a text in it has no end"),  # numpy's, of an array's header
)


_NO_NUMBER = re.compile(
    r"(?:could not convert string to float|invalid literal for int\(\) with base \d+): (.*)", re.DOTALL
)
_PROGRAMS_WORDS = re.compile(r"\[Errno -?\d+\] | ?<[\w.]+ object at 0x\w+>")


def reason(error: Exception) -> str:
    """Why the system, a library or a file's content refused, to stand in a message: no number, no program's words."""
    if isinstance(error, KeyError):
        return f"{str(error.args[0] if error.args else '')[:80]!r} is missing"
    for kind, words in _KINDS:
        if isinstance(error, kind):
            return words
    if isinstance(cause := getattr(error, "reason", None), Exception):  # what urllib found beneath
        return reason(cause)
    if said := getattr(error, "strerror", None):
        return str(said).strip().lower()
    if isinstance(error, ValueError) and (found := _NO_NUMBER.match(str(error))):
        return f"expected a number, got {shown(found[1])}"
    return _PROGRAMS_WORDS.sub("", printable(str(error)))


def missing_package(what: str, package: str, extra: str) -> ConfigError:
    """Return the error for an optional package that is not installed, with commands that install it.

    Args:
        what: what cannot be done without it, to begin the message: "a report".
        package: as pip takes it; several are separated by spaces.
        extra: the extra of siamtrack's that has the tested versions.
    """
    names = package.split()
    quoted = " ".join(f"'{name}'" if set(name) & set("<>[") else name for name in names)
    return ConfigError(
        f"{what} needs {' and '.join(names)}: pip install {quoted} "
        f"(or, from a clone of siamtrack, pip install -e '.[{extra}]')"
    )


def require(module: str, what: str, package: str, extra: str) -> Any:
    """Import a module of an optional package and return it; raises `ConfigError` as `missing_package` has it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise missing_package(what, package, extra) from error


def is_installed(module: str) -> bool:
    """Whether a package can be found; it is not imported."""
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def missing_extra(what: str, extra: str) -> ConfigError:
    """Return the error for what needs several packages, those of an extra of siamtrack's.

    `what` begins the message: "an export". `opencv` is named with "torch", "train" and "export" where there is none: no
    other extra brings OpenCV, as its packages replace each other's files, and one may be there already.
    """
    names = [extra]
    if extra in ("torch", "train", "export") and not is_installed("cv2"):
        names.append("opencv")
    known = " and ".join(f"'{name}'" for name in names)
    return ConfigError(
        f"{what} needs siamtrack's extra{'s' * (len(names) > 1)} {known}: "
        f"in a clone of siamtrack, pip install -e '.[{','.join(names)}]'"
    )


def missing_torch(what: str, error: ModuleNotFoundError, extra: str = "torch") -> Exception:
    """Return the error for what cannot be done without torch and the packages that come with it, or without OpenCV.

    `what` begins the message: "training". The import's error is returned as it is if another package is missing.
    """
    package = (error.name or "").partition(".")[0]
    if package == "cv2" and is_installed("torch"):
        return missing_package(what, "opencv-python-headless", "opencv")
    return missing_extra(what, extra) if package in ("cv2", "pydantic", "safetensors", "torch") else error
