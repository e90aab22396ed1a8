"""Tracker families, one file each: configuration (with its ablations), network, head and coder of its own, and loss.

A family is a frozen dataclass with a literal `family`, `build()` for the network with random weights, and
`loss(net, batch, rngs)` for its training. Adding one is a file here, its line in `Family`, and a preset.
"""

from __future__ import annotations

from typing import get_args

from siamtrack.models.families.sa_siam import SaSiam
from siamtrack.models.families.siamban import SiamBan
from siamtrack.models.families.siamcar import SiamCar
from siamtrack.models.families.siamfc import SiamFc
from siamtrack.models.families.siamrpn import SiamRpn
from siamtrack.models.families.siamrpnpp import SiamRpnPlusPlus
from siamtrack.models.families.spm import Spm

__all__ = ["Family", "family_class", "family_names"]

Family = SaSiam | SiamBan | SiamCar | SiamFc | SiamRpn | SiamRpnPlusPlus | Spm


def _by_name() -> dict[str, type[Family]]:
    return {str(kind.__dataclass_fields__["family"].default): kind for kind in get_args(Family)}


def family_names() -> list[str]:
    """Names of the families, sorted."""
    return sorted(_by_name())


def family_class(name: str) -> type[Family] | None:
    """The configuration class of a family, or None for an unknown name."""
    return _by_name().get(name)
