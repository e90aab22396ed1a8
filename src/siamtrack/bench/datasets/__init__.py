"""Readers of data sets in the layouts in which they are distributed.

A folder on disk becomes a list of sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from siamtrack.bench.datasets.folder import read_folder
from siamtrack.bench.sequence import Sequence
from siamtrack.errors import ConfigError, DataError, nearest

__all__ = ["READERS", "read_dataset"]

Reader = Callable[[Path], list[Sequence]]

READERS: Mapping[str, Reader] = MappingProxyType({"folder": read_folder})


def read_dataset(name: str, root: str | Path) -> list[Sequence]:
    """Read a data set by the name of its layout.

    Args:
        name: one of `READERS`.
        root: the folder that its distribution unpacks to.

    Returns:
        Its sequences in a fixed order, with at least one.

    Raises:
        ConfigError: an unknown name.
        DataError: the folder is not such a data set, or a file in it is malformed; the message names it.
    """
    if name not in READERS:
        raise ConfigError(f"unknown data set '{name}'{nearest(name, READERS)} Known: {', '.join(READERS)}")
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: expected the folder of a data set; there is none")
    found = READERS[name](root)
    if not found:
        raise DataError(f"{root}: expected sequences of {name}; there are none")
    return found
