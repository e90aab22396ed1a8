"""The named rules: which scorer computes what for which protocol.

A rule is a typed entry that combines pure functions: from the truths and runs of a data set to `Scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from siamtrack.errors import ConfigError, did_you_mean
from siamtrack.evaluation.benchmarks import Benchmark
from siamtrack.metrics.ope import got10k_toolkit_curves, lasot_curves, otb_curves, pysot_curves
from siamtrack.metrics.ope_rules import Results, Truths, curves_rule, got10k_rule, trackingnet_rule
from siamtrack.metrics.scores import Scores
from siamtrack.metrics.vot_rules import (
    got10k_reset_rule,
    longterm_rule,
    multistart_rule,
    pysot_reset_rule,
    toolkit_reset_rule,
)

__all__ = ["RULES", "Rule", "Scorer", "find_rule"]

Scorer = Callable[[Truths, Results, Benchmark, str], Scores]


@dataclass(frozen=True)
class Rule:
    """One named rule: its scorers by protocol, their source, and whether missing sequences are scored."""

    name: str
    source: str
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    scores_missing: bool = False


def _rules() -> Mapping[str, Rule]:
    otb = {"ope": curves_rule(otb_curves)}
    found = [
        Rule("otb", "OTB MATLAB toolkit v1.1", otb),
        Rule("uav123", "UAV123, whose sequences are configured for OTB's MATLAB toolkit", otb),
        Rule("lasot", "LaSOT MATLAB toolkit", {"ope": curves_rule(lasot_curves, drop_zero=True)}),
        Rule("pysot", "PySOT toolkit, OPEBenchmark", {"ope": curves_rule(pysot_curves)}),
        Rule("got10k", "GOT-10k evaluation, all frames pooled", {"ope": got10k_rule}),
        Rule(
            "got10k-toolkit",
            "GOT-10k toolkit, its experiments for OTB, LaSOT and VOT",
            {"ope": curves_rule(got10k_toolkit_curves), "reset": got10k_reset_rule},
        ),
        Rule("trackingnet", "TrackingNet devkit, metrics.py", {"ope": trackingnet_rule}, scores_missing=True),
        Rule(
            "vot-pysot",
            "PySOT toolkit, AccuracyRobustness, EAO and F1 benchmarks",
            {"reset": pysot_reset_rule, "longterm": partial(longterm_rule, toolkit=False)},
        ),
        Rule(
            "vot-toolkit",
            "vot-toolkit 0.9",
            {
                "reset": toolkit_reset_rule,
                "multistart": multistart_rule,
                "longterm": partial(longterm_rule, toolkit=True),
            },
        ),
    ]
    return MappingProxyType({rule.name: rule for rule in found})


RULES: Mapping[str, Rule] = _rules()


def find_rule(name: str | None, benchmark: Benchmark) -> tuple[Rule, Scorer]:
    """Return the rule of this name (None: the benchmark's own) and its scorer for the benchmark's protocol.

    Raises `ConfigError` for an unknown name and for a rule that does not score the protocol.
    """
    key = (name or benchmark.rules).lower().replace("_", "-")
    if key == "pysot" and benchmark.protocol != "ope":
        key = "vot-pysot"
    if key not in RULES:
        raise ConfigError(f"unknown rules '{name}'; expected one of {', '.join(RULES)}{did_you_mean(key, RULES)}")
    rule = RULES[key]
    if benchmark.protocol not in rule.scorers:
        able = ", ".join(r.name for r in RULES.values() if benchmark.protocol in r.scorers)
        raise ConfigError(f"rules {key} do not score {benchmark.name}, a {benchmark.protocol} benchmark; use {able}")
    return rule, rule.scorers[benchmark.protocol]
