"""Trackers of three grades and small stores that the real evaluation makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from siamtrack.evaluation.evaluate import Evaluation, evaluate, open_store, read_suite
from siamtrack.evaluation.jobs import Workers
from siamtrack.evaluation.suites import find_suite
from toy_sets import Blob, Quiet, Stuck, draw, lines, path_of

GRADES = ("good", "mediocre", "failing")
# speed and start of the block: videos of different difficulty for trackers that lag or stay
PATHS = {"calm": (0.1, 0.0), "quick": (0.75, 0.45), "slide": (0.6, 0.0), "drop": (0.0, 0.5), "drift": (0.3, 0.2)}
FRAMES = 60


class Lagging(Blob):
    """Goes a share of the way to the block in each frame, and tells how sure it is."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def update(self, frame: np.ndarray) -> Any:
        before = self.box
        found = super().update(frame)
        self.box = before + self.share * (found - before)
        gap = float(np.abs(found - self.box).sum())
        return SimpleNamespace(box=self.box, score=1 / (1 + gap))


class Still(Stuck):
    """Never moves, and grows unsure."""

    def init(self, frame: np.ndarray, box: Any) -> None:
        super().init(frame, box)
        self.sure = 1.0

    def update(self, frame: np.ndarray) -> Any:
        self.sure *= 0.9
        return SimpleNamespace(box=super().update(frame), score=self.sure)


@dataclass(frozen=True)
class GradedSpec:
    """A tracker of a grade, as the runner takes it."""

    name: str
    grade: str
    identity: dict[str, Any] = field(
        default_factory=lambda: {
            "version": "9.8.7",
            "device": "toy-device",
            "weights": "feedc0ffee" * 6 + "abcd",
            "preset": {"b": 1, "a": {"c": 2}},
        }
    )

    def build(self) -> Any:
        return {"good": lambda: Lagging(1.0), "mediocre": lambda: Lagging(0.12), "failing": Still}[self.grade]()


def make_data(root: Path, names: dict[str, str] | None = None) -> Path:
    """A `folder` data set; `names` renames its sequences."""
    for mark, (name, speed) in enumerate(PATHS.items()):
        folder = root / (names or {}).get(name, name)
        boxes = path_of(FRAMES, speed)
        draw(folder / "img", boxes, mark=mark)
        (folder / "groundtruth.txt").write_text(lines(boxes))
    return root


def run_grades(
    out: Path,
    data: Path,
    suite_name: str = "folder",
    grades: tuple[str, ...] = GRADES,
    names: dict[str, str] | None = None,
) -> list[Evaluation]:
    """Evaluate trackers by the real code on the made videos, whose frames get attributes."""
    suite = find_suite(suite_name)
    sequences = []
    for n, sequence in enumerate(read_suite(find_suite("folder"), data)):
        on, off = np.ones(len(sequence), dtype=bool), np.zeros(len(sequence), dtype=bool)
        tags = {
            "fast motion": on if n % 2 else off,
            "occlusion": on if n < 3 else off,
            "scale": on,
            "blur": on if n else off,
        }
        sequences.append(replace(sequence, tags=tags))
    found = []
    for grade in grades:
        spec = GradedSpec((names or {}).get(grade, grade), grade)
        store = open_store(spec, suite, out)
        found.append(evaluate(spec, suite, sequences, store, Workers(processes=1), Quiet()))
    return found
