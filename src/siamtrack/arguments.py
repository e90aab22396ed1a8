"""Types of arguments, checked where users of the library come in.

Functions that guides and examples call are `checked`; what they call themselves trusts them.
"""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from functools import cache, wraps
from pathlib import Path
from types import UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np

from siamtrack.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

_WIDER: dict[Any, Any] = {
    int: numbers.Integral,
    bool: numbers.Integral | np.bool_,
    float: numbers.Real,
    Sequence: Sized,
}
"""What else does for a type: numpy's numbers for Python's own, arrays and tensors for lists."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function refuse arguments that are not of the types that it declares, before it does anything.

    Of lists, tuples and mappings the items are looked at too. A text is no list, but may stand for a path. A type
    whose name is not imported where the function is, as torch's, is for the function itself to check.

    Raises:
        InputError: by the function; the line names the argument, the type that is expected, and what came.
    """
    signature = inspect.signature(function)

    @cache
    def declared(name: str) -> Any:
        written = signature.parameters[name].annotation
        try:
            return eval(written, vars(inspect.getmodule(function))) if isinstance(written, str) else Any
        except (NameError, TypeError):  # it is imported for type checkers alone
            return Any

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:  # too many arguments, too few, one of another name: Python's own words say which
            return function(*args, **kwargs)
        for name, value in given.arguments.items():
            kind = declared(name)
            if isinstance(value, str) and Path in (kind, *get_args(kind)) and not _fits(value, kind):
                given.arguments[name] = Path(value)
            elif not _fits(value, kind):
                raise InputError(f"{name}: expected {signature.parameters[name].annotation}; got {_kind(value)}")
        return function(*given.args, **given.kwargs)

    return call


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, inner[0]) for item in value)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if kind is None:
        return value is None
    try:
        if not isinstance(value, _WIDER.get(origin or kind, origin or kind)):
            return False
    except TypeError:  # Any, a list of names, which the function knows better, a protocol without run-time checks
        return True
    if origin is Mapping:
        return all(_fits(key, inner[0]) and _fits(item, inner[1]) for key, item in value.items())
    if origin not in (Sequence, Iterable):
        return True
    if isinstance(value, list | tuple):
        return all(_fits(item, inner[0]) for item in value)
    return not isinstance(value, str | bytes) and not (origin is Sequence and isinstance(value, Mapping))


def _kind(value: object) -> str:
    """What came: a value's type, and that of its items."""
    items = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else []
    if value is None:
        return "None"
    inner = sorted({_kind(item) for item in items})
    return type(value).__name__ + (f" of {' and '.join(inner)}" if inner else "")
