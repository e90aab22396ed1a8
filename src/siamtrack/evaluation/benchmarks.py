"""The benchmarks that results can be scored on: protocol, EAO interval and subset of sequences by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from siamtrack.errors import ConfigError, did_you_mean

__all__ = ["BENCHMARKS", "Benchmark", "find_benchmark"]

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


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: how it is run and what its scorers must know.

    `protocol` is "ope", "reset", "multistart" or "longterm".

    `interval` holds the two sequence lengths between which the year's EAO averages; `only` names the
    sequences of a subset of a larger data set (empty: all that the truth has); `rules` is the scorer used
    where none is named.
    """

    name: str
    protocol: str = "ope"
    rules: str = "pysot"
    interval: tuple[int, int] | None = None
    only: tuple[str, ...] = ()

    @property
    def data(self) -> str:
        """The layout of the data set, as `read_dataset` and `read_truths` know it."""
        family = self.name.rstrip("0123456789") if self.name.startswith("otb") else self.name
        return {"got10k": "got10k-val", "nfs": "nfs30"}.get(family, "vot" if family.startswith("vot") else family)


def _table() -> Mapping[str, Benchmark]:
    found = [
        Benchmark("otb100", rules="otb"),
        Benchmark("otb50", rules="otb", only=tuple(_OTB50.split())),
        Benchmark("otb2013", rules="otb", only=tuple(_OTB2013.split())),
        Benchmark("uav123", rules="uav123"),
        Benchmark("uav123-10fps", rules="uav123"),
        Benchmark("uav20l", rules="uav123"),
        Benchmark("lasot", rules="lasot"),
        Benchmark("trackingnet", rules="trackingnet"),
        Benchmark("got10k", rules="got10k"),
        *(Benchmark(name) for name in ("tc128", "nfs", "dtb70", "folder")),
    ]
    reset = {2015: (108, 371), 2016: (108, 371), 2017: (100, 356), 2018: (100, 356), 2019: (46, 291)}
    found += [Benchmark(f"vot{y}", "reset", "vot-pysot", interval) for y, interval in reset.items()]
    found += [Benchmark(f"vot{y}", "multistart", "vot-toolkit", (115, 755)) for y in (2020, 2021, 2022)]
    found += [Benchmark(f"vot{y}-lt", "longterm", "vot-toolkit") for y in (2018, 2019, 2020, 2021, 2022)]
    return MappingProxyType({b.name: b for b in found})


BENCHMARKS: Mapping[str, Benchmark] = _table()

_ALIASES = {
    "otb2015": "otb100",
    "tb100": "otb100",
    "tb50": "otb50",
    "got10k-val": "got10k",
    "got10k-test": "got10k",
    "lasot-test": "lasot",
    "nfs30": "nfs",
    "tcolor128": "tc128",
}


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark of this name in any common spelling; raises `ConfigError` for an unknown one."""
    key = name.lower().replace("_", "-").replace("got-10k", "got10k")
    key = _ALIASES.get(key, key)
    if key not in BENCHMARKS:
        raise ConfigError(
            f"unknown suite '{name}'; expected one of {', '.join(BENCHMARKS)}{did_you_mean(key, BENCHMARKS)}"
        )
    return BENCHMARKS[key]
