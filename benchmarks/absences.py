"""Make clips in which the target is gone for a while: real videos with the target cut out of some frames.

    python benchmarks/absences.py SEQUENCES OUT --seed 0 1

SEQUENCES is a folder of sequences as `siamtrack eval --suite folder` reads them. In each, the target is cut out of 30
to 150 frames in a row: its place, a fifth wider, shows what another frame of the video has there, or what surrounds it.
OUT then holds clips `NAME-SEED/*.jpg` with `groundtruth.txt`, nan where the target is gone, and `list.txt`, for
`benchmarks/presence.py` and `siamtrack eval`, whose `--suite vot2022-lt` measures precision, recall and F on them.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from siamtrack.formats.datasets import read_dataset

SHORTEST, LONGEST = 30, 150
BEFORE, AFTER = 30, 35
"""Frames that are kept as they are at both ends."""


def place(box: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """A box x, y, w, h, a fifth wider, in whole pixels of the frame: left, top, right, bottom."""
    x, y, w, h = box
    left, right = np.clip([x - 0.1 * w - 2, x + 1.1 * w + 2], 0, width)
    top, bottom = np.clip([y - 0.1 * h - 2, y + 1.1 * h + 2], 0, height)
    return int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    """Whether two places share a pixel."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def cut_out(frame: np.ndarray, at: tuple[int, int, int, int], other: np.ndarray | None) -> np.ndarray:
    """The frame without what is `at`: with the pixels of another frame, or painted over from its surroundings."""
    left, top, right, bottom = at
    mask = np.zeros(frame.shape[:2], np.float32)
    mask[top:bottom, left:right] = 1.0
    if other is None:
        side = max(right - left, bottom - top)
        l2, t2 = max(0, left - side // 2), max(0, top - side // 2)
        part = frame[t2 : bottom + side // 2, l2 : right + side // 2]
        scale = min(1.0, 96 / side)
        size = max(2, round(part.shape[1] * scale)), max(2, round(part.shape[0] * scale))
        small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        hole = cv2.resize(mask[t2 : bottom + side // 2, l2 : right + side // 2], size) > 0
        painted = cv2.inpaint(small, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        other = frame.copy()
        other[t2 : bottom + side // 2, l2 : right + side // 2] = cv2.resize(painted, part.shape[1::-1])
    soft = cv2.GaussianBlur(mask, (0, 0), 2.0)[..., None]
    return (frame * (1 - soft) + other * soft).round().astype(np.uint8)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("sequences", type=Path)
parser.add_argument("out", type=Path)
parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one clip of each sequence a seed")
args = parser.parse_args()

names: list[str] = []
for (number, sequence), seed in product(enumerate(read_dataset("folder", args.sequences)), args.seed):
    rng = np.random.default_rng([seed, number])
    boxes = np.array([sequence.box(n) for n in range(len(sequence))], dtype=float)
    room = len(sequence) - BEFORE - AFTER
    if room < SHORTEST:
        print(f"{sequence.name}: {len(sequence)} frames are too few")
        continue
    length = int(rng.integers(SHORTEST, min(LONGEST, room) + 1))
    start = int(rng.integers(BEFORE, BEFORE + room - length + 1))
    plates = rng.random() < 0.5
    folder = args.out / f"{sequence.name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    truth = boxes.copy()
    for n in range(len(sequence)):
        frame = np.asarray(sequence.frames[n])
        if start <= n < start + length and np.isfinite(boxes[n]).all():
            height, width = frame.shape[:2]
            at = place(boxes[n], width, height)
            free = [
                m for m in np.argsort(abs(np.arange(len(sequence)) - n))
                if np.isfinite(boxes[m]).all() and not overlap(at, place(boxes[m], width, height))
            ][:1] if plates else []  # fmt: skip
            frame = cut_out(frame, at, np.asarray(sequence.frames[int(free[0])]) if free else None)
            truth[n] = np.nan
        cv2.imwrite(str(folder / f"{n + 1:05d}.jpg"), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    np.savetxt(folder / "groundtruth.txt", truth, fmt="%.4f", delimiter=",")
    names.append(folder.name)
    print(f"{folder.name}: gone in {length} of {len(sequence)} frames, from {start} on")
(args.out / "list.txt").write_text("".join(f"{name}\n" for name in names))
