"""Readers of data sets in the layouts in which they are distributed.

A folder on disk becomes a list of sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from siamtrack.errors import ConfigError, DataError, did_you_mean
from siamtrack.formats.folder import read_folder
from siamtrack.formats.got10k import read_got10k_test, read_got10k_val
from siamtrack.formats.lasot import read_lasot
from siamtrack.formats.otb import read_otb
from siamtrack.formats.sequence import VideoSequence
from siamtrack.formats.small import read_dtb70, read_nfs30, read_nfs240, read_tc128
from siamtrack.formats.trackingnet import read_trackingnet
from siamtrack.formats.uav123 import read_uav20l, read_uav123, read_uav123_10fps
from siamtrack.formats.vot import read_vot

__all__ = ["READERS", "read_dataset"]

Reader = Callable[[Path], list[VideoSequence]]

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "folder": read_folder,
        "otb": read_otb,
        "vot": read_vot,
        "uav123": read_uav123,
        "uav123-10fps": read_uav123_10fps,
        "uav20l": read_uav20l,
        "lasot": read_lasot,
        "trackingnet": read_trackingnet,
        "got10k-val": read_got10k_val,
        "got10k-test": read_got10k_test,
        "tc128": read_tc128,
        "nfs30": read_nfs30,
        "nfs240": read_nfs240,
        "dtb70": read_dtb70,
    }
)


def read_dataset(name: str, root: str | Path) -> list[VideoSequence]:
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
        raise ConfigError(f"unknown data set '{name}'{did_you_mean(name, READERS)} Known: {', '.join(READERS)}")
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: expected the folder of a data set; there is none")
    found = READERS[name](root)
    if not found:
        raise DataError(f"{root}: expected sequences of {name}; there are none")
    return found
