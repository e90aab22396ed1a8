"""Trackers with `init` and `update`, for one target and for several, and the loop that runs them through a video."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from siamtrack.arguments import checked
from siamtrack.errors import ConfigError, InputError
from siamtrack.geometry.inputs import Box, Boxes, Frame, bgr_to_rgb
from siamtrack.tracking.interface import Engine, EngineState, TrackerLike

Status = Literal["tracking", "uncertain", "lost"]
Colour = Literal["rgb", "bgr"]
"""The order of the colours in the frames that a tracker is given."""


@dataclass(frozen=True)
class Result:
    """One target in one frame.

    Attributes:
        box: in frame pixels; where the target is lost, the last guess.
        score: the network's own score in [0, 1].
        presence: estimate in [0, 1] that the box is on the target: the score on a piecewise linear scale, 1/3 at
            `track.status_lost_below` and 2/3 at `track.sure_over` of the model's preset.
        status: "lost" for a presence below 1/3, "uncertain" below 2/3, else "tracking".
    """

    box: Box
    score: float
    presence: float
    status: Status


def results(state: EngineState) -> list[Result]:
    """The results of a state's N targets."""
    corners = np.asarray(state.boxes)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    found = []
    for box, score, presence in zip(
        boxes.tolist(), np.asarray(state.scores).tolist(), np.asarray(state.presence).tolist(), strict=True
    ):
        found.append(Result(Box(*box), score, presence, status_of(presence)))
    return found


def status_of(presence: float) -> Status:
    """Say "lost" for a presence below 1/3, "uncertain" below 2/3, else "tracking"."""
    return "lost" if presence < 1 / 3 else "uncertain" if presence < 2 / 3 else "tracking"


class MultiTracker:
    """Follows N targets of a video together; each frame is read once.

    Several trackers, also in several threads, can share one engine. For a service without sessions, or to go back to
    an earlier frame, call the engine's `start` and `step` with states of your own.

    Args:
        engine: what computes, as `siamtrack.load_multi` opens it, or a `TorchEngine` of a network of your own.
        colour: "rgb", or "bgr" for OpenCV's frames: BGR, BGRA or grey arrays.

    Raises:
        ConfigError: another colour.

    Attributes:
        state: the targets as of the last frame; None before `init`. It may be exchanged between two frames for
            another state of the same engine, as one that has more targets (`join`) or fewer (`rows`).
    """

    @checked
    def __init__(self, engine: Engine[Any], colour: Colour = "rgb") -> None:
        self.engine = engine
        self.colour = _checked(colour)
        self.state: EngineState | None = None

    def init(self, frame: Frame, boxes: Boxes) -> None:
        """Begin with the targets of the first frame: a list of x, y, w, h.

        Raises:
            InputError: a box or frame that cannot be used.
        """
        self.state = self.engine.start(_as_rgb(frame, self.colour), boxes)

    def update(self, frame: Frame) -> list[Result]:
        """Follow the targets into the next frame: one result for each, in the order of the boxes.

        Raises:
            InputError: `init` was not called, or the frame cannot be used.
        """
        self.state = self.engine.step(_as_rgb(frame, self.colour), _begun(self.state))
        return results(self.state)


class Tracker:
    """Follows one target; arguments, attributes and errors as `MultiTracker`, which follows several."""

    @checked
    def __init__(self, engine: Engine[Any], colour: Colour = "rgb") -> None:
        self.engine = engine
        self.colour = _checked(colour)
        self.state: EngineState | None = None

    def init(self, frame: Frame, box: Boxes) -> None:
        """Begin with the target of the first frame: its box x, y, w, h.

        Raises:
            InputError: a box or frame that cannot be used, or several boxes.
        """
        state = self.engine.start(_as_rgb(frame, self.colour), box)
        count = len(np.asarray(state.boxes))
        if count > 1:
            raise InputError(f"a Tracker follows one box x,y,w,h; got {count}: use a MultiTracker for them")
        self.state = state

    def update(self, frame: Frame) -> Result:
        """Follow the target into the next frame.

        Raises:
            InputError: `init` was not called, or the frame cannot be used.
        """
        self.state = self.engine.step(_as_rgb(frame, self.colour), _begun(self.state))
        return results(self.state)[0]


@dataclass(frozen=True)
class Step:
    """One frame and what was found in it.

    Attributes:
        number: of the frame, from 0 at the source's first one.
        frame: RGB uint8 (H, W, 3).
        results: one for each target; given boxes have score and presence 1.
        seconds: time that the tracker took.
    """

    number: int
    frame: np.ndarray
    results: Sequence[Result]
    seconds: float


@checked
def follow(
    tracker: TrackerLike, frames: Iterable[np.ndarray], boxes: Sequence[Sequence[float]], start: int = 0
) -> Iterator[Step]:
    """Track boxes (N, 4) x, y, w, h through frames, RGB uint8 (H, W, 3), whose first has the number `start`.

    The tracker is a `MultiTracker`, or another that takes several boxes. The first step has the given boxes, the others
    the tracker's results.

    Raises:
        InputError: arguments of another type; with the first step, a box or frame that cannot be used.
    """
    return _followed(tracker, frames, boxes, start)


def _followed(
    tracker: TrackerLike, frames: Iterable[np.ndarray], boxes: Sequence[Sequence[float]], start: int
) -> Iterator[Step]:
    for number, frame in enumerate(frames, start):
        began = time.perf_counter()
        if number == start:
            tracker.init(frame, boxes)
            rows = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).tolist()
            found = [Result(Box(*row), 1.0, 1.0, "tracking") for row in rows]
        else:
            found = tracker.update(frame)
        yield Step(number, frame, found, time.perf_counter() - began)


def _checked(colour: Colour) -> Colour:
    if colour not in get_args(Colour):
        raise ConfigError(f"colour: expected 'rgb' or 'bgr'; got {colour!r}")
    return colour


def _as_rgb(frame: Frame, colour: Colour) -> Frame:
    return bgr_to_rgb(frame) if colour == "bgr" and isinstance(frame, np.ndarray) else frame


def _begun(state: EngineState | None) -> EngineState:
    if state is None:
        raise InputError("call init before update: a tracker begins with the first frame and its targets")
    return state
