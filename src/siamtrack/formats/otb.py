"""OTB-2013, OTB-50 and OTB-100 (Wu, Lim and Yang, 2015), Temple Color 128 and DTB70, which are laid out like them.

OTB and DTB70: `<seq>/img/0001.jpg`, `<seq>/groundtruth_rect.txt`. Temple Color 128: `<seq>/<seq>_gt.txt`, and in
`<seq>/<seq>_frames.txt` the numbers of the first and the last frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive, join
from siamtrack.formats.layout import Annotated, Layout, ReportProblem, everywhere, in_each_folder, read_regions
from siamtrack.formats.records import parse_column

_TRUTH = re.compile(r"groundtruth_rect(?:\.(\d+))?\.txt")


@dataclass(frozen=True)
class Special:
    """How a sequence breaks the rule that line n of the annotation belongs to img/<n>.jpg.

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

_NAMES = """
IV: Basketball Box Car1 Car2 Car24 Car4 CarDark Coke Crowds David Doll FaceOcc2 Fish Human2 Human4 Human7 Human8
Human9 Ironman KiteSurf Lemming Liquor Man Matrix Mhyang MotorRolling Shaking Singer1 Singer2 Skating1 Skiing Soccer
Sylvester Tiger1 Tiger2 Trans Trellis Woman
SV: Biker BlurBody BlurCar2 BlurOwl Board Box Boy Car1 Car2 Car24 Car4 CarScale ClifBar Couple Crossing Dancer David
Diving Dog Dog1 Doll DragonBaby Dudek FleetFace Freeman1 Freeman3 Freeman4 Girl Girl2 Gym Human2 Human3 Human4 Human5
Human6 Human7 Human8 Human9 Ironman Jump Lemming Liquor Matrix MotorRolling Panda RedTeam Rubik Shaking Singer1 Skater
Skater2 Skating1 Skating2 Skiing Soccer Surfer Toy Trans Trellis Twinnings Vase Walking Walking2 Woman
OCC: Basketball Biker Bird2 Bolt Box CarScale ClifBar Coke Coupon David David3 Doll DragonBaby Dudek FaceOcc1 FaceOcc2
Football Freeman4 Girl Girl2 Human3 Human4 Human5 Human6 Human7 Ironman Jogging Jump KiteSurf Lemming Liquor Matrix
Panda RedTeam Rubik Singer1 Skating1 Skating2 Soccer Subway Suv Tiger1 Tiger2 Trans Walking Walking2 Woman
DEF: Basketball Bird1 Bird2 BlurBody Bolt Bolt2 Couple Crossing Crowds Dancer Dancer2 David David3 Diving Dog Dudek
FleetFace Girl2 Gym Human3 Human4 Human5 Human6 Human7 Human8 Human9 Jogging Jump Mhyang Panda Singer2 Skater Skater2
Skating1 Skating2 Skiing Subway Tiger1 Tiger2 Trans Walking Woman
MB: Biker BlurBody BlurCar1 BlurCar2 BlurCar3 BlurCar4 BlurFace BlurOwl Board Box Boy Car1 Car2 ClifBar David Deer
DragonBaby FleetFace Girl2 Human2 Human7 Human9 Ironman Jump Jumping Liquor MotorRolling Soccer Tiger1 Tiger2 Woman
FM: Biker Bird1 Bird2 BlurBody BlurCar1 BlurCar2 BlurCar3 BlurCar4 BlurFace BlurOwl Board Boy Car1 Car2 CarScale
ClifBar Coke Couple Crossing Deer DragonBaby Dudek FleetFace Human6 Human7 Human9 Ironman Jump Jumping Lemming Liquor
Matrix MotorRolling Skater2 Skating2 Soccer Surfer Tiger1 Tiger2 Toy Vase Woman
IPR: Bird2 BlurBody BlurFace BlurOwl Bolt Box Boy CarScale ClifBar Coke Dancer David David2 Deer Diving Dog1 Doll
DragonBaby Dudek FaceOcc2 FleetFace Football Football1 Freeman1 Freeman3 Freeman4 Girl Gym Ironman Jump KiteSurf
Matrix MotorRolling MountainBike Panda RedTeam Rubik Shaking Singer2 Skater Skater2 Skiing Soccer Surfer Suv Sylvester
Tiger1 Tiger2 Toy Trellis Vase
OPR: Basketball Biker Bird2 Board Bolt Box Boy CarScale Coke Couple Crossing Dancer David David2 David3 Dog Dog1 Doll
DragonBaby Dudek FaceOcc2 FleetFace Football Football1 Freeman1 Freeman3 Freeman4 Girl Girl2 Gym Human2 Human3 Human6
Ironman Jogging Jump KiteSurf Lemming Liquor Matrix Mhyang MountainBike Panda RedTeam Rubik Shaking Singer1 Singer2
Skater Skater2 Skating1 Skating2 Skiing Soccer Surfer Sylvester Tiger1 Tiger2 Toy Trellis Twinnings Woman
OV: Biker Bird1 Board Box ClifBar DragonBaby Dudek Human6 Ironman Lemming Liquor Panda Suv Tiger2
BC: Basketball Board Bolt2 Box Car1 Car2 Car24 CarDark ClifBar Coke Couple Coupon Crossing Crowds David3 Deer Dudek
Football Football1 Human3 Ironman Liquor Matrix Mhyang MotorRolling MountainBike Shaking Singer2 Skating1 Soccer
Subway Trellis
LR: Biker Box Car1 Deer Ironman MotorRolling Panda RedTeam Surfer Walking2
"""

OTB_ATTRIBUTES: Mapping[str, frozenset[str]] = MappingProxyType(
    {tag: frozenset(names.split()) for tag, names in re.findall(r"([A-Z]+): ([^:]+)(?:\n|$)", _NAMES)}
)
"""The folders that have each of the eleven attributes."""


def _find(archive: Archive) -> dict[str, str]:
    """All sequences; each target of a folder is one, such as Jogging-1 and Jogging-2."""
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
    video = name if name in _VIDEOS or name in OTB_SPECIAL else re.sub(r"-\d$", "", name)
    special = OTB_SPECIAL.get(video, Special())
    regions = read_regions(archive, member)
    first = special.first + special.omit
    if special.omit and len(regions) == special.frames:
        regions = regions[special.omit :]  # PySOT's copies of the annotation have these lines removed
    if special.frames is not None and len(regions) > special.frames - special.omit:
        annotated = f"{name} has {special.frames} annotated frames"
        raise DataError(f"{archive.where(member)}: {len(regions)} lines; {annotated}")
    images = join(member.rpartition("/")[0], "img")
    frames = tuple(f"{images}/{number:0{special.digits}d}.jpg" for number in range(first, first + len(regions)))
    tags = everywhere({tag: video in names for tag, names in OTB_ATTRIBUTES.items()}, len(regions))
    return Annotated(name, archive.where(member), regions, frames, tags=tags, origin=1)


_VIDEOS = frozenset().union(*OTB_ATTRIBUTES.values())

OTB = Layout("otb", "Basketball/groundtruth_rect.txt", _find, _read)


def _read_dtb70(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    frames = tuple(archive.images(join(member.rpartition("/")[0], "img")))
    return Annotated(name, archive.where(member), read_regions(archive, member), frames, origin=1)


_find_dtb70 = partial(in_each_folder, pattern="{0}/groundtruth_rect.txt")
DTB70 = Layout("dtb70", "Animal1/groundtruth_rect.txt", _find_dtb70, _read_dtb70)


def _read_tc128(archive: Archive, name: str, member: str, report_problem: ReportProblem) -> Annotated:
    regions = read_regions(archive, member)
    folder = member.rpartition("/")[0]
    images, span = (join(folder, file) for file in ("img", f"{name}_frames.txt"))
    frames = tuple(archive.images(images))
    if archive.has(span):
        text = archive.read(span).replace(b",", b"\n").replace(b" ", b"\n").strip()
        numbers = [int(n) for n in parse_column(text, archive.where(span)).tolist() if abs(n) < 1e9]
        if len(numbers) != 2 or numbers[1] - numbers[0] + 1 != len(regions):
            expected = f"the numbers of the first and the last of {len(regions)} frames"
            raise DataError(f"{archive.where(span)}: expected {expected}; got {numbers[:4]}")
        frames = tuple(f"{images}/{number:04d}.jpg" for number in range(numbers[0], numbers[1] + 1))
    return Annotated(name, archive.where(member), regions, frames, origin=1)


_find_tc128 = partial(in_each_folder, pattern="{0}/{0}_gt.txt")
TC128 = Layout("tc128", "Ball_ce1/Ball_ce1_gt.txt", _find_tc128, _read_tc128)
