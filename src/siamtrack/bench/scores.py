"""The answer of a scorer: a benchmark's metrics for one tracker, whole, by sequence and by attribute."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from siamtrack.bench.records import FloatArray

__all__ = ["Metrics", "Scores"]

Metrics = Mapping[str, float]


def _plain(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else float(value)


@dataclass(frozen=True)
class Scores:
    """What a scorer found.

    `metrics` are the data set's numbers by name, `sequences` and `attributes` those of each sequence and of
    the sequences or frames with an attribute. `curves` are what plots are made of. `left_out` names the
    sequences that the caller asked to leave out.
    """

    suite: str
    rules: str
    metrics: Metrics
    sequences: Mapping[str, Metrics]
    attributes: Mapping[str, Metrics] = field(default_factory=dict)
    curves: Mapping[str, FloatArray] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as a tree of plain values, in which a number that is not finite is None."""
        tree: dict[str, Any] = {
            "suite": self.suite,
            "rules": self.rules,
            "metrics": {k: _plain(v) for k, v in self.metrics.items()},
            "sequences": {name: {k: _plain(v) for k, v in m.items()} for name, m in self.sequences.items()},
        }
        if self.attributes:
            tree["attributes"] = {a: {k: _plain(v) for k, v in m.items()} for a, m in self.attributes.items()}
        if self.left_out:
            tree["left_out"] = list(self.left_out)
        return tree

    def to_json(self) -> str:
        """Return the scores as one JSON document."""
        return json.dumps(self.as_dict(), indent=2, allow_nan=False)
