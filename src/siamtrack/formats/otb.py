"""OTB-2013, OTB-50 and OTB-100 (Wu, Lim and Yang, 2015): `<seq>/img/0001.jpg`, `<seq>/groundtruth_rect.txt`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, everywhere, read_regions

__all__ = ["OTB", "OTB_ATTRIBUTES", "OTB_SPECIAL", "Special"]

_ORIGIN = 1
_TRUTH = re.compile(r"groundtruth_rect(?:\.(\d+))?\.txt")


@dataclass(frozen=True)
class Special:
    """How a sequence departs from the rule that line n of the annotation belongs to img/<n>.jpg.

    Attributes:
        first: number of the frame of the first annotation.
        digits: of the frame numbers in file names.
        frames: annotated frames, where more images are distributed.
        omit: annotated frames at the beginning that the benchmark does not use.
    """

    first: int = 1
    digits: int = 4
    frames: int | None = None
    omit: int = 0


OTB_SPECIAL: Mapping[str, Special] = MappingProxyType(
    {
        "BlurCar1": Special(first=247),
        "BlurCar3": Special(first=3),
        "BlurCar4": Special(first=18),
        "Board": Special(digits=5),
        "David": Special(first=300, frames=471),
        "Diving": Special(frames=215),
        "Football1": Special(frames=74),
        "Freeman3": Special(frames=460),
        "Freeman4": Special(frames=283),
        "Tiger1": Special(omit=5, frames=354),
    }
)

_NAMES = {
    "IV": """
        Basketball Box Car1 Car2 Car24 Car4 CarDark Coke Crowds David Doll FaceOcc2 Fish Human2 Human4
        Human7 Human8 Human9 Ironman KiteSurf Lemming Liquor Man Matrix Mhyang MotorRolling Shaking Singer1
        Singer2 Skating1 Skiing Soccer Sylvester Tiger1 Tiger2 Trans Trellis Woman
    """,
    "SV": """
        Biker BlurBody BlurCar2 BlurOwl Board Box Boy Car1 Car2 Car24 Car4 CarScale ClifBar Couple Crossing
        Dancer David Diving Dog Dog1 Doll DragonBaby Dudek FleetFace Freeman1 Freeman3 Freeman4 Girl Girl2
        Gym Human2 Human3 Human4 Human5 Human6 Human7 Human8 Human9 Ironman Jump Lemming Liquor Matrix
        MotorRolling Panda RedTeam Rubik Shaking Singer1 Skater Skater2 Skating1 Skating2 Skiing Soccer
        Surfer Toy Trans Trellis Twinnings Vase Walking Walking2 Woman
    """,
    "OCC": """
        Basketball Biker Bird2 Bolt Box CarScale ClifBar Coke Coupon David David3 Doll DragonBaby Dudek
        FaceOcc1 FaceOcc2 Football Freeman4 Girl Girl2 Human3 Human4 Human5 Human6 Human7 Ironman Jogging
        Jump KiteSurf Lemming Liquor Matrix Panda RedTeam Rubik Singer1 Skating1 Skating2 Soccer Subway Suv
        Tiger1 Tiger2 Trans Walking Walking2 Woman
    """,
    "DEF": """
        Basketball Bird1 Bird2 BlurBody Bolt Bolt2 Couple Crossing Crowds Dancer Dancer2 David David3 Diving
        Dog Dudek FleetFace Girl2 Gym Human3 Human4 Human5 Human6 Human7 Human8 Human9 Jogging Jump Mhyang
        Panda Singer2 Skater Skater2 Skating1 Skating2 Skiing Subway Tiger1 Tiger2 Trans Walking Woman
    """,
    "MB": """
        Biker BlurBody BlurCar1 BlurCar2 BlurCar3 BlurCar4 BlurFace BlurOwl Board Box Boy Car1 Car2 ClifBar
        David Deer DragonBaby FleetFace Girl2 Human2 Human7 Human9 Ironman Jump Jumping Liquor MotorRolling
        Soccer Tiger1 Tiger2 Woman
    """,
    "FM": """
        Biker Bird1 Bird2 BlurBody BlurCar1 BlurCar2 BlurCar3 BlurCar4 BlurFace BlurOwl Board Boy Car1 Car2
        CarScale ClifBar Coke Couple Crossing Deer DragonBaby Dudek FleetFace Human6 Human7 Human9 Ironman
        Jump Jumping Lemming Liquor Matrix MotorRolling Skater2 Skating2 Soccer Surfer Tiger1 Tiger2 Toy
        Vase Woman
    """,
    "IPR": """
        Bird2 BlurBody BlurFace BlurOwl Bolt Box Boy CarScale ClifBar Coke Dancer David David2 Deer Diving
        Dog1 Doll DragonBaby Dudek FaceOcc2 FleetFace Football Football1 Freeman1 Freeman3 Freeman4 Girl Gym
        Ironman Jump KiteSurf Matrix MotorRolling MountainBike Panda RedTeam Rubik Shaking Singer2 Skater
        Skater2 Skiing Soccer Surfer Suv Sylvester Tiger1 Tiger2 Toy Trellis Vase
    """,
    "OPR": """
        Basketball Biker Bird2 Board Bolt Box Boy CarScale Coke Couple Crossing Dancer David David2 David3
        Dog Dog1 Doll DragonBaby Dudek FaceOcc2 FleetFace Football Football1 Freeman1 Freeman3 Freeman4 Girl
        Girl2 Gym Human2 Human3 Human6 Ironman Jogging Jump KiteSurf Lemming Liquor Matrix Mhyang
        MountainBike Panda RedTeam Rubik Shaking Singer1 Singer2 Skater Skater2 Skating1 Skating2 Skiing
        Soccer Surfer Sylvester Tiger1 Tiger2 Toy Trellis Twinnings Woman
    """,
    "OV": """
        Biker Bird1 Board Box ClifBar DragonBaby Dudek Human6 Ironman Lemming Liquor Panda Suv Tiger2
    """,
    "BC": """
        Basketball Board Bolt2 Box Car1 Car2 Car24 CarDark ClifBar Coke Couple Coupon Crossing Crowds David3
        Deer Dudek Football Football1 Human3 Ironman Liquor Matrix Mhyang MotorRolling MountainBike Shaking
        Singer2 Skating1 Soccer Subway Trellis
    """,
    "LR": """
        Biker Box Car1 Deer Ironman MotorRolling Panda RedTeam Surfer Walking2
    """,
}

OTB_ATTRIBUTES: Mapping[str, frozenset[str]] = MappingProxyType(
    {tag: frozenset(names.split()) for tag, names in _NAMES.items()}
)
"""The folders that have each of the eleven attributes."""


def _find(archive: Archive) -> dict[str, str]:
    """All sequences; each target of a folder is one, as Jogging-1 and Jogging-2."""
    found = {}
    for folder in archive.folders():
        for name in archive.files(folder):
            if (match := _TRUTH.fullmatch(name)) is None:
                continue
            member, number = f"{folder}/{name}", match.group(1)
            if number is None or archive.read(member).strip():  # Human4 comes with an empty groundtruth_rect.1.txt
                found[folder if number is None else f"{folder}-{number}"] = member
    return found


def _read(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    """Read one target; frames are those of `OTB_SPECIAL` where they are not 0001.jpg and on."""
    video = name if name in _VIDEOS or name in OTB_SPECIAL else re.sub(r"-\d$", "", name)
    special = OTB_SPECIAL.get(video, Special())
    regions = read_regions(archive, member)
    first = special.first + special.omit
    if special.omit and len(regions) == special.frames:
        regions = regions[special.omit :]  # PySOT's copies of the annotation have these lines removed
    if special.frames is not None and len(regions) > special.frames - special.omit:
        annotated = f"{name} has {special.frames} annotated frames"
        raise DataError(f"{archive.where(member)}: {len(regions)} lines; {annotated}")
    images = f"{member.rpartition('/')[0]}/img/".lstrip("/")
    frames = tuple(f"{images}{number:0{special.digits}d}.jpg" for number in range(first, first + len(regions)))
    tags = everywhere({tag: video in names for tag, names in OTB_ATTRIBUTES.items()}, len(regions))
    return Annotated(name, archive.where(member), regions, frames, tags=tags, origin=_ORIGIN)


_VIDEOS = frozenset().union(*OTB_ATTRIBUTES.values())

OTB = Layout("otb", "Basketball/groundtruth_rect.txt", _find, _read)
