"""The suites: one table of names for `eval`, `score`, `report` and `submit`.

A row names the data set, the protocol by which a tracker is run on it, and the rules that score the results where none
are named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from siamtrack.arguments import checked
from siamtrack.errors import ConfigError, look_up
from siamtrack.evaluation.protocols import (
    EvaluationProtocol,
    LongTerm,
    MultiStart,
    OnePass,
    RealTime,
    Reset,
    SpatialRobustness,
    TemporalRobustness,
    Unsupervised,
)
from siamtrack.formats.archive import sequence_key
from siamtrack.metrics.vot import VotStack

# cvlab.hanyang.ac.kr/tracker_benchmark: TB-50, and the sequences of the CVPR 2013 benchmark
_OTB2013 = """
Basketball Bolt Boy Car4 CarDark CarScale Coke Couple Crossing David David2 David3 Deer Dog1 Doll Dudek
FaceOcc1 FaceOcc2 Fish FleetFace Football Football1 Freeman1 Freeman3 Freeman4 Girl Ironman Jogging-1
Jogging-2 Jumping Lemming Liquor Matrix Mhyang MotorRolling MountainBike Shaking Singer1 Singer2 Skating1
Skiing Soccer Subway Suv Sylvester Tiger1 Tiger2 Trellis Walking Walking2 Woman
"""
_OTB50 = """
Basketball Biker Bird1 BlurBody BlurCar2 BlurFace BlurOwl Bolt Box Car1 Car4 CarDark CarScale ClifBar Couple
Crowds David Deer Diving DragonBaby Dudek Football Freeman4 Girl Human3 Human4-2 Human6 Human9 Ironman Jump
Jumping Liquor Matrix MotorRolling Panda RedTeam Shaking Singer2 Skating1 Skating2-1 Skating2-2 Skiing Soccer
Surfer Sylvester Tiger2 Trellis Walking Walking2 Woman
"""
# Temple Color 128 shares these with OTB, where Bird is Bird2 and Girlmov is Girl2 (pytracking's tpldataset.py)
_TC128_OF_OTB = """
Basketball Biker Bird Board Bolt Boy CarDark CarScale Coke Couple Crossing David David3 Deer Diving Doll FaceOcc1
Football1 Girl Girlmov Gym Ironman Jogging1 Jogging2 Lemming Liquor Matrix MotorRolling MountainBike Panda Shaking
Singer1 Singer2 Skating1 Skating2 Skiing Soccer Subway Tiger1 Tiger2 Trellis Walking Walking2 Woman
"""


@dataclass(frozen=True)
class Suite:
    """A named evaluation.

    Attributes:
        data: the data set's layout, a name that `read_dataset` knows.
        rules: the scorer used where none is named (see `metrics.rules.RULES`).
        only: the sequences of a subset of the data set; empty for all.
        without: sequences of the data set that the suite leaves out.
        stack: what VOT sets for the year.
    """

    name: str
    data: str
    protocol: EvaluationProtocol
    rules: str
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    stack: VotStack = field(default_factory=VotStack)

    @property
    def kind(self) -> str:
        """How results are laid out and scored: ope, tre, sre, reset, multistart, unsupervised or longterm."""
        return self.protocol.kind

    def leaves_out(self, name: str) -> bool:
        """Whether a sequence of the data set, in any spelling, is one of `without`."""
        return sequence_key(name) in map(sequence_key, self.without)


def _table() -> Mapping[str, Suite]:
    one = OnePass()
    rows = []
    for name, only in (("otb2013", _OTB2013), ("otb50", _OTB50), ("otb100", "")):
        subset = tuple(only.split())
        rows += [
            Suite(name, "otb", one, "otb", subset),
            Suite(f"{name}-tre", "otb", TemporalRobustness(), "otb", subset),
            Suite(f"{name}-sre", "otb", SpatialRobustness(), "otb", subset),
        ]
    rows += [Suite(name, name, one, "uav123") for name in ("uav123", "uav123-10fps", "uav20l")]
    rows += [Suite(name, name, one, "otb") for name in ("tc128", "dtb70", "nfs30", "nfs240", "folder")]
    rows.append(Suite("tc128-without-otb", "tc128", one, "otb", without=tuple(_TC128_OF_OTB.split())))
    rows += [Suite(name, name, one, name) for name in ("lasot", "trackingnet")]
    rows += [Suite(name, name, one, "got10k") for name in ("got10k-val", "got10k-test")]
    supervised = {2015: (108, 371), 2016: (108, 371), 2017: (100, 356), 2018: (100, 356), 2019: (46, 291)}
    years: list[tuple[int, Reset | MultiStart, str, VotStack]] = [
        *((year, Reset(), "vot-pysot", VotStack(interval)) for year, interval in supervised.items()),
        *((year, MultiStart(), "vot-toolkit", VotStack((115, 755), burn_in=1)) for year in (2020, 2021, 2022)),
    ]
    for year, protocol, rules, stack in years:
        rows += [
            Suite(f"vot{year}", "vot", protocol, rules, stack=stack),
            Suite(f"vot{year}-realtime", "vot", RealTime(protocol), rules, stack=stack),
            Suite(f"vot{year}-unsupervised", "vot", Unsupervised(), "vot-toolkit", stack=stack),
        ]
    rows += [Suite(f"vot{year}-lt", "vot", LongTerm(), "vot-toolkit") for year in range(2018, 2023)]
    return MappingProxyType({suite.name: suite for suite in rows})


SUITES: Mapping[str, Suite] = _table()
"""The suites by name."""

_ALIASES = {
    "otb2015": "otb100",
    "tb100": "otb100",
    "tb50": "otb50",
    "nfs": "nfs30",
    "got10k": "got10k-val",
    "lasot-test": "lasot",
    "trackingnet-test": "trackingnet",
    "tcolor128": "tc128",
}


@checked
def find_suite(name: str) -> Suite:
    """Return the suite of this name in any common spelling; raises `ConfigError`, with the nearest name."""
    key = name.lower().replace("_", "-").replace("got-10k", "got10k")
    return look_up(SUITES, _ALIASES.get(key, key), "suite")


def with_speed(suite: Suite, fps: float) -> Suite:
    """Return a real-time suite that assumes a tracker of `fps` frames a second.

    Such a run can be repeated on any machine. Raises `ConfigError` for a suite without a clock.
    """
    if not isinstance(suite.protocol, RealTime):
        clocked = ", ".join(s.name for s in SUITES.values() if isinstance(s.protocol, RealTime))
        raise ConfigError(f"{suite.name} does not watch the clock, a tracker's speed is for: {clocked}")
    return replace(suite, protocol=replace(suite.protocol, speed=fps))
