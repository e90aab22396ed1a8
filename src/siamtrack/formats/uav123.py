"""UAV123, its 10 fps version and UAV20L: `data_seq/UAV123/<video>/000001.jpg`, `anno/UAV123/<seq>.txt`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.files import flags, numbered, regions
from siamtrack.formats.sequence import VideoSequence, from_file
from siamtrack.geometry.regions import BoolArray

__all__ = ["UAV123_STARTS", "read_uav20l", "read_uav123", "read_uav123_10fps"]

_ORIGIN = 1
_ATTRIBUTES = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")
_SEGMENT = re.compile(r"_\d$")

_STARTS = """
bird1_2:775 bird1_3:1573 car1_2:751 car1_3:1627 car16_2:415 car6_2:487 car6_3:1807 car6_4:2953
car6_5:3925 car8_2:1357 group1_2:1333 group1_3:2515 group1_4:3925 group2_2:907 group2_3:1771
group3_2:1567 group3_3:2827 group3_4:4369 person2_2:1189 person4_2:1501 person5_2:877 person7_2:1249
person8_2:1075 person12_2:601 person14_2:847 person14_3:1813 person17_2:1501 person19_2:1243
person19_3:2791 truck4_2:577 uav1_2:1555 uav1_3:2473
"""

UAV123_STARTS: Mapping[str, int] = MappingProxyType(
    {name: int(first) for name, _, first in (entry.partition(":") for entry in _STARTS.split())}
)
"""The first frame in their video of the sequences that do not begin with it (configSeqs.m), at 30 fps."""


def read_uav123(root: Path) -> list[VideoSequence]:
    """Read the 123 sequences; a name that ends in _2 and higher is a later part of a video."""
    return _read(root, "UAV123", "UAV123", 1)


def read_uav123_10fps(root: Path) -> list[VideoSequence]:
    """Read the same at every third frame; parts begin at the frames that these are."""
    return _read(root, "UAV123_10fps", "UAV123_10fps", 3)


def read_uav20l(root: Path) -> list[VideoSequence]:
    """Read the 20 long sequences, which are whole videos of UAV123."""
    return _read(root, "UAV20L", "UAV123", 0)


def _read(root: Path, annotation: str, videos: str, step: int) -> list[VideoSequence]:
    """Read the annotations of one benchmark; `step` is its frame rate's divisor, 0 where videos are whole."""
    folder = root / "anno" / annotation
    files = sorted(folder.glob("*.txt")) if folder.is_dir() else []
    if not files:
        raise DataError(f"{root}: expected anno/{annotation}/<sequence>.txt; there are none")
    return [_sequence(path, root / "data_seq" / videos, step) for path in files]


def _sequence(path: Path, videos: Path, step: int) -> VideoSequence:
    name = path.stem
    video = _SEGMENT.sub("", name) if step else name
    first = (UAV123_STARTS.get(name, 1) - 1) // step + 1 if step else 1
    truth = regions(path)
    frames = numbered(videos / video, "%06d.jpg", first, len(truth))
    return VideoSequence(name, frames, from_file(truth, _ORIGIN), tags=_tags(path, len(truth)), origin=_ORIGIN)


def _tags(path: Path, frames: int) -> dict[str, BoolArray]:
    attributes = path.parent / "att" / path.name
    if not attributes.is_file():
        return {}
    on = flags(attributes, len(_ATTRIBUTES))
    everywhere = np.ones(frames, dtype=np.bool_)
    return {tag: everywhere for tag, yes in zip(_ATTRIBUTES, on.tolist(), strict=True) if yes}
