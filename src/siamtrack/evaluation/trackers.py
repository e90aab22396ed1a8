"""Trackers by name: siamtrack's models and OpenCV's trackers, and what their results depend on.

A `TrackerSpec` is a small value that can be sent to another process, which builds the tracker itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from siamtrack.errors import ConfigError, InputError, WeightsError, did_you_mean
from siamtrack.formats.sequence import Image
from siamtrack.io import file_sha256
from siamtrack.tracking.interface import TrackerLike

if TYPE_CHECKING:
    from siamtrack.models.siamese import Matcher

__all__ = ["OPENCV_TRACKERS", "OpenCvTracker", "TimedMatcher", "TrackerSpec", "find_tracker", "opencv_tracker"]

OPENCV_TRACKERS = ("csrt", "kcf", "mil", "nano")

P = ParamSpec("P")
T = TypeVar("T")

Box = tuple[float, float, float, float]

_OPENCV = "opencv:"


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker that can be built anywhere.

    Attributes:
        name: of its results folder.
        model: a packaged model's name, a `.safetensors` file, or `opencv:` and the name of one of OpenCV's
            trackers.
        device: "cpu" or "cuda".
        identity: what its results depend on, for the manifest.
    """

    name: str
    model: str
    device: str
    identity: dict[str, Any]

    def build(self) -> TrackerLike:
        """Build the tracker in this process; raises what loading raises.

        Raises:
            WeightsError: the weights are others than where the tracker was named, as on another machine.
        """
        if self.model.startswith(_OPENCV):
            return opencv_tracker(self.model.removeprefix(_OPENCV))
        weights = _weights_file(self.model)
        if file_sha256(weights) != self.identity["weights"]:
            raise WeightsError(f"{weights}: expected the weights that {self.name} began with; this file holds others")
        return _TimedTracker(self.model, self.device, json.dumps(self.identity["preset"]))


def find_tracker(
    model: str, device: str = "cpu", preset: str | None = None, settings: Mapping[str, Any] | None = None
) -> TrackerSpec:
    """Resolve a tracker's name, and refuse one that cannot be built before anything is run.

    Args:
        model: see `TrackerSpec`.
        device: "cpu" or "cuda".
        preset: over the settings stored with the weights; see `siamtrack.load`.
        settings: values by dotted key over those; see `siamtrack.load`.

    Raises:
        ConfigError: an unknown name, device or setting, or settings for one of OpenCV's trackers.
        WeightsError: no weights, or a file that cannot be used.
    """
    from siamtrack import __version__

    identity: dict[str, Any] = {"version": __version__, "device": device}
    if model.startswith(_OPENCV):
        if preset is not None or settings:
            raise ConfigError(f"{model} has no preset; --preset and --set are for siamtrack's models")
        kind, _, files = model.removeprefix(_OPENCV).partition("=")
        opencv_tracker(model.removeprefix(_OPENCV))
        identity |= {"device": "cpu", "opencv": cv2.__version__}
        if files:
            identity["weights"] = [file_sha256(Path(part)) for part in files.split(",")]
        return TrackerSpec(f"opencv_{kind}", model, "cpu", identity)
    from siamtrack.config import preset_to_json
    from siamtrack.zoo.networks import open_network

    chosen = open_network(model, device, preset, settings).preset
    weights = _weights_file(model)
    identity["weights"] = file_sha256(weights)
    identity["preset"] = json.loads(preset_to_json(chosen))
    name = Path(model).stem if model.endswith(".safetensors") else model
    absolute = str(weights.resolve()) if model.endswith(".safetensors") else model
    return TrackerSpec(name, absolute, device, identity)


def _weights_file(model: str) -> Path:
    """Return the file that a model is loaded from; raises `ConfigError` for a model without weights."""
    from siamtrack.zoo.packaged import packaged_weights

    weights = Path(model) if model.endswith(".safetensors") else packaged_weights(model)
    if weights is None:
        raise ConfigError(f"{model} has no weights file")
    return weights


class TimedMatcher:
    """A `Matcher` with a stopwatch: `seconds` in the network so far, its device waited for."""

    def __init__(self, net: Matcher, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self.seconds = 0.0
        self.embed = self._timed(net.embed)
        self.match = self._timed(net.match)

    def _wait(self) -> float:
        if self._cuda:
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()

    def _timed(self, call: Callable[P, T]) -> Callable[P, T]:
        def timed(*arguments: P.args, **options: P.kwargs) -> T:
            """Call, and add the time that it takes."""
            began = self._wait()
            found = call(*arguments, **options)
            self.seconds += self._wait() - began
            return found

        return timed


class _TimedTracker:
    """`siamtrack.Tracker`, and the time that its network takes."""

    def __init__(self, model: str, device: str, preset: str) -> None:
        from siamtrack.config import preset_from_json
        from siamtrack.tracking.torch_engine import TorchEngine
        from siamtrack.tracking.tracker import Tracker
        from siamtrack.zoo.networks import open_network

        loaded = open_network(model, device, preset_from_json(preset))
        self._net = TimedMatcher(loaded.net, device)
        self._tracker = Tracker(TorchEngine(self._net, loaded.preset, device))

    @property
    def network_seconds(self) -> float:
        """Seconds in the network so far."""
        return self._net.seconds

    def init(self, frame: np.ndarray, box: Any) -> None:
        """Begin with a box x, y, w, h."""
        self._tracker.init(frame, box)

    def update(self, frame: np.ndarray) -> Any:
        """Return a `Result`."""
        return self._tracker.update(frame)


class OpenCvTracker:
    """One of OpenCV's trackers behind siamtrack's interface, to compare with.

    CSRT and KCF are in builds of OpenCV with its contrib modules (`opencv-contrib-python`, 4.x); MIL is in all
    builds; Nano is in all builds and needs two network files from OpenCV's model zoo. MIL seeds its random
    numbers by itself: two runs of it differ.

    Frames are RGB and boxes continuous; OpenCV takes BGR and whole pixels. Where OpenCV reports a failure the
    last box is repeated, since one-pass benchmarks want a box for every frame; `found` tells.

    Args:
        make: makes a fresh OpenCV tracker; one is made for every `init`.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._tracker: Any = None
        self._box: Box = (0.0, 0.0, 0.0, 0.0)
        self.found = False

    def init(self, frame: Image, box: Sequence[float] | npt.NDArray[np.float64]) -> None:
        """Begin with a box x, y, w, h.

        Raises:
            InputError: OpenCV refuses the box, or it has no whole pixel.
        """
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
    x, y, w, h = (float(value) for value in values)
    return x, y, w, h


def _bgr(frame: Image) -> Image:
    return np.ascontiguousarray(frame[:, :, ::-1])


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def opencv_tracker(kind: str) -> OpenCvTracker:
    """Return one of OpenCV's trackers by its name: csrt, kcf, mil, or `nano=BACKBONE.onnx,HEAD.onnx`.

    Raises:
        ConfigError: an unknown name, or one that this build of OpenCV lacks.
        WeightsError: Nano's network files are missing or cannot be read.
    """
    name, _, files = kind.partition("=")
    if name not in OPENCV_TRACKERS:
        hint = did_you_mean(name, OPENCV_TRACKERS)
        raise ConfigError(f"unknown OpenCV tracker '{name}'{hint} Known: {', '.join(OPENCV_TRACKERS)}")
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
