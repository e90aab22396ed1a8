"""OpenCV's trackers behind siamtrack's interface, to compare with; the only module of this room that needs OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from siamtrack.arguments import checked
from siamtrack.errors import ConfigError, InputError, WeightsError, unknown_name
from siamtrack.geometry.inputs import Box, Image

OPENCV_TRACKERS = ("csrt", "kcf", "mil", "nano")


class OpenCvTracker:
    """One of OpenCV's trackers behind siamtrack's interface; `make` gives a fresh one for every `init`.

    CSRT and KCF are in builds of OpenCV with its contrib modules (`opencv-contrib-python`, 4.x); MIL is in all
    builds; Nano is in all builds and needs two network files from OpenCV's model zoo. MIL seeds its random
    numbers by itself: two runs of it differ.

    Frames are RGB and boxes continuous; OpenCV takes BGR and whole pixels. Where OpenCV reports a failure the
    last box is repeated, since one-pass benchmarks want a box for every frame; `found` tells.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._tracker: Any = None
        self._box = Box(0.0, 0.0, 0.0, 0.0)
        self.found = False

    def init(self, frame: Image, box: Sequence[float] | npt.NDArray[np.float64]) -> None:
        """Begin with a box x, y, w, h; raises `InputError` for one that OpenCV refuses, or without a whole pixel."""
        left, top = round(float(box[0])), round(float(box[1]))
        right, bottom = round(float(box[0] + box[2])), round(float(box[1] + box[3]))
        height, width = frame.shape[:2]
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if right <= left or bottom <= top:
            raise InputError(f"OpenCV's trackers need a box of at least a pixel within the frame; got {list(box)}")
        self._tracker = self._make()
        try:
            self._tracker.init(_bgr(frame), (left, top, right - left, bottom - top))
        except cv2.error as error:
            raise InputError(f"OpenCV refuses the box {list(box)}: {_first_line(error)}") from None
        self._box = _box(box)
        self.found = True

    def update(self, frame: Image) -> Box:
        """Return the box in the next frame; raises `InputError` without an `init`."""
        if self._tracker is None:
            raise InputError("call init(frame, box) before update(frame)")
        self.found, box = self._tracker.update(_bgr(frame))
        if self.found:
            self._box = _box(box)
        return self._box


def _box(values: Sequence[float] | npt.NDArray[np.float64]) -> Box:
    return Box(*(float(value) for value in values))


def _bgr(frame: Image) -> Image:
    return np.ascontiguousarray(frame[:, :, ::-1])


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


@checked
def opencv_tracker(kind: str) -> OpenCvTracker:
    """Return one of OpenCV's trackers by its name: csrt, kcf, mil, or `nano=BACKBONE.onnx,HEAD.onnx`.

    Raises:
        ConfigError: an unknown name, or one that this build of OpenCV lacks.
        WeightsError: Nano's network files are missing or cannot be read.
    """
    name, _, files = kind.partition("=")
    if name not in OPENCV_TRACKERS:
        raise unknown_name("OpenCV tracker", name, OPENCV_TRACKERS)
    if name == "nano":
        return OpenCvTracker(_nano(files))
    if files:
        raise ConfigError(f"opencv:{name} takes no files; got '{files}'")
    title = f"Tracker{name.upper()}"
    tracker = getattr(cv2, title, None) or getattr(getattr(cv2, "legacy", None), title, None)
    if tracker is None:
        raise ConfigError(
            f"OpenCV {cv2.__version__} here has no {name.upper()} tracker; it comes with contrib modules of "
            "OpenCV 4: pip install 'opencv-contrib-python-headless<5' in place of other OpenCV packages"
        )
    return OpenCvTracker(tracker.create)


def _nano(files: str) -> Callable[[], Any]:
    paths = [Path(part) for part in files.split(",") if part]
    if len(paths) != 2:
        raise WeightsError(
            "OpenCV's Nano tracker needs its two networks: opencv:nano=BACKBONE.onnx,HEAD.onnx "
            "(nanotrack_backbone and nanotrack_head of OpenCV's model zoo)"
        )
    for path in paths:
        if not path.is_file():
            raise WeightsError(f"no file {path}; expected opencv:nano=BACKBONE.onnx,HEAD.onnx")
    if not hasattr(cv2, "TrackerNano_Params"):
        raise ConfigError(f"OpenCV {cv2.__version__} here has no Nano tracker; it needs 4.7 or later")
    params = cv2.TrackerNano_Params()
    params.backbone, params.neckhead = map(str, paths)

    def make() -> Any:
        try:
            return cv2.TrackerNano.create(params)
        except cv2.error as error:
            raise WeightsError(f"OpenCV cannot read {files}: {_first_line(error)}") from None

    return make
