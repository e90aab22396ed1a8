"""The answer of a scorer: a benchmark's metrics for one tracker, whole, by sequence and by attribute."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from siamtrack.geometry.regions import FloatArray

__all__ = ["Curves", "Metrics", "Scores"]

Metrics = Mapping[str, float]
Curves = Mapping[str, FloatArray]


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _metrics(values: Metrics) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in values.items()}


def _curves(values: Curves) -> dict[str, list[float | None]]:
    return {name: [_plain(value) for value in curve.tolist()] for name, curve in values.items()}


@dataclass(frozen=True)
class Scores:
    """What a scorer found.

    `metrics` are the data set's numbers by name, `sequences` and `attributes` those of each sequence and of
    the sequences or frames with an attribute. `curves` are what plots are made of, `attribute_curves` the
    same by attribute. `left_out` names the sequences that the caller asked to leave out.
    """

    suite: str
    rules: str
    metrics: Metrics
    sequences: Mapping[str, Metrics]
    attributes: Mapping[str, Metrics] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    left_out: Sequence[str] = ()
    attribute_curves: Mapping[str, Curves] = field(default_factory=dict)

    def as_dict(self, *, curves: bool = False) -> dict[str, Any]:
        """Return the scores, with or without curves, as a tree of plain values; a number that is not finite is None."""
        tree: dict[str, Any] = {
            "suite": self.suite,
            "rules": self.rules,
            "metrics": _metrics(self.metrics),
            "sequences": {name: _metrics(values) for name, values in self.sequences.items()},
        }
        if self.attributes:
            tree["attributes"] = {name: _metrics(values) for name, values in self.attributes.items()}
        if self.left_out:
            tree["left_out"] = list(self.left_out)
        if curves:
            tree["curves"] = _curves(self.curves)
            tree["attribute_curves"] = {name: _curves(values) for name, values in self.attribute_curves.items()}
        return tree

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Scores:
        """Return the scores that `as_dict` made a tree of; a number that was not finite is nan.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: another tree.
        """

        def metrics(values: Mapping[str, Any]) -> dict[str, float]:
            return {str(k): math.nan if v is None else float(v) for k, v in values.items()}

        def curve(values: Any) -> FloatArray:
            array = np.asarray(values, dtype=np.float64)  # a None becomes nan
            if array.ndim != 1:
                raise ValueError("a curve is not a list of numbers")
            return array

        def curves(values: Mapping[str, Any]) -> dict[str, FloatArray]:
            return {str(name): curve(numbers) for name, numbers in values.items()}

        return cls(
            str(tree["suite"]),
            str(tree["rules"]),
            metrics(tree["metrics"]),
            {str(name): metrics(values) for name, values in tree["sequences"].items()},
            {str(name): metrics(values) for name, values in tree.get("attributes", {}).items()},
            curves(tree.get("curves", {})),
            [str(name) for name in tree.get("left_out", [])],
            {str(name): curves(values) for name, values in tree.get("attribute_curves", {}).items()},
        )

    def to_json(self, *, curves: bool = False) -> str:
        """Return the scores, with or without curves, as one JSON document."""
        return json.dumps(self.as_dict(curves=curves), indent=1 if curves else 2, allow_nan=False)
