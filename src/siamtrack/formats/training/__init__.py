"""Readers of original annotations: published training sets as they are distributed, and one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from siamtrack.errors import ConfigError, DataError, did_you_mean
from siamtrack.formats.training.base import Entry, Problem, Source
from siamtrack.formats.training.coco import COCO
from siamtrack.formats.training.imagenet import DET, VID
from siamtrack.formats.training.labels import CVAT, MOT
from siamtrack.formats.training.sequences import GOT10K, LASOT, SEQUENCES, TRACKINGNET
from siamtrack.formats.training.youtubebb import YOUTUBEBB

__all__ = ["SOURCES", "Entry", "Problem", "Source", "find_source"]

SOURCES: Mapping[str, Source] = MappingProxyType(
    {s.name: s for s in (VID, DET, YOUTUBEBB, GOT10K, LASOT, TRACKINGNET, MOT, CVAT, COCO, SEQUENCES)}
)
"""By name; in this order a folder is tried, the most particular layout first."""


def find_source(root: Path, name: str = "") -> Source:
    """The reader of that name, or the first whose layout a folder has.

    Raises:
        ConfigError: an unknown name.
        DataError: no such folder, or nothing of that layout in it.
    """
    if name and name not in SOURCES:
        raise ConfigError(f"unknown layout '{name}'{did_you_mean(name, SOURCES)} Known: {', '.join(SOURCES)}")
    if not root.is_dir():
        raise DataError(f"{root}: expected the folder of a data set; there is none")
    for source in (SOURCES[name],) if name else SOURCES.values():
        if source.units(root):
            return source
    wanted = SOURCES[name].about if name else f"one of the layouts {', '.join(SOURCES)}"
    raise DataError(f"{root}: expected {wanted}; found no annotations of it")
