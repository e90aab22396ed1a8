"""Types of families' fields: a number from a preset lies in a range, and is no infinity and not nan.

Also the fields that several families share.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic import dataclasses as pydantic

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

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
