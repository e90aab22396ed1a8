"""What runs a tracker's arithmetic, and what everything that runs a tracker expects of it; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from siamtrack.geometry.inputs import Boxes, Frame


class EngineState(Protocol):
    """N targets between two frames: a value, which can be kept, sent and stepped from again."""

    @property
    def boxes(self) -> npt.ArrayLike:
        """(N, 4) xyxy in frame pixels, always finite."""

    @property
    def scores(self) -> npt.ArrayLike:
        """(N,) of the last frame, in [0, 1]; 1 for the given boxes."""

    @property
    def presence(self) -> npt.ArrayLike:
        """(N,) estimate in [0, 1] that the boxes are on the targets."""

    def rows(self, index: Sequence[int], /) -> Self:
        """The state of the targets `index` alone, in that order."""

    def join(self, other: Self, /) -> Self:
        """These targets, and after them those of another state of the same video; `InputError` for another size."""


State = TypeVar("State", bound=EngineState)


@runtime_checkable
class Engine(Protocol[State]):
    """A network with its settings, ready to run: torch's, or an exported file in another runtime.

    It keeps nothing from frame to frame, so that several trackers can share one, in several threads too.
    """

    @property
    def name(self) -> str:
        """Which one it is: "torch", "onnxruntime" or "openvino"."""

    def start(self, frame: Frame, boxes: Boxes, /) -> State:
        """Begin with N targets, boxes x, y, w, h; raises `InputError` for a box or frame that cannot be used."""

    def step(self, frame: Frame, state: State, /) -> State:
        """Follow all targets into the next frame; `state` is not changed.

        Raises:
            InputError: the frame cannot be used, or has another size than the first.
        """


@runtime_checkable
class TrackerLike(Protocol):
    """A tracker of one target, as `siamtrack.Tracker`; frames are RGB (H, W, 3)."""

    def init(self, frame: npt.NDArray[np.uint8], box: Any, /) -> Any:
        """Begin with a frame and the target's box x, y, w, h in it, in continuous pixels."""

    def update(self, frame: npt.NDArray[np.uint8], /) -> Any:
        """Return the target's box x, y, w, h in the next frame, or an object that has it as `box`."""
