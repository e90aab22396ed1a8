"""Types of families' fields: a number from a preset lies in a range, and is no infinity and not nan."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

Width = Annotated[int, Field(ge=8, le=1024)]
"""Channels."""

AnchorScale = Annotated[int, Field(ge=1, le=64)]
"""The side of square anchors in strides."""

AnchorRatio = Annotated[float, Field(ge=0.01, le=100)]
"""Height / width of anchors."""

LossWeight = Annotated[float, Field(ge=0, le=1e6)]
"""The factor of one term of a loss."""
