"""Trackers with `init` and `update`, for one target and for several, and the loop that runs them through a video."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from siamtrack.config import Preset, Track
from siamtrack.errors import ConfigError, InputError
from siamtrack.geometry.boxes import Box, xyxy_to_xywh
from siamtrack.geometry.crop import Frame
from siamtrack.models.siamese import Matcher
from siamtrack.tracking.state import TrackState, start, step

__all__ = ["MultiTracker", "Result", "Status", "Step", "Tracker", "check_device", "follow", "results"]

Status = Literal["tracking", "uncertain", "lost"]


@dataclass(frozen=True)
class Result:
    """One target in one frame.

    Attributes:
        box: in frame pixels; where the target is lost, the last guess.
        score: the network's own score in [0, 1].
        presence: estimate in [0, 1] that the box is on the target: the score on a piecewise linear scale, 1/3 at
            `track.status_lost_below` and 2/3 at `track.sure_over`.
        status: "lost" for a presence below 1/3, "uncertain" below 2/3, else "tracking".
    """

    box: Box
    score: float
    presence: float
    status: Status


def results(state: TrackState, track: Track) -> list[Result]:
    """The results of a state's N targets; `track` has the thresholds of the status."""
    low, high = track.status_lost_below, track.sure_over
    found = []
    for box, score in zip(xyxy_to_xywh(state.boxes).tolist(), state.scores.tolist(), strict=True):
        if score < low:
            found.append(Result(Box(*box), score, score / low / 3, "lost"))
        elif score < high:
            found.append(Result(Box(*box), score, (1 + (score - low) / (high - low)) / 3, "uncertain"))
        else:
            found.append(Result(Box(*box), score, (2 + (score - high) / (1 - high)) / 3, "tracking"))
    return found


class MultiTracker:
    """One network that follows N targets of a video together; each frame is read once.

    Several trackers, also in several threads, can share one network, which holds weights only. For a service without
    sessions, or to go back to an earlier frame, use `start` and `step` with states of your own.

    Args:
        net: the network; put on the device and into evaluation mode.
        preset: its preset.
        device: "cpu" or "cuda".

    Raises:
        ConfigError: a device that is not there.
    """

    def __init__(self, net: Matcher, preset: Preset, device: torch.device | str = "cpu") -> None:
        self.device = _place(net, device)
        self.net = net
        self.preset = preset
        self.state: TrackState | None = None

    def init(self, frame: Frame, boxes: Sequence[Sequence[float]] | np.ndarray | Tensor) -> None:
        """Begin with the targets of the first frame: a list of x, y, w, h.

        Raises:
            InputError: a box or frame that cannot be used.
        """
        self.state = start(self.net, self.preset, frame, boxes, self.device)

    def update(self, frame: Frame) -> list[Result]:
        """Follow the targets into the next frame: one result for each, in the order of the boxes.

        Raises:
            InputError: `init` was not called, or the frame cannot be used.
        """
        self.state = step(self.net, self.preset, frame, _begun(self.state), self.device)
        return results(self.state, self.preset.track)


class Tracker:
    """One network that follows one target; arguments and errors as `MultiTracker`, which follows several."""

    def __init__(self, net: Matcher, preset: Preset, device: torch.device | str = "cpu") -> None:
        self.device = _place(net, device)
        self.net = net
        self.preset = preset
        self.state: TrackState | None = None

    def init(self, frame: Frame, box: Sequence[float] | np.ndarray | Tensor) -> None:
        """Begin with the target of the first frame: its box x, y, w, h.

        Raises:
            InputError: a box or frame that cannot be used, or several boxes.
        """
        state = start(self.net, self.preset, frame, box, self.device)
        if len(state.boxes) > 1:
            raise InputError(f"a Tracker follows one box x,y,w,h; got {len(state.boxes)}: use a MultiTracker for them")
        self.state = state

    def update(self, frame: Frame) -> Result:
        """Follow the target into the next frame.

        Raises:
            InputError: `init` was not called, or the frame cannot be used.
        """
        self.state = step(self.net, self.preset, frame, _begun(self.state), self.device)
        return results(self.state, self.preset.track)[0]


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


def follow(
    tracker: MultiTracker, frames: Iterable[np.ndarray], boxes: Sequence[Sequence[float]], start: int = 0
) -> Iterator[Step]:
    """Track boxes (N, 4) x, y, w, h through frames, RGB uint8 (H, W, 3), whose first has the number `start`.

    The first step has the given boxes, the others the tracker's results.
    """
    for number, frame in enumerate(frames, start):
        began = time.perf_counter()
        if number == start:
            tracker.init(frame, np.asarray(boxes, dtype=np.float64))
            found = [Result(Box(*map(float, box)), 1.0, 1.0, "tracking") for box in boxes]
        else:
            found = tracker.update(frame)
        yield Step(number, frame, found, time.perf_counter() - began)


def _begun(state: TrackState | None) -> TrackState:
    if state is None:
        raise InputError("call init before update: a tracker begins with the first frame and its targets")
    return state


def _place(net: Matcher, device: torch.device | str) -> torch.device:
    """Put a network on a device, in evaluation mode; matchers that are no modules are left alone."""
    check_device(device)
    if isinstance(net, nn.Module):
        net.eval().to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return torch.device(device)


def check_device(name: torch.device | str) -> None:
    """Raise `ConfigError` for a device that is not there."""
    try:
        device = torch.device(name)
        there = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
    except RuntimeError:
        there = False
    if not there:
        known = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise ConfigError(f"the device '{name}' is not available here; use {known}")
