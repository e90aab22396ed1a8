"""What every scorer takes and gives: truths and runs by sequence, and one tracker's metrics on a data set."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.regions import FloatArray
from siamtrack.io import utf8

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
    """Return measure(name) of every sequence; raises one `LengthError` that lists all failures."""
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


def mean_known(values: FloatArray, axis: int | None = None) -> FloatArray:
    """Return the mean of the values that are not nan; nan where none is, as of a frame that every run left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=axis))


def _plain(value: Any) -> Any:
    """Numbers and arrays, in mappings of any depth, as JSON has them: None for a number that is not finite."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray):
        return [_plain(number) for number in value.tolist()]
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Scores:
    """What a scorer found.

    Attributes:
        metrics: numbers of the whole data set by name.
        sequences: numbers of each sequence.
        attributes: numbers of the sequences or frames with an attribute.
        curves: for plots; `attribute_curves` by attribute.
        suite: the name of what was scored.
        left_out: sequences left out on request.
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
            "metrics": _plain(self.metrics),
            "sequences": _plain(self.sequences),
        }
        if self.attributes:
            tree["attributes"] = _plain(self.attributes)
        if self.left_out:
            tree["left_out"] = list(self.left_out)
        if curves:
            tree["curves"] = _plain(self.curves)
            tree["attribute_curves"] = _plain(self.attribute_curves)
        return tree

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Scores:
        """Return the scores of a tree made by `as_dict`; a number that was not finite is nan.

        Halves of characters in names of metrics and attributes, which nothing can draw, come escaped.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: not such a tree.
        """

        def text(name: object) -> str:
            return utf8(str(name)).decode()

        def metrics(values: Mapping[str, Any]) -> dict[str, float]:
            return {text(k): math.nan if v is None else float(v) for k, v in values.items()}

        def curves(values: Mapping[str, Any]) -> dict[str, FloatArray]:
            # a None becomes nan
            found = {str(name): np.asarray(numbers, dtype=np.float64) for name, numbers in values.items()}
            if any(array.ndim != 1 for array in found.values()):
                raise ValueError("a curve is not a list of numbers")
            return found

        return cls(
            metrics(tree["metrics"]),
            {str(name): metrics(values) for name, values in tree["sequences"].items()},
            {text(name): metrics(values) for name, values in tree.get("attributes", {}).items()},
            curves(tree.get("curves", {})),
            {text(name): curves(values) for name, values in tree.get("attribute_curves", {}).items()},
            text(tree["suite"]),
            text(tree["rules"]),
            [str(name) for name in tree.get("left_out", [])],
        )

    def to_json(self, *, curves: bool = False) -> str:
        """Return the scores, with or without curves, as one JSON document."""
        return json.dumps(self.as_dict(curves=curves), indent=1 if curves else 2, allow_nan=False)
