"""Tracker families: each a frozen dataclass of its ablations and a short `build()`."""

from __future__ import annotations

from siamtrack.models.families.siamcar import SiamCar
from siamtrack.models.families.siamfc import SiamFc
from siamtrack.models.families.siamrpn import SiamRpn
from siamtrack.models.families.siamrpnpp import SiamRpnPlusPlus

__all__ = ["Family", "SiamCar", "SiamFc", "SiamRpn", "SiamRpnPlusPlus", "family_class", "family_names"]

Family = SiamCar | SiamFc | SiamRpn | SiamRpnPlusPlus

_FAMILIES: dict[str, type[Family]] = {
    "siamcar": SiamCar,
    "siamfc": SiamFc,
    "siamrpn": SiamRpn,
    "siamrpn++": SiamRpnPlusPlus,
}


def family_names() -> list[str]:
    """Names of the families, sorted."""
    return sorted(_FAMILIES)


def family_class(name: str) -> type[Family] | None:
    """The configuration class of a family, or None for an unknown name."""
    return _FAMILIES.get(name)
