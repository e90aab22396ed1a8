"""Small copies of the eight training sets of the papers, as they are distributed, with the published proportions.

    python tests/published_sets.py FOLDER [--share 500]

writes them for a look or for `siamtrack data index`. A copy has one video or still for 500 of the real set:

| set | videos or stills | objects | frames |
|---|---|---|---|
| ImageNet VID, training | 3,862 | 7,911 | 1,122,397 |
| YouTube-BB, training | 240,000 | 380,000 segments, one annotation a second | 5,600,000 |
| COCO 2017, training | 118,287 | 860,001 | stills |
| ImageNet DET, training | 333,474 with boxes | 478,807 | stills |
| GOT-10k, training | 9,335 | 9,335 | 1,400,000 |
| LaSOT, training | 1,120 | 1,120 | 2,830,000 |
| WIDER FACE, training | 12,880 | 159,424 | stills |
| CityPersons, training | 2,975 | 19,654 | stills |

Each frame is the same small picture under another name (a hard link). LaSOT has three videos, to have a choice. Faces
that are invalid, regions to ignore and groups are there besides, and no objects.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 320, 240
CLASSES = ("n02084071", "n02958343", "n02691156", "n01503061")

Tracks = dict[str, list[int]]
"""The annotated frames of each object."""


@dataclass
class Made:
    """What was written: by source, video or still, and object, the frames (of YouTube-BB the seconds) with a box."""

    root: Path
    videos: dict[str, dict[str, Tracks]] = field(default_factory=dict)

    @cached_property
    def objects(self) -> dict[str, list[tuple[str, str, str, int]]]:
        """By source: source, video, name and number of frames of each object."""
        return {
            source: [(source, video, name, len(f)) for video, own in videos.items() for name, f in own.items()]
            for source, videos in self.videos.items()
        }

    @cached_property
    def films_and_stills(self) -> tuple[list[tuple[str, str, str, int]], list[tuple[str, str, str, int]]]:
        """Objects with several frames and with one, of the six sets that SPM trains on."""
        six = ("vid", "youtubebb", "coco", "det", "citypersons", "widerface")
        things = [thing for source in six for thing in self.objects[source]]
        return [thing for thing in things if thing[3] > 1], [thing for thing in things if thing[3] == 1]


class _Writer:
    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.rng = root, np.random.default_rng(seed)
        root.mkdir(parents=True, exist_ok=True)
        self.pictures = {suffix: root / f"picture{suffix}" for suffix in (".jpg", ".png")}
        for picture in self.pictures.values():
            cv2.imwrite(str(picture), np.full((HEIGHT, WIDTH, 3), 128, np.uint8))
        self.folders: set[Path] = set()

    def frame(self, path: Path) -> None:
        self.folder(path.parent)
        os.link(self.pictures.get(path.suffix, self.pictures[".jpg"]), path)

    def text(self, path: Path, text: str) -> None:
        self.folder(path.parent)
        path.write_text(text)

    def folder(self, path: Path) -> None:
        if path not in self.folders:
            path.mkdir(parents=True, exist_ok=True)
            self.folders.add(path)

    def box(self) -> tuple[int, int, int, int]:
        """First and last pixels, well inside the frame."""
        w, h = self.rng.integers(30, 90, 2).tolist()
        x, y = int(self.rng.integers(5, WIDTH - w - 5)), int(self.rng.integers(5, HEIGHT - h - 5))
        return x, y, x + w, y + h


def _xml(objects: list[tuple[str | None, str, tuple[int, int, int, int]]]) -> str:
    parts = []
    for track, name, (x0, y0, x1, y1) in objects:
        number = f"<trackid>{track}</trackid>" if track is not None else ""
        corners = f"<xmax>{x1}</xmax><xmin>{x0}</xmin><ymax>{y1}</ymax><ymin>{y0}</ymin>"
        parts.append(f"<object>{number}<name>{name}</name><bndbox>{corners}</bndbox></object>")
    return f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>{''.join(parts)}</annotation>"


def _vid(to: _Writer, count: int) -> dict[str, Tracks]:
    """Objects that come late or leave early; each is annotated without a hole."""
    found: dict[str, Tracks] = {}
    for number in range(count):
        video = f"VID/train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_{number:08d}"
        length = int(to.rng.integers(60, 420))
        objects: Tracks = {}
        for track in range(1 + int(to.rng.geometric(0.5) - 1) % 4):
            first, last = sorted(to.rng.integers(0, length, 2).tolist())
            objects[f"{video}/{track}"] = list(range(first, last + 1)) if track else list(range(length))
        for frame in range(length):
            shown = [
                (track.rpartition("/")[2], CLASSES[number % 4], to.box())
                for track, frames in objects.items()
                if frames[0] <= frame <= frames[-1]
            ]
            to.frame(to.root / f"Data/{video}/{frame:06d}.JPEG")
            to.text(to.root / f"Annotations/{video}/{frame:06d}.xml", _xml(shown))
        found[video] = objects
    return found


def _youtubebb(to: _Writer, count: int) -> dict[str, Tracks]:
    """One to three segments a video, one annotation a second, of which some say that the object is absent."""
    found: dict[str, Tracks] = {}
    to.folder(to.root)
    with (to.root / "yt_bb_detection_train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        for number in range(count):
            name, kind = f"v{number:05d}", int(to.rng.integers(0, 23))
            objects: Tracks = {}
            for thing in range(int(to.rng.choice([1, 2, 3], p=[0.6, 0.22, 0.18]))):
                segment, seen = f"{name}+{kind}+{thing}", []
                start = int(to.rng.integers(0, 100))
                for second in range(start, start + int(to.rng.integers(6, 20))):
                    stamp, row = second * 1000, [name, second * 1000, kind, f"class{kind}", thing]
                    if to.rng.random() < 0.1 and seen:
                        table.writerow([*row, "absent", -1.0, -1.0, -1.0, -1.0])
                        continue
                    x0, y0, x1, y1 = to.box()
                    table.writerow([*row, "present", x0 / WIDTH, x1 / WIDTH, y0 / HEIGHT, y1 / HEIGHT])
                    to.frame(to.root / f"train/{segment}/{stamp}.jpg")
                    seen.append(second)
                objects[f"train/{segment}"] = seen
            found[f"train/{name}+{kind}"] = objects
    return found


def _coco(to: _Writer, count: int) -> dict[str, Tracks]:
    images, annotations, found = [], [], {}
    for number in range(count):
        image = f"{number:012d}.jpg"
        to.frame(to.root / f"train2017/{image}")
        images.append({"id": number, "file_name": image, "width": WIDTH, "height": HEIGHT})
        objects: Tracks = {}
        for _ in range(min(int(to.rng.geometric(1 / 7.3)), 40)):
            x0, y0, x1, y1 = to.box()
            thing = {"id": len(annotations), "image_id": number, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
            annotations.append(thing | {"category_id": int(to.rng.integers(4))})
            objects[f"instances_train2017/{len(annotations) - 1}"] = [0]
        found[f"train2017/{image}"] = objects
    names = [{"id": n, "name": f"kind{n}"} for n in range(4)]
    table = {"images": images, "annotations": annotations, "categories": names}
    to.text(to.root / "annotations/instances_train2017.json", json.dumps(table))
    return found


def _det(to: _Writer, count: int) -> dict[str, Tracks]:
    found: dict[str, Tracks] = {}
    for number in range(count):
        stem = f"DET/train/ILSVRC2013_train/n01440764/n01440764_{number}"
        things = [(None, CLASSES[number % 4], to.box()) for _ in range(min(int(to.rng.geometric(1 / 1.44)), 9))]
        to.frame(to.root / f"Data/{stem}.JPEG")
        to.text(to.root / f"Annotations/{stem}.xml", _xml(things))
        found[f"Data/{stem}.JPEG"] = {f"{stem}/{n}": [0] for n in range(len(things))}
    return found


def _widerface(to: _Writer, count: int) -> dict[str, Tracks]:
    """Each image has an invalid face first, and every tenth has no other."""
    found: dict[str, Tracks] = {}
    text = ""
    for number in range(count):
        stem = f"0--Parade/0_Parade_{number}"
        faces = 0 if number % 10 == 9 else min(int(to.rng.geometric(1 / 12.4)), 80)
        corners = [to.box() for _ in range(1 + faces)]
        rows = [f"{a} {b} {c - a} {d - b} 0 0 0 {int(n == 0)} 0 0 \n" for n, (a, b, c, d) in enumerate(corners)]
        text += f"{stem}.jpg\n{len(rows)}\n{''.join(rows)}"
        to.frame(to.root / f"WIDER_train/images/{stem}.jpg")
        if faces:
            found[f"WIDER_train/images/{stem}.jpg"] = {f"train/{stem}/{n}": [0] for n in range(1, 1 + faces)}
    to.text(to.root / "wider_face_split/wider_face_train_bbx_gt.txt", text)
    return found


def _citypersons(to: _Writer, count: int) -> dict[str, Tracks]:
    """Each image has a region to ignore first and a group last."""
    found: dict[str, Tracks] = {}
    kinds = ("pedestrian", "rider", "sitting person", "person (other)")
    for number in range(count):
        stem = f"train/aachen/aachen_{number:06d}_000019"
        people = min(int(to.rng.geometric(1 / 6.6)), 40)
        labels = ["ignore", *(kinds[n % 4] for n in range(people)), "person group"]
        objects = []
        for label in labels:
            x0, y0, x1, y1 = to.box()
            bbox = [x0, y0, x1 - x0, y1 - y0]
            objects.append({"instanceId": 24000, "bbox": bbox, "bboxVis": bbox, "label": label})
        table = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}
        to.text(to.root / f"gtBboxCityPersons/{stem}_gtBboxCityPersons.json", json.dumps(table))
        to.frame(to.root / f"leftImg8bit/{stem}_leftImg8bit.png")
        found[f"leftImg8bit/{stem}_leftImg8bit.png"] = {f"{stem}/{n}": [0] for n in range(1, 1 + people)}
    return found


def _sequences(to: _Writer, places: dict[str, int], extra: dict[str, str], images: str) -> dict[str, Tracks]:
    """One object a video, seen in every frame: GOT-10k and LaSOT."""
    for place, length in places.items():
        folder = to.root / place
        boxes = [to.box() for _ in range(length)]
        to.text(folder / "groundtruth.txt", "".join(f"{a},{b},{c - a},{d - b}\n" for a, b, c, d in boxes))
        for name, text in extra.items():
            to.text(folder / name, text.replace("*", ",".join("0" * length)).replace("|", "0\n" * length))
        for number in range(1, length + 1):
            to.frame(folder / f"{images}{number:08d}.jpg")
    return {place: {place: list(range(length))} for place, length in places.items()}


def write_published_sets(root: Path, share: int = 500, seed: int = 0) -> Made:
    """Write one video or still for `share` of the real ones of each set, into folders with the sources' names."""
    made = Made(root)
    for name, write, real in (
        ("vid", _vid, 3_862), ("youtubebb", _youtubebb, 240_000), ("coco", _coco, 118_287), ("det", _det, 333_474),
        ("widerface", _widerface, 12_880), ("citypersons", _citypersons, 2_975),
    ):  # fmt: skip
        made.videos[name] = write(_Writer(root / name, seed), max(3, round(real / share)))
    to = _Writer(root / "got10k", seed)
    lengths = to.rng.integers(60, 240, max(3, round(9_335 / share))).tolist()
    places = {f"train/GOT-10k_Train_{n + 1:06d}": length for n, length in enumerate(lengths)}
    made.videos["got10k"] = _sequences(to, places, {"absence.label": "|"}, "")
    to = _Writer(root / "lasot", seed)
    lengths = to.rng.integers(700, 1500, max(3, round(1_120 / share))).tolist()
    places = {f"zebra/zebra-{n + 1}": length for n, length in enumerate(lengths)}
    flags = {"full_occlusion.txt": "*", "out_of_view.txt": "*"}
    made.videos["lasot"] = {f"{place}/img": own for place, own in _sequences(to, places, flags, "img/").items()}
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write small copies of the papers' training sets.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=int, default=500, help="one video or still for so many of the real set")
    given = parser.parse_args()
    for source, videos in write_published_sets(given.folder, given.share).videos.items():
        frames = sum(len(frames) for tracks in videos.values() for frames in tracks.values())
        print(f"{source}: {len(videos)} videos or stills, {frames} boxes")
