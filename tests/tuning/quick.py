"""A tracker whose best setting is known, and sequences that say what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from siamtrack.config import Preset, Track
from siamtrack.errors import InputError
from siamtrack.formats.datasets import read_dataset
from siamtrack.formats.sequence import VideoSequence

SIDE = 20


def write_sequences(root: Path, best: dict[str, float], frames: int = 3) -> Path:
    """A white square on a ground whose grey says the sequence's best window: 40 stands for 0.4."""
    for name, window in best.items():
        images = root / name / "img"
        images.mkdir(parents=True)
        rows = []
        for n in range(frames):
            image = np.full((48, 64, 3), round(100 * window), np.uint8)
            image[12 : 12 + SIDE, 8 + 4 * n : 8 + 4 * n + SIDE] = 255
            cv2.imwrite(str(images / f"{n + 1:08d}.png"), image)
            rows.append(f"{8 + 4 * n},12,{SIDE},{SIDE}")
        (root / name / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    return root


def sequences(root: Path, best: dict[str, float], frames: int = 3) -> list[VideoSequence]:
    return read_dataset("folder", write_sequences(root, best, frames))


class QuickTracker:
    """Finds the square, and misses it by as much as window and penalty (0.1) are away from the best."""

    def __init__(self, track: Track) -> None:
        self._track = track

    def init(self, frame: np.ndarray, box: Any) -> None:
        if self._track.select == "upsampled":
            raise InputError("no map here")

    def update(self, frame: np.ndarray) -> tuple[float, float, float, float]:
        rows, columns = (frame[..., 0] == 255).nonzero()
        ground = int(frame[0, 0, 0]) / 100
        off = 40 * abs(self._track.window - ground) + 40 * abs(self._track.penalty - 0.1)
        return float(columns.min()) + off, float(rows.min()), float(SIDE), float(SIDE)


@dataclass(frozen=True)
class QuickVariants:
    """As `ModelVariants`, for `QuickTracker`."""

    preset: Preset = field(default_factory=lambda: Preset("quick", track=Track(window=0.5, penalty=0.1, rate=0.5)))
    name: str = "quick"
    identity: dict[str, Any] = field(default_factory=lambda: {"weights": "none"})

    def open(self) -> Any:
        return lambda preset: QuickTracker(preset.track)


class Silent:
    """A watcher that counts, and may interrupt after so many runs."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.plans: list[int] = []
        self.done = 0
        self._stop_after = stop_after

    def planned(self, jobs: Any) -> None:
        self.plans.append(len(jobs))

    def scored(self, job: Any, score: float) -> None:
        self.done += 1
        if self.done == self._stop_after:
            raise KeyboardInterrupt
