"""From the name of a tracker to the object that is evaluated, and to what its results depend on.

A `TrackerSpec` is a small value that can be sent to another process, which builds the tracker itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from siamtrack.errors import ConfigError, WeightsError
from siamtrack.io import file_sha256
from siamtrack.tracking.interface import TrackerLike

if TYPE_CHECKING:
    import numpy as np

    from siamtrack.models.siamese import Matcher

__all__ = ["TimedMatcher", "TrackerSpec", "find_tracker"]

P = ParamSpec("P")
T = TypeVar("T")

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
            from siamtrack.evaluation.opencv import opencv_tracker

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
        import cv2

        from siamtrack.evaluation.opencv import opencv_tracker

        kind, _, files = model.removeprefix(_OPENCV).partition("=")
        opencv_tracker(model.removeprefix(_OPENCV))
        identity |= {"device": "cpu", "opencv": cv2.__version__}
        if files:
            identity["weights"] = [file_sha256(Path(part)) for part in files.split(",")]
        return TrackerSpec(f"opencv_{kind}", model, "cpu", identity)
    from siamtrack.config import preset_to_json
    from siamtrack.zoo import load

    chosen = load(model, device, preset, settings).preset
    weights = _weights_file(model)
    identity["weights"] = file_sha256(weights)
    identity["preset"] = json.loads(preset_to_json(chosen))
    name = Path(model).stem if model.endswith(".safetensors") else model
    absolute = str(weights.resolve()) if model.endswith(".safetensors") else model
    return TrackerSpec(name, absolute, device, identity)


def _weights_file(model: str) -> Path:
    """Return the file that a model is loaded from; raises `ConfigError` for a model without weights."""
    from siamtrack.zoo import packaged_weights

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
        from siamtrack.tracking.tracker import Tracker
        from siamtrack.zoo import load

        loaded = load(model, device, preset_from_json(preset))
        self._net = TimedMatcher(loaded.net, device)
        self._tracker = Tracker(self._net, loaded.preset, device)

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
