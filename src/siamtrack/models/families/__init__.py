"""Tracker families: each a frozen dataclass of its ablations and a short `build()`."""

from __future__ import annotations

from siamtrack.models.families.sa_siam import SaSiam
from siamtrack.models.families.siamcar import SiamCar
from siamtrack.models.families.siamfc import SiamFc
from siamtrack.models.families.siamrpn import SiamRpn
from siamtrack.models.families.siamrpnpp import SiamRpnPlusPlus
from siamtrack.models.families.spm import Spm

__all__ = [
    "Family",
    "SaSiam",
    "SiamCar",
    "SiamFc",
    "SiamRpn",
    "SiamRpnPlusPlus",
    "Spm",
    "family_class",
    "family_names",
]

Family = SiamCar | SiamFc | SiamRpn | SiamRpnPlusPlus | SaSiam | Spm

_FAMILIES: dict[str, type[Family]] = {
    "siamcar": SiamCar,
    "siamfc": SiamFc,
    "siamrpn": SiamRpn,
    "siamrpn++": SiamRpnPlusPlus,
    "sa_siam": SaSiam,
    "spm": Spm,
}


def family_names() -> list[str]:
    """Names of the families, sorted."""
    return sorted(_FAMILIES)


def family_class(name: str) -> type[Family] | None:
    """The configuration class of a family, or None for an unknown name."""
    return _FAMILIES.get(name)
