"""The few kinds of error that siamtrack raises on purpose.

Each message is one line that says what was expected, what came instead and what to do about it. The command
line prints that line and exits with code 2; a program catches `SiamtrackError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "DataError",
    "InputError",
    "SiamtrackError",
    "WeightsError",
    "did_you_mean",
    "missing_package",
    "reason",
]


class SiamtrackError(Exception):
    """The base of all errors that siamtrack raises on purpose."""


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


def reason(error: Exception) -> str:
    """Why the system or a library refused, to stand in a message: the error's own words in lower case, no number."""
    return str(getattr(error, "strerror", None) or error).strip().lower()


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
