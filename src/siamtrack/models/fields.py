"""Types of families' fields: a number from a preset lies in a range, and is no infinity and not nan.

Also the fields that several families share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, ValidationError
from pydantic import dataclasses as pydantic

from siamtrack.errors import ConfigError

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


def problem(error: ValidationError, path: tuple[int | str, ...]) -> str:
    """What pydantic found first, in a line: the key at the end of `path`, what was expected, and what came."""
    key, first = shortened(".".join(map(str, path)), 200), error.errors()[0]
    if first["type"] == "missing":
        return f"the key '{key}' is missing"
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown key '{key}'"
    said = shortened(first["msg"].removeprefix("Value error, "), 300)
    # Without a key the values do not fit together; all of them would be shown.
    return f"{key}: {said}; got {shortened(repr(first['input']), 80)}" if key else said


def shortened(text: str, limit: int) -> str:
    """Return the beginning of a text that is too long for a message."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def refusing(kind: type[T]) -> type[T]:
    """Have a pydantic dataclass raise `ConfigError`, of one line, for fields that are given in Python too."""
    given: Callable[..., None] = kind.__init__
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]

    @wraps(given)
    def init(self: T, *args: Any, **kwargs: Any) -> None:
        try:
            given(self, *args, **kwargs)
        except ValidationError as error:
            path = error.errors()[0]["loc"]
            if path and isinstance(path[0], int) and path[0] < len(names):  # an argument without its name
                path = (names[path[0]], *path[1:])
            raise ConfigError(f"{kind.__name__}: {problem(error, path)}") from None

    kind.__init__ = init  # type: ignore[assignment]
    return kind


Width = Annotated[int, Field(ge=8, le=1024)]
"""Channels."""

AnchorScale = Annotated[int, Field(ge=1, le=64)]
"""The side of square anchors in strides."""

AnchorRatio = Annotated[float, Field(ge=0.01, le=100)]
"""Height / width of anchors."""

AnchorSides = tuple[Annotated[int, Field(ge=1, le=1000)], Annotated[int, Field(ge=1, le=1000)]]
"""Width and height of anchors in pixels, before they are scaled."""

LossWeight = Annotated[float, Field(ge=0, le=1e6)]
"""The factor of one term of a loss."""


@refusing
@pydantic.dataclass(frozen=True, config=STRICT)
class SearchPyramid:
    """How a family whose network finds places without sizes follows sizes: it looks at several scales.

    The defaults are those of siamfc-pytorch.

    Attributes:
        scales: factors on the search region's sides, the middle one 1.
        scale_penalty: factor on the response of every scale but the middle one (SiamFC, section 4.1).
    """

    scales: tuple[Annotated[float, Field(ge=0.1, le=10)], ...] = Field(
        default=(1 / 1.0375, 1.0, 1.0375), min_length=1, max_length=9
    )
    scale_penalty: float = Field(default=0.9745, gt=0, le=1)
