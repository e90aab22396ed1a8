"""The suites: what to run by name. One line names the data set, the protocol and the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from siamtrack.errors import ConfigError, did_you_mean
from siamtrack.evaluation.benchmarks import Benchmark, find_benchmark
from siamtrack.evaluation.protocols import OnePass, SpatialRobustness, TemporalRobustness, Way
from siamtrack.evaluation.vot_protocols import LongTerm, MultiStart, RealTime, Reset, Unsupervised

__all__ = ["SUITES", "Suite", "find_suite", "with_speed"]


@dataclass(frozen=True)
class Suite:
    """A named evaluation.

    Attributes:
        name: as people type it.
        data: the name of the reader in `datasets`.
        way: the protocol.
        kind: how its results are laid out and scored: ope, tre, sre, reset, multistart, unsupervised or
            longterm.
        rules: the scorer used where none is named (see `rules.RULES`).
        benchmark: whose subset of sequences and EAO interval the scorer takes.
    """

    name: str
    data: str
    way: Way
    kind: str
    rules: str
    benchmark: Benchmark


def _suite(name: str, data: str, way: Way, kind: str, rules: str, benchmark: str) -> Suite:
    return Suite(name, data, way, kind, rules, find_benchmark(benchmark))


def _table() -> Mapping[str, Suite]:
    one, tre, sre = OnePass(), TemporalRobustness(), SpatialRobustness()
    reset, multi = Reset(), MultiStart()
    rows = [_suite(n, "otb", one, "ope", "otb", n) for n in ("otb2013", "otb50", "otb100")]
    rows += [_suite(f"{n}-tre", "otb", tre, "tre", "otb", n) for n in ("otb2013", "otb50", "otb100")]
    rows += [_suite(f"{n}-sre", "otb", sre, "sre", "otb", n) for n in ("otb2013", "otb50", "otb100")]
    rows += [_suite(n, n, one, "ope", "uav123", n) for n in ("uav123", "uav123-10fps", "uav20l")]
    rows += [_suite(n, n, one, "ope", "otb", n) for n in ("tc128", "dtb70")]
    rows += [_suite(n, n, one, "ope", "otb", "nfs") for n in ("nfs30", "nfs240")]
    rows += [
        _suite("folder", "folder", one, "ope", "otb", "folder"),
        _suite("lasot", "lasot", one, "ope", "lasot", "lasot"),
        _suite("trackingnet", "trackingnet", one, "ope", "trackingnet", "trackingnet"),
        _suite("got10k-val", "got10k-val", one, "ope", "got10k", "got10k"),
        _suite("got10k-test", "got10k-test", one, "ope", "got10k", "got10k"),
    ]
    for year in range(2015, 2020):
        vot = f"vot{year}"
        rows += [
            _suite(vot, "vot", reset, "reset", "vot-pysot", vot),
            _suite(f"{vot}-realtime", "vot", RealTime(reset), "reset", "vot-pysot", vot),
            _suite(f"{vot}-unsupervised", "vot", Unsupervised(), "unsupervised", "vot-toolkit", vot),
        ]
    for year in range(2020, 2023):
        vot = f"vot{year}"
        rows += [
            _suite(vot, "vot", multi, "multistart", "vot-toolkit", vot),
            _suite(f"{vot}-realtime", "vot", RealTime(multi), "multistart", "vot-toolkit", vot),
            _suite(f"{vot}-unsupervised", "vot", Unsupervised(), "unsupervised", "vot-toolkit", vot),
        ]
    for year in range(2018, 2023):
        rows.append(_suite(f"vot{year}-lt", "vot", LongTerm(), "longterm", "vot-toolkit", f"vot{year}-lt"))
    return MappingProxyType({suite.name: suite for suite in rows})


SUITES: Mapping[str, Suite] = _table()

_ALIASES = {
    "otb2015": "otb100",
    "nfs": "nfs30",
    "got10k": "got10k-val",
    "lasot-test": "lasot",
    "trackingnet-test": "trackingnet",
}


def find_suite(name: str) -> Suite:
    """Return the suite of this name; raises `ConfigError` for an unknown one, with the nearest known."""
    key = name.lower().replace("_", "-").replace("got-10k", "got10k")
    key = _ALIASES.get(key, key)
    if key not in SUITES:
        known = ", ".join(SUITES)
        raise ConfigError(f"unknown suite '{name}'{did_you_mean(key, [*SUITES, *_ALIASES])} Known: {known}")
    return SUITES[key]


def with_speed(suite: Suite, fps: float) -> Suite:
    """Return a real-time suite in which the tracker is taken to make `fps` frames a second.

    Such a run can be repeated on any machine. Raises `ConfigError` for a suite without a clock.
    """
    if not isinstance(suite.way, RealTime):
        clocked = ", ".join(s.name for s in SUITES.values() if isinstance(s.way, RealTime))
        raise ConfigError(f"{suite.name} does not watch the clock, a tracker's speed is for: {clocked}")
    return replace(suite, way=replace(suite.way, speed=fps))
