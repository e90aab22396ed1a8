"""What every scorer takes and gives: truths and runs by sequence, and one tracker's metrics on a data set."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.regions import FloatArray

__all__ = ["LengthError", "Metrics", "Results", "Scores", "Truths", "by_attribute", "check_length", "each_sequence"]

T = TypeVar("T")
Truths = Mapping[str, Truth]
"""The truth of each sequence."""
Results = Mapping[str, Sequence[Predictions]]
"""One tracker's runs of each sequence: repetitions, passes or multi-starts."""
Metrics = Mapping[str, float]
Curves = Mapping[str, FloatArray]


class LengthError(DataError):
    """A result that has another number of rows than the scorer accepts."""


def check_length(truth: Truth, run: Predictions) -> None:
    """Raise `LengthError` unless a run has one row a frame of the truth."""
    if len(run) != len(truth):
        raise LengthError(f"{truth.name}: {len(run)} rows for {len(truth)} frames; there must be one row a frame")


def each_sequence(truths: Truths, measure: Callable[[str], T]) -> dict[str, T]:
    """Return measure(name) of every sequence; raises one `LengthError` for all that fail."""
    found: dict[str, T] = {}
    wrong: list[str] = []
    for name in truths:
        try:
            found[name] = measure(name)
        except LengthError as error:
            wrong.append(str(error))
    if wrong:
        shown = "; ".join(wrong[:8]) + ("; .." if len(wrong) > 8 else "")
        raise LengthError(f"{shown} (repair the results, or leave the sequences out: --leave-out)")
    return found


def by_attribute(truths: Truths, score: Callable[[Sequence[str]], T]) -> dict[str, T]:
    """Return score(names) for the sequences that have each attribute on any frame."""
    having: dict[str, list[str]] = {}
    for name, truth in truths.items():
        for tag, mask in truth.tags.items():
            if mask.any():
                having.setdefault(tag, []).append(name)
    return {tag: score(names) for tag, names in sorted(having.items())}


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _metrics(values: Metrics) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in values.items()}


def _curves(values: Curves) -> dict[str, list[float | None]]:
    return {name: [_plain(value) for value in curve.tolist()] for name, curve in values.items()}


@dataclass(frozen=True)
class Scores:
    """What a scorer found.

    Attributes:
        metrics: the data set's numbers by name.
        sequences: those of each sequence.
        attributes: those of the sequences or frames with an attribute.
        curves: what plots are made of.
        attribute_curves: the same by attribute.
        suite: the name of what was scored.
        rules: the name of the rules.
        left_out: the sequences that the caller asked to leave out.
    """

    metrics: Metrics
    sequences: Mapping[str, Metrics]
    attributes: Mapping[str, Metrics] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    attribute_curves: Mapping[str, Curves] = field(default_factory=dict)
    suite: str = ""
    rules: str = ""
    left_out: Sequence[str] = ()

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
            metrics(tree["metrics"]),
            {str(name): metrics(values) for name, values in tree["sequences"].items()},
            {str(name): metrics(values) for name, values in tree.get("attributes", {}).items()},
            curves(tree.get("curves", {})),
            {str(name): curves(values) for name, values in tree.get("attribute_curves", {}).items()},
            str(tree["suite"]),
            str(tree["rules"]),
            [str(name) for name in tree.get("left_out", [])],
        )

    def to_json(self, *, curves: bool = False) -> str:
        """Return the scores, with or without curves, as one JSON document."""
        return json.dumps(self.as_dict(curves=curves), indent=1 if curves else 2, allow_nan=False)
