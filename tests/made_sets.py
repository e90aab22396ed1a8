"""Made copies of benchmarks in the layouts in which they are distributed, odd sequences included, with tiny frames.

Each maker fills a folder from a random generator and returns the sequences that a reader has to find, with the numbers
of their frames.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from toy_sets import SIZE

FRAME = cv2.imencode(".jpg", np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))[1].tobytes()
Made = dict[str, int]


def walk(rng: np.random.Generator, count: int, decimals: int = 2) -> np.ndarray:
    """(N, 4) boxes x, y, w, h of a target that wanders and changes its size."""
    steps = rng.normal(0, [0.5, 0.4, 0.1, 0.1], (count, 4))
    boxes = np.array([20.0, 14, 16, 12]) + np.cumsum(steps, axis=0)
    boxes[:, 2:] = np.clip(boxes[:, 2:], 6, 30)
    boxes[:, :2] = np.clip(boxes[:, :2], 1, 30)
    return np.round(boxes, decimals)


def text(rows: np.ndarray, separator: str = ",") -> str:
    return "\n".join(separator.join(f"{v:.12g}" for v in row) for row in rows) + "\n"


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def frames(folder: Path, pattern: str, first: int, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / (pattern % number)).write_bytes(FRAME)


def flags(rng: np.random.Generator, count: int, share: float = 0.2) -> np.ndarray:
    found = (rng.random(count) < share).astype(int)
    found[0] = 0
    return found


def otb(root: Path, rng: np.random.Generator) -> Made:
    """Images on the disk: all that the distribution has; annotation: its rows; evaluated: what the benchmark uses."""
    # folder: first image, images, rows of annotation, digits, suffixes of annotation
    table = {
        "Basketball": (1, 12, 12, 4, ("",)),
        "David": (1, 770, 471, 4, ("",)),
        "Football1": (1, 74, 74, 4, ("",)),
        "Freeman3": (1, 490, 460, 4, ("",)),
        "Freeman4": (1, 297, 283, 4, ("",)),
        "BlurCar1": (247, 15, 15, 4, ("",)),
        "BlurCar2": (1, 9, 9, 4, ("",)),
        "BlurCar3": (3, 11, 11, 4, ("",)),
        "BlurCar4": (18, 10, 10, 4, ("",)),
        "Board": (1, 14, 14, 5, ("",)),
        "Diving": (1, 231, 215, 4, ("",)),
        "Tiger1": (1, 354, 354, 4, ("",)),
        "Jogging": (1, 11, 11, 4, (".1", ".2")),
        "Skating2": (1, 13, 13, 4, (".1", ".2")),
        "Human4": (1, 10, 10, 4, (".2",)),
    }
    made: Made = {}
    for folder, (first, images, rows, digits, suffixes) in table.items():
        frames(root / folder / "img", f"%0{digits}d.jpg", first, images)
        for suffix in suffixes:
            separator = "\t" if folder in ("Diving", "Board") else ","
            boxes = walk(rng, rows, 0)
            put(root / folder / f"groundtruth_rect{suffix}.txt", text(boxes, separator))
            made[folder + suffix.replace(".", "-")] = 349 if folder == "Tiger1" else rows
    put(root / "Human4" / "groundtruth_rect.1.txt", "")
    return made


def vot(root: Path, rng: np.random.Generator, year: int, longterm: bool = False) -> Made:
    """The layouts of the years: frames in the folder until 2017, tags as `.label` until 2015, masks from 2020 on."""
    colour = year >= 2018
    place = root / "sequences" if year >= 2020 else root
    made = {"bag": 24, "ants1": 19}
    for name, count in made.items():
        folder = place / name
        frames(folder / ("color" if colour else ""), "%08d.jpg", 1, count)
        boxes = walk(rng, count, 4)
        x, y, w, h = boxes.T
        truth = text(np.round(np.stack([x, y + h, x, y, x + w, y + 1, x + w, y + h], axis=1), 3))
        if longterm:
            boxes[flags(rng, count, 0.3) > 0] = np.nan
            truth = text(boxes)
        elif year >= 2020:
            whole = np.round(boxes).astype(int)
            masks = [f"m{x},{y},{w},{h},0,{w * h}" for x, y, w, h in whole.tolist()]
            truth = "\n".join(masks) + "\n"
            put(folder / "anchor.value", "".join(f"{v}\n" for v in [1, *[0] * (count - 2), -1]))
        put(folder / "groundtruth.txt", truth)
        for tag in ("occlusion", "camera_motion"):
            on = flags(rng, count)
            put(folder / f"{tag}.{'label' if year == 2015 else 'tag'}", "".join(f"{v}\n" for v in on[: count - 3]))
        if colour:
            size = f"width={SIZE[0]}\nheight={SIZE[1]}\n"
            put(folder / "sequence", f"channels.color=color/%08d.jpg\nformat=default\nname={name}\nfps=30\n{size}")
    put(place / "list.txt", "".join(f"{name}\n" for name in made))
    return made


def lasot(root: Path, rng: np.random.Generator) -> Made:
    made: Made = {}
    for name in ("airplane-1", "zebra-10", "zebra-1", "airplane-2"):
        count = int(rng.integers(9, 20))
        folder = root / name.rpartition("-")[0] / name
        frames(folder / "img", "%08d.jpg", 1, count)
        put(folder / "groundtruth.txt", text(walk(rng, count, 0)))
        for kind in ("full_occlusion", "out_of_view"):
            put(folder / f"{kind}.txt", ",".join(map(str, flags(rng, count))))
        put(folder / "nlp.txt", "a made thing")
        if name in ("airplane-1", "zebra-10"):
            made[name] = count
    return made


def got10k(root: Path, rng: np.random.Generator) -> Made:
    made: Made = {}
    for number in (1, 2, 3):
        name, count = f"GOT-10k_Val_{number:06d}", int(rng.integers(8, 15))
        folder = root / "val" / name
        frames(folder, "%08d.jpg", 1, count)
        put(folder / "groundtruth.txt", text(walk(rng, count, 4)))
        hidden = flags(rng, count)
        put(folder / "cover.label", "".join(f"{8 * (1 - v)}\n" for v in hidden))
        put(folder / "absence.label", "".join(f"{v}\n" for v in hidden))
        put(folder / "cut_by_image.label", "0\n" * count)
        put(folder / "meta_info.ini", f"[METAINFO]\nresolution: ({SIZE[0]}, {SIZE[1]})\nobject_class: fox\n")
        made[name] = count
    put(root / "val" / "list.txt", "".join(f"{name}\n" for name in made))
    frames(root / "test" / "GOT-10k_Test_000001", "%08d.jpg", 1, 3)
    put(root / "test" / "GOT-10k_Test_000001" / "groundtruth.txt", "1,2,3,4\n")
    return made


def trackingnet(root: Path, rng: np.random.Generator) -> Made:
    """A chunk of the training set, of which all rows are public; the test set has one a sequence."""
    made: Made = {}
    for name in ("-3TIfnTSM6c_2", "a1qoB1eERn0_0"):
        made[name] = count = int(rng.integers(11, 14))
        frames(root / "frames" / name, "%d.jpg", 0, count)
        put(root / "anno" / f"{name}.txt", text(walk(rng, count)))
    return made


def _uav(root: Path, rng: np.random.Generator, benchmark: str, videos: str, table: dict[str, tuple[str, int]]) -> Made:
    made: Made = {}
    for name, (video, first) in table.items():
        made[name] = count = int(rng.integers(8, 15))
        frames(root / "data_seq" / videos / video, "%06d.jpg", first, count)
        boxes = walk(rng, count, 0)
        boxes[flags(rng, count) > 0] = np.nan
        put(root / "anno" / benchmark / f"{name}.txt", text(boxes).replace("nan", "NaN"))
        on = flags(rng, 12, 0.5)
        put(root / "anno" / benchmark / "att" / f"{name}.txt", ",".join(map(str, on)))
    return made


def _uav_all(root: Path, rng: np.random.Generator) -> dict[str, Made]:
    """One download holds the three benchmarks."""
    thirty = {"bike1": ("bike1", 1), "car1_2": ("car1", 751), "car1_s": ("car1_s", 1), "car8_2": ("car8", 1357)}
    ten = {"bike1": ("bike1", 1), "bird1_2": ("bird1", 259), "uav1_3": ("uav1", 825)}
    return {
        "uav123": _uav(root, rng, "UAV123", "UAV123", thirty),
        "uav123-10fps": _uav(root, rng, "UAV123_10fps", "UAV123_10fps", ten),
        "uav20l": _uav(root, rng, "UAV20L", "UAV123", {"group1": ("group1", 1), "person14": ("person14", 1)}),
    }


def _nfs(root: Path, rng: np.random.Generator) -> dict[str, Made]:
    """Annotations at 240 frames a second, also beside the frames at 30, where one may be too many or too few."""
    slow, fast = {}, {}
    for name, count, surplus in (("airboard_1", 97, 0), ("ball_1", 96, 1), ("basketball_player", 112, 0)):
        boxes = walk(rng, count, 0)
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        rows = [f'0 {a:g} {b:g} {c:g} {d:g} {n} 0 0 0 "thing"' for n, (a, b, c, d) in enumerate(corners)]
        folder = root / name
        images = -(-count // 8) + surplus
        frames(folder / "240" / name, "%05d.jpg", 1, count)
        frames(folder / "30" / name, "%05d.jpg", 1, images)
        for rate in ("240", "30"):
            put(folder / rate / f"{name}.txt", "\n".join(rows) + "\n")
        fast[name], slow[name] = count, images - surplus
    return {"nfs30": slow, "nfs240": fast}


def tc128(root: Path, rng: np.random.Generator) -> Made:
    made: Made = {}
    for name, first in (("Ball_ce1", 3), ("Airport_ce", 1)):
        made[name] = count = int(rng.integers(8, 15))
        frames(root / name / "img", "%04d.jpg", 1, count + first + 2)
        put(root / name / f"{name}_gt.txt", text(walk(rng, count, 0)))
        put(root / name / f"{name}_frames.txt", f"{first},{first + count - 1}\n")
        put(root / name / f"{name}_att.txt", "OCC, FM")
    return made


def dtb70(root: Path, rng: np.random.Generator) -> Made:
    made: Made = {}
    for name in ("Animal1", "Yacht4"):
        made[name] = count = int(rng.integers(8, 15))
        frames(root / name / "img", "%05d.jpg", 1, count)
        put(root / name / "groundtruth_rect.txt", text(walk(rng, count)))
    return made


def folder(root: Path, rng: np.random.Generator) -> Made:
    frames(root / "one" / "img", "%d.jpg", 1, 12)
    boxes = walk(rng, 12)
    boxes[5] = np.nan
    put(root / "one" / "groundtruth.txt", text(boxes))
    frames(root / "two", "frame%03d.png", 7, 9)
    put(root / "two.txt", text(walk(rng, 9), "\t"))
    return {"one": 12, "two": 9}


Maker = Callable[[Path, np.random.Generator], Made]


def _one_of(many: Callable[[Path, np.random.Generator], dict[str, Made]], name: str) -> Maker:
    return lambda root, rng: many(root, rng)[name]


def _vot(year: int, longterm: bool = False) -> Maker:
    return lambda root, rng: vot(root, rng, year, longterm)


SUITES: dict[str, Maker] = {
    "otb100": otb,
    **{f"vot{year}": _vot(year) for year in range(2015, 2023)},
    **{f"vot{year}-lt": _vot(year, longterm=True) for year in (2018, 2019, 2022)},
    "vot2016-unsupervised": _vot(2016),
    "lasot": lasot,
    "got10k-val": got10k,
    "trackingnet": trackingnet,
    **{name: _one_of(_uav_all, name) for name in ("uav123", "uav123-10fps", "uav20l")},
    **{name: _one_of(_nfs, name) for name in ("nfs30", "nfs240")},
    "tc128": tc128,
    "dtb70": dtb70,
    "folder": folder,
}
