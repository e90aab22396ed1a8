"""Tracker families, one file each: configuration (with its ablations), network, head and coder of its own, and loss.

A family is a frozen dataclass with a literal `family`, a `backbone`, `build()` for the network with random weights, and
`loss(net, batch, rngs)` for its training. Adding one is a file here, its line in `Family`, and a preset; or, in a
package of its own, an entry point of the group `siamtrack.families`.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from importlib.metadata import entry_points
from typing import cast, get_args

from siamtrack.errors import ConfigError, reason
from siamtrack.models.families.sa_siam import SaSiam
from siamtrack.models.families.siamban import SiamBan
from siamtrack.models.families.siamcar import SiamCar
from siamtrack.models.families.siamfc import SiamFc
from siamtrack.models.families.siamrpn import SiamRpn
from siamtrack.models.families.siamrpnpp import SiamRpnPlusPlus
from siamtrack.models.families.spm import Spm

_GROUP = "siamtrack.families"

Family = SaSiam | SiamBan | SiamCar | SiamFc | SiamRpn | SiamRpnPlusPlus | Spm


def _by_name() -> dict[str, type[Family]]:
    return {str(kind.__dataclass_fields__["family"].default): kind for kind in get_args(Family)}


def family_names() -> list[str]:
    """Names of this package's families, sorted."""
    return sorted(_by_name())


def family_class(name: str) -> type[Family] | None:
    """The configuration class of a family of this package, or of an installed one that registers it; None for neither.

    Nothing but registered code is imported: a name in a file that may come from anywhere cannot run other code.

    Raises:
        ConfigError: a registered family that cannot be imported or is none.
    """
    return _by_name().get(name) or _outside(name)


def is_outside(model: object) -> bool:
    """Whether this is the configuration of a family of another package."""
    name = getattr(model, "family", None)
    return isinstance(name, str) and name not in _by_name() and type(model) is _outside(name)


def _outside(name: str) -> type[Family] | None:
    found = next(iter(entry_points(group=_GROUP, name=name)), None)
    if found is None:
        return None
    try:
        kind = found.load()
    except Exception as error:  # another package's import may raise anything
        raise ConfigError(f"the family '{name}' of {found.value} cannot be imported: {reason(error)}") from None
    fields = getattr(kind, "__dataclass_fields__", {})
    whole = is_dataclass(kind) and callable(getattr(kind, "build", None)) and callable(getattr(kind, "loss", None))
    if not whole or "backbone" not in fields or "family" not in fields or fields["family"].default != name:
        raise ConfigError(
            f"{found.value} is no tracker family: expected a dataclass with family = '{name}', backbone, build() and "
            "loss(net, batch, rngs); see docs/extending.md"
        )
    return cast(type[Family], kind)
