"""Trackers by name: siamtrack's models, OpenCV's trackers and any others, and what their results depend on.

A `TrackerSpec` is a small value that can be sent to another process, which builds the tracker itself.
"""

from __future__ import annotations

import inspect
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from siamtrack.errors import ConfigError, SiamtrackError, WeightsError, missing_package
from siamtrack.evaluation.jobs import one_line
from siamtrack.io import file_sha256
from siamtrack.presets import packaged_export, packaged_weights
from siamtrack.runtime.engine import GraphEngine
from siamtrack.tracking.interface import TrackerLike
from siamtrack.tracking.tracker import Tracker
from siamtrack.zoo import open_engine
from siamtrack.zoo.hub import HUB, fetch_model

if TYPE_CHECKING:
    from siamtrack.models.siamese import Matcher

P = ParamSpec("P")
T = TypeVar("T")

_OPENCV = "opencv:"
_GROUP = "siamtrack.trackers"


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker that can be built anywhere.

    Attributes:
        name: of its results folder: that of the shipped model, or of the file without its suffix; of a file that is
            called like a shipped model and holds other weights, with its folder's name before it.
        model: a packaged model's name, a `.safetensors` file, an exported one, or `opencv:` and the name of one of
            OpenCV's trackers; or a tracker of another package, see `find_factory`.
        device: "cpu" or "cuda".
        identity: what its results depend on, for the manifest.
        engine: what runs it: "torch", "onnxruntime" or "openvino"; "other" for OpenCV's and other packages'.
    """

    name: str
    model: str
    device: str
    identity: dict[str, Any]
    engine: str = "torch"

    def build(self) -> TrackerLike:
        """Build the tracker in this process; raises `WeightsError` if its weights have changed since it was named."""
        if self.engine == "other" and (factory := find_factory(self.model)) is not None:
            return factory()
        if self.engine != "torch":
            # One thread, as all evaluations: a result must not depend on the number of cores.
            opened = open_engine(self.model, self.device, engine=self.engine, threads=1)
            if isinstance(opened, GraphEngine):
                self._check_weights(opened.exported.path)
            return Tracker(opened)
        self._check_weights(_weights_file(self.model))
        return _TimedTracker(self.model, self.device, json.dumps(self.identity["preset"]))

    def _check_weights(self, path: Path) -> None:
        if _hash(path) != self.identity["weights"]:
            raise WeightsError(f"{path}: expected the weights that {self.name} began with; this file holds others")


def find_tracker(
    model: str,
    device: str = "cpu",
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    engine: str = "auto",
) -> TrackerSpec:
    """Resolve a tracker's name, and refuse one that cannot be built before anything is run.

    The name is a `TrackerSpec.model`, or `hf:owner/name` of the Hugging Face Hub; the rest is as for `siamtrack.load`.

    Raises:
        ConfigError: an unknown name, device, engine or setting, or settings for one of OpenCV's trackers.
        WeightsError: no weights, or a file that cannot be used.
    """
    factory = find_factory(model)
    if factory is None:
        return _find_model(model, device, preset, settings, engine)
    if preset is not None or settings:
        raise ConfigError(f"{model} has no preset; --preset and --set are for siamtrack's models")
    return _find_opencv(model, factory) if model.startswith(_OPENCV) else _find_foreign(model, factory)


def _find_opencv(model: str, factory: Callable[[], TrackerLike]) -> TrackerSpec:
    factory()
    kind, _, files = model.removeprefix(_OPENCV).partition("=")
    identity = _identity("cpu") | {"opencv": _opencv().cv2.__version__}
    if files:
        identity["weights"] = [file_sha256(Path(part)) for part in files.split(",")]
    return TrackerSpec(f"opencv_{kind}", model, "cpu", identity, "other")


def _find_foreign(model: str, factory: Callable[[], TrackerLike]) -> TrackerSpec:
    """A tracker of another package."""
    try:
        factory()
    except SiamtrackError:
        raise
    except Exception as error:
        raise ConfigError(f"the tracker '{model}' cannot be made: {one_line(error)}") from error
    source = inspect.getsourcefile(factory)
    identity = _identity("cpu") | {"factory": model, "source": file_sha256(Path(source)) if source else None}
    return TrackerSpec(model.replace(":", "_"), model, "cpu", identity, "other")


def _find_model(
    model: str, device: str, preset: str | None, settings: Mapping[str, Any] | None, engine: str
) -> TrackerSpec:
    """One of siamtrack's models."""
    owner = ""
    if model.startswith(HUB):
        owner = model.removeprefix(HUB).partition("/")[0]
        model = str(fetch_model(model))
    opened = open_engine(model, device, preset, settings, engine)
    identity = _identity(device)
    if isinstance(opened, GraphEngine):
        weights = _hash(opened.exported.path)
        identity |= {"engine": opened.name, "weights": weights, "preset": opened.exported.preset}
    else:
        from siamtrack.config import preset_to_json
        from siamtrack.tracking.torch_engine import TorchEngine

        assert isinstance(opened, TorchEngine)
        weights = _hash(_weights_file(model))
        identity |= {"weights": weights, "preset": json.loads(preset_to_json(opened.preset))}
    path = Path(model)
    if not path.suffix:
        return TrackerSpec(model, model, device, identity, opened.name)
    name, place = path.stem, path.absolute()
    if _is_other(name, weights):  # its results are not to be taken for those of the shipped model
        name = f"{owner or place.parent.name}_{name}".strip("_")
    return TrackerSpec(name, str(place), device, identity, opened.name)


def _identity(device: str) -> dict[str, Any]:
    """What the results of every tracker depend on."""
    from siamtrack import __version__

    return {"version": __version__, "device": device}


def find_factory(name: str) -> Callable[[], TrackerLike] | None:
    """What makes a tracker of another package: one of OpenCV's, or the function or class that `module:factory` names.

    Or the one that an installed package offers by that name as an entry point of the group `siamtrack.trackers`. It is
    called without arguments and returns an object with `init(frame, box)` and `update(frame)`. None for other names.

    Raises:
        ConfigError: the module cannot be imported, or has no such factory.
    """
    if name.startswith(_OPENCV):
        return partial(_opencv().opencv_tracker, name.removeprefix(_OPENCV))
    if re.fullmatch(r"\w+(\.\w+)*:\w+", name):
        module, _, factory = name.partition(":")
        try:
            found: Callable[[], TrackerLike] = getattr(import_module(module), factory)
        except AttributeError as error:
            raise ConfigError(f"no tracker '{name}': {error}") from None
        except (ImportError, SyntaxError) as error:
            raise ConfigError(
                f"no tracker '{name}': {error}; expected module:factory, as my_tracker:MyTracker of a file "
                "my_tracker.py in a folder on PYTHONPATH (PYTHONPATH=. for this one)"
            ) from None
        return found
    point = next(iter(entry_points(group=_GROUP, name=name)), None)
    try:
        return point.load() if point else None
    except Exception as error:  # another package's
        raise ConfigError(f"the tracker '{name}' cannot be loaded: {one_line(error)}") from error


def _opencv() -> Any:
    """The module with OpenCV's trackers; raises `ConfigError` where OpenCV is not installed."""
    try:
        from siamtrack.evaluation import opencv
    except ModuleNotFoundError as error:
        raise missing_package("a tracker of OpenCV", "opencv-python-headless", "opencv") from error
    return opencv


def _is_other(name: str, weights: str) -> bool:
    """Whether a file with these weights is called like a shipped model and holds others."""
    shipped = [path for path in (packaged_weights(name), packaged_export(name)) if path is not None]
    return bool(shipped) and weights not in map(_hash, shipped)


def _weights_file(model: str) -> Path:
    """The file that a network is loaded from; raises `ConfigError` for a model without weights."""
    weights = Path(model) if model.endswith(".safetensors") else packaged_weights(model)
    if weights is None:
        raise ConfigError(f"{model} has no weights file")
    return weights


def _hash(path: Path) -> str:
    """The hash of a model's file; of an OpenVINO model's two files together."""
    found = file_sha256(path)
    return f"{found} {file_sha256(path.with_suffix('.bin'))}" if path.suffix == ".xml" else found


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
            began = self._wait()
            found = call(*arguments, **options)
            self.seconds += self._wait() - began
            return found

        return timed


class _TimedTracker(Tracker):
    """A tracker that tells the time that its network takes."""

    def __init__(self, model: str, device: str, preset: str) -> None:
        from siamtrack.config import preset_from_json
        from siamtrack.tracking.torch_engine import TorchEngine
        from siamtrack.zoo.networks import open_network

        loaded = open_network(model, device, preset_from_json(preset))
        self._net = TimedMatcher(loaded.net, device)
        super().__init__(TorchEngine(self._net, loaded.preset, device))

    @property
    def network_seconds(self) -> float:
        return self._net.seconds
