"""A made video, and trackers that work on it, fail on it or hang on it; built in worker processes by name."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from siamtrack.evaluation.jobs import Failed, Finished

SIZE = (64, 48)


def path_of(count: int, speed: tuple[float, float] = (1.0, 0.5), start: tuple[float, float] = (4, 6)) -> np.ndarray:
    """(N, 4) boxes x, y, w, h of a block that moves evenly."""
    steps = np.arange(count)[:, None]
    corners = np.round(np.array([4.0, 6.0]) + steps * np.array(speed))
    return np.concatenate([corners, np.tile([12.0, 10.0], (count, 1))], axis=1)


def draw(folder: Path, boxes: np.ndarray, pattern: str = "%08d.jpg", first: int = 1, mark: int = 0) -> None:
    """Write frames with a white block at each box; `mark` greys the ground, which tells videos apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, (x, y, w, h) in enumerate(np.nan_to_num(boxes[:, :4])):
        image = np.full((SIZE[1], SIZE[0], 3), 8 + 8 * mark, dtype=np.uint8)
        if w > 0:
            image[int(y) : int(y + h), int(x) : int(x + w)] = 255
        assert cv2.imwrite(str(folder / (pattern % (first + n))), image, [cv2.IMWRITE_JPEG_QUALITY, 98])


def lines(boxes: np.ndarray) -> str:
    return "\n".join(",".join(f"{v:g}" for v in row) for row in boxes) + "\n"


def folder_set(root: Path, counts: dict[str, int]) -> Path:
    """A `folder` data set with one sequence of so many frames for each name."""
    for mark, (name, count) in enumerate(counts.items()):
        boxes = path_of(count)
        draw(root / name / "img", boxes, mark=mark)
        (root / name / "groundtruth.txt").write_text(lines(boxes))
    return root


class Blob:
    """Finds the bright block; a real tracker of these videos."""

    network_seconds = 0.0

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.updates = 0

    def init(self, frame: np.ndarray, box: Any) -> None:
        assert frame.shape == (SIZE[1], SIZE[0], 3) and frame.dtype == np.uint8
        self.box = np.asarray(box, dtype=float)
        self.updates = 0

    def update(self, frame: np.ndarray) -> Any:
        self.updates += 1
        time.sleep(self.delay)
        self.network_seconds += 0.001
        ys, xs = np.nonzero(frame[:, :, 1] > 200)
        if len(xs):
            low, high = np.array([xs.min(), ys.min()]), np.array([xs.max() + 1, ys.max() + 1])
            self.box = np.concatenate([low, high - low]).astype(float)
        return self.box


class Stuck:
    """Never moves."""

    def init(self, frame: np.ndarray, box: Any) -> None:
        self.box = tuple(float(v) for v in box)

    def update(self, frame: np.ndarray) -> Any:
        return self.box


class Faulty(Blob):
    """As Blob, but goes wrong in videos of one mark as long as a flag file is there."""

    def __init__(self, how: str, mark: int, flag: str, delay: float) -> None:
        super().__init__(delay)
        self.how, self.mark, self.flag = how, mark, Path(flag)

    def update(self, frame: np.ndarray) -> Any:
        box = super().update(frame)
        if round((int(frame[-1, -1, 0]) - 8) / 8) == self.mark and self.updates % 5 == 0 and self.flag.exists():
            if self.how == "raises":
                raise RuntimeError("out of luck")
            if self.how == "nan":
                return (float("nan"), 1.0, 2.0, 3.0)
            if self.how == "hangs":
                time.sleep(3600)
            if self.how == "dies":
                import os

                os.kill(os.getpid(), 9)
        return box


@dataclass(frozen=True)
class ToySpec:
    """What the runner needs of a tracker."""

    name: str = "toy"
    how: str = "well"
    mark: int = -1
    flag: str = ""
    delay: float = 0.0
    identity: dict[str, Any] = field(default_factory=lambda: {"version": "0", "device": "cpu"})

    def build(self) -> Any:
        if self.how == "unbuildable":
            raise RuntimeError("no such network")
        if self.how == "stuck":
            return Stuck()
        return Blob(self.delay) if self.how == "well" else Faulty(self.how, self.mark, self.flag, self.delay)


class Quiet:
    """A watcher that notes what it is told."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str | None]] = []

    def __call__(self, event: Any, failure: Any) -> None:
        if isinstance(event, Finished | Failed):
            self.done.append((event.job.name, failure.kind if failure else None))


def main(data: str, out: str, delay: float, processes: int) -> None:
    """Evaluate the toy: what the killing tests start and kill."""
    from siamtrack.evaluation.evaluate import evaluate, open_store, read_suite
    from siamtrack.evaluation.jobs import Workers
    from siamtrack.evaluation.suites import find_suite

    suite = find_suite("folder")
    spec = ToySpec(delay=delay)
    store = open_store(spec, suite, Path(out))
    evaluate(spec, suite, read_suite(suite, data), store, Workers(processes), Quiet())


if __name__ == "__main__":
    import sys

    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
