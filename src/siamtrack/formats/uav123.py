"""UAV123, its 10 fps version and UAV20L: `data_seq/UAV123/<video>/000001.jpg`, `anno/UAV123/<seq>.txt`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, everywhere, read_flags, read_regions

_ATTRIBUTES = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")

_STARTS = """
bird1_2:775 bird1_3:1573 car1_2:751 car1_3:1627 car16_2:415 car6_2:487 car6_3:1807 car6_4:2953 car6_5:3925 car8_2:1357
group1_2:1333 group1_3:2515 group1_4:3925 group2_2:907 group2_3:1771 group3_2:1567 group3_3:2827 group3_4:4369
person2_2:1189 person4_2:1501 person5_2:877 person7_2:1249 person8_2:1075 person12_2:601 person14_2:847
person14_3:1813 person17_2:1501 person19_2:1243 person19_3:2791 truck4_2:577 uav1_2:1555 uav1_3:2473
"""

UAV123_STARTS: Mapping[str, int] = MappingProxyType(
    {name: int(first) for name, _, first in (entry.partition(":") for entry in _STARTS.split())}
)
"""The first frame in their video of the sequences that do not begin with it (configSeqs.m), at 30 fps."""


def _layout(name: str, annotation: str, videos: str, step: int) -> Layout:
    """The layout of one of the three; `step` is its frame rate's divisor, 0 if sequences are whole videos."""

    def find(archive: Archive) -> dict[str, str]:
        members = archive.paths(f"anno/{annotation}/*.txt")
        return {member.rpartition("/")[2].removesuffix(".txt"): member for member in members}

    def read(archive: Archive, sequence: str, member: str, report_problem: ReportProblem) -> Annotated:
        """Read one sequence; a name that ends in _2 and higher is a later part of a video."""
        regions = read_regions(archive, member)
        video = re.sub(r"_\d$", "", sequence) if step else sequence
        first = (UAV123_STARTS.get(sequence, 1) - 1) // step + 1 if step else 1
        numbers = range(first, first + len(regions))
        frames = tuple(f"data_seq/{videos}/{video}/{number:06d}.jpg" for number in numbers)
        attributes = "/".join([*member.split("/")[:-1], "att", f"{sequence}.txt"])
        on = read_flags(archive, attributes, len(_ATTRIBUTES), report_problem)
        tags = {} if on is None else everywhere(dict(zip(_ATTRIBUTES, on.tolist(), strict=True)), len(regions))
        return Annotated(sequence, archive.where(member), regions, frames, tags=tags, origin=1)

    return Layout(name, f"anno/{annotation}/<sequence>.txt", find, read)


UAV123 = _layout("uav123", "UAV123", "UAV123", 1)
UAV123_10FPS = _layout("uav123-10fps", "UAV123_10fps", "UAV123_10fps", 3)
UAV20L = _layout("uav20l", "UAV20L", "UAV123", 0)
