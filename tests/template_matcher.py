"""A tracker without a network, for the tests of what surrounds one: OpenCV's template matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from siamtrack.geometry.inputs import Box


@dataclass(frozen=True)
class Found:
    box: Box
    score: float
    presence: float
    status: str


class TemplateMatcher:
    """Finds the first frame's patches again by correlation, within `reach` pixels of the last place."""

    def __init__(self, reach: int = 24) -> None:
        self._reach = reach
        self._targets: list[tuple[np.ndarray, Box]] = []

    def init(self, frame: np.ndarray, boxes: Any) -> None:
        self._targets = []
        for x, y, w, h in np.asarray(boxes, dtype=np.float64).reshape(-1, 4):
            patch = frame[round(y) : round(y + h), round(x) : round(x + w)]
            self._targets.append((patch.copy(), Box(x, y, w, h)))

    def update(self, frame: np.ndarray) -> list[Found]:
        results = []
        for n, (patch, last) in enumerate(self._targets):
            left, top = max(0, round(last.x) - self._reach), max(0, round(last.y) - self._reach)
            region = frame[
                top : round(last.y) + patch.shape[0] + self._reach,
                left : round(last.x) + patch.shape[1] + self._reach,
            ]
            _, score, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(region, patch, cv2.TM_CCOEFF_NORMED))
            box = Box(float(left + x), float(top + y), last.w, last.h)
            self._targets[n] = (patch, box)
            score = float(np.clip(score, 0, 1))
            results.append(Found(box, score, score, "tracking" if score > 0.4 else "uncertain"))
        return results
