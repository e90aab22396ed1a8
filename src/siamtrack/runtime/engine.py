"""The engine that runs an exported file: one graph that is the whole tracker, in whichever runtime opened it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import numpy.typing as npt

from siamtrack.errors import ConfigError, InputError, WeightsError, is_installed, missing_package, reason
from siamtrack.geometry.inputs import (
    Boxes,
    Frame,
    Shapes,
    check_same_model,
    check_same_size,
    check_state,
    checked_boxes,
    checked_rows,
    frame_size,
)
from siamtrack.io import first_names
from siamtrack.runtime.metadata import Exported

Arrays = Mapping[str, npt.NDArray[np.generic]]
Run = Callable[[Arrays], dict[str, npt.NDArray[np.generic]]]
"""Runs a graph on inputs by name; returns its outputs by name. May be called from several threads."""

_OUTPUTS = ("tracked", "scores", "presence")

_AT_ONCE = 5  # targets of one call: a graph computes them side by side, and the maps of more leave the caches

_FIXED = ("template.", "fill")  # how the names of state tensors begin that a step does not change


@dataclass(frozen=True)
class GraphState:
    """N targets between two frames.

    Attributes:
        boxes: (N, 4) xyxy in frame pixels, float32.
        scores: (N,) of the last frame, in [0, 1]; 1 for the given boxes.
        presence: (N,) estimate in [0, 1] that the boxes are on the targets.
        tensors: what the graph keeps, by name, each with leading N.
        size: (width, height) of the frames.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    presence: npt.NDArray[np.float32]
    tensors: Arrays
    size: tuple[int, int]

    @property
    def shapes(self) -> Shapes:
        """What is kept of a target, by which states of another model are told."""
        return {name: value.shape[1:] for name, value in self.tensors.items()}

    def rows(self, index: Sequence[int] | npt.NDArray[np.int64]) -> GraphState:
        """The state of the targets `index` alone, in that order; raises `InputError` for numbers that no target has."""
        at = checked_rows(index, len(self.boxes))
        tensors = {name: value[at] for name, value in self.tensors.items()}
        return GraphState(self.boxes[at], self.scores[at], self.presence[at], tensors, self.size)

    def join(self, other: GraphState) -> GraphState:
        """These targets, and after them those of another state of the same video.

        Raises:
            InputError: the other state's frames have another size, or it is of another engine or model.
        """
        check_state(other, GraphState)
        check_same_size(other.size, self.size)
        check_same_model(other.shapes, self.shapes)
        return _together([self, other])


def _together(parts: Sequence[GraphState]) -> GraphState:
    """The targets of states of one video and model, one after the other."""
    if len(parts) == 1:
        return parts[0]
    tensors = {name: np.concatenate([part.tensors[name] for part in parts]) for name in parts[0].tensors}
    boxes, scores = np.concatenate([part.boxes for part in parts]), np.concatenate([part.scores for part in parts])
    return GraphState(boxes, scores, np.concatenate([part.presence for part in parts]), tensors, parts[0].size)


class GraphEngine:
    """An exported tracker in a runtime, whose graph `run` computes: "onnxruntime" or "openvino" by name."""

    def __init__(self, name: str, exported: Exported, run: Run) -> None:
        self.name = name
        self.exported = exported
        self._run = run
        self._shapes = {name: shape for name, (_, shape) in exported.state.items()}
        kinds = exported.state.items()
        self._nothing = {f"state.{name}": np.empty((0, *shape), kind) for name, (kind, shape) in kinds}
        self._no_boxes = np.empty((0, 4), np.float32)

    def start(self, frame: Frame, boxes: Boxes) -> GraphState:
        """Begin with N targets, boxes x, y, w, h; raises `InputError` for a box or frame that cannot be used."""
        size = frame_size(frame)
        given = checked_boxes(boxes, size).astype(np.float32)
        pixels = _pixels(frame)
        parts = [given[first : first + _AT_ONCE] for first in range(0, max(len(given), 1), _AT_ONCE)]
        return _together([self._called({"frame": pixels, "boxes": part, **self._nothing}, size) for part in parts])

    def step(self, frame: Frame, state: GraphState) -> GraphState:
        """Follow all targets into the next frame; `state` is not changed.

        Raises:
            InputError: the frame cannot be used, or has another size than the first; the state is of another engine
                or model.
        """
        check_state(state, GraphState)
        check_same_model(state.shapes, self._shapes)
        size = frame_size(frame)
        check_same_size(size, state.size)
        if len(state.boxes) == 0:  # without targets the graph would begin anew
            return state
        pixels, parts = _pixels(frame), []
        for first in range(0, len(state.boxes), _AT_ONCE):
            kept = {f"state.{name}": value[first : first + _AT_ONCE] for name, value in state.tensors.items()}
            found = self._called({"frame": pixels, "boxes": self._no_boxes, **kept}, size)
            changed = {name: value for name, value in found.tensors.items() if not name.startswith(_FIXED)}
            parts.append(replace(found, tensors=changed))
        # A step hands these on as they are: one array for all states of a run, however many are kept.
        fixed = {name: value for name, value in state.tensors.items() if name.startswith(_FIXED)}
        whole = _together(parts)
        return replace(whole, tensors={**whole.tensors, **fixed})

    def _called(self, inputs: Arrays, size: tuple[int, int]) -> GraphState:
        try:
            found = self._run(inputs)
        except Exception as error:  # each runtime has kinds of its own
            raise WeightsError(f"{self.exported.path}: {self.name} cannot run it: {runtimes_words(error)}") from None
        self._check_found(found, max(len(value) for name, value in inputs.items() if name != "frame"))
        tracked, scores, presence = (np.asarray(found[name], dtype=np.float32) for name in _OUTPUTS)
        corners = np.concatenate([tracked[:, :2], tracked[:, :2] + tracked[:, 2:]], axis=1)
        return GraphState(
            corners, scores, presence, {name: found[f"next.{name}"] for name in self.exported.state}, size
        )

    def _check_found(self, found: Arrays, count: int) -> None:
        """Raise `WeightsError` unless a graph gave what its description promises, for `count` targets."""
        wanted = {"tracked": ("float32", (4,)), "scores": ("float32", ()), "presence": ("float32", ())}
        wanted |= {f"next.{name}": entry for name, entry in self.exported.state.items()}
        for name, (kind, shape) in wanted.items():
            value = found[name]
            if value.shape != (count, *shape) or value.dtype != kind:
                raise WeightsError(
                    f"{self.exported.path}: its graph gave {name} as {value.dtype} {value.shape}; expected {kind} "
                    f"{(count, *shape)}: export the model again"
                )
        if not all(np.isfinite(found[name]).all() for name in _OUTPUTS):
            raise WeightsError(f"{self.exported.path}: its graph gave numbers that are not finite; export it again")


_OF_THE_LIBRARY = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed: ?|\S+\.(?:cc|cpp|h|hpp):\d+:?\s?"
)


def runtimes_words(error: Exception) -> str:
    """What a runtime says of a file, without its codes, the file's name and places in its own source."""
    return _OF_THE_LIBRARY.sub("", " ".join(reason(error).split()))[:200]


def _pixels(frame: Frame) -> npt.NDArray[np.uint8]:
    """The frame (H, W, 3) in one piece of memory."""
    if isinstance(frame, np.ndarray):
        return np.ascontiguousarray(frame)
    if frame.is_floating_point():
        raise InputError("exported trackers take frames of type uint8; got a tensor of floats: round it first")
    return np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())


def check_threads(threads: int | None) -> None:
    """Raise `ConfigError` for a number of threads that no machine has: a runtime would begin to start them."""
    most = max(64, os.cpu_count() or 1)
    if threads is not None and not (type(threads) is int and 1 <= threads <= most):
        raise ConfigError(f"threads: expected a number from 1 to {most}; got {threads}")


def check_graph(exported: Exported, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Raise `WeightsError` unless a graph has the inputs and outputs that its description promises."""
    wanted_in = {"frame", "boxes", *(f"state.{name}" for name in exported.state)}
    wanted_out = {*_OUTPUTS, *(f"next.{name}" for name in exported.state)}
    wrong = sorted(wanted_in ^ set(inputs)) + sorted(wanted_out - set(outputs))
    if wrong:
        raise WeightsError(
            f"{exported.path}: its graph and its description differ in {first_names(wrong)}; export the model again"
        )


def installed_runtimes() -> list[str]:
    """The installed runtimes for exported files, in the order in which one is chosen.

    ONNX Runtime is first: every family gives the boxes of torch in it, and OpenVINO is hardly faster in float32.
    """
    return [name for name in ("onnxruntime", "openvino") if is_installed(name)]


def import_runtime(name: str, path: Path) -> ModuleType:
    """Import a runtime's package for the file `path`; raises `ConfigError` if it is not installed."""
    # Both tell their makers of each import, warn where they cannot, and keep files in the user's home for it. OpenVINO
    # does not without this package, ONNX Runtime with this variable.
    package, variable = "openvino_telemetry", "ORT_DISABLE_TELEMETRY"
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    hidden = name == "openvino" and package not in modules
    told = name == "onnxruntime" and variable not in os.environ
    if hidden:
        modules[package] = None
    if told:
        os.environ[variable] = "1"
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise missing_package(f"{path.name} in this engine", name, name) from None
    except ImportError as error:
        raise ConfigError(f"the package {name} cannot be imported: {' '.join(str(error).split())[:200]}") from None
    finally:
        if hidden:
            del modules[package]
        if told:
            del os.environ[variable]
