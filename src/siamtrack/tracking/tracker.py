"""The tracker that people use: `init` it with a box, `update` it with every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from siamtrack.config import Preset
from siamtrack.errors import ConfigError, InputError
from siamtrack.geometry.boxes import Box, xyxy_to_xywh
from siamtrack.geometry.crop import Frame
from siamtrack.models.siamese import Matcher
from siamtrack.tracking.presence import Status, presence, status
from siamtrack.tracking.state import TrackState, start, step

__all__ = ["Result", "Tracker", "check_device"]


@dataclass(frozen=True)
class Result:
    """What is known of one target in one frame.

    Attributes:
        box: in frame pixels; where the target is lost, the last guess.
        score: the network's own score in [0, 1].
        presence: estimate in [0, 1] that the box is on the target.
        status: "tracking", "uncertain" or "lost", by the preset's thresholds on `presence`.
    """

    box: Box
    score: float
    presence: float
    status: Status


class Tracker:
    """One network that follows N targets; for several videos at once use `start` and `step` with a state each.

    Args:
        net: the network.
        preset: its preset.
        device: "cpu" or "cuda".

    Raises:
        ConfigError: a device that is not there.
    """

    def __init__(self, net: Matcher, preset: Preset, device: torch.device | str = "cpu") -> None:
        check_device(device)
        self.preset = preset
        self.device = torch.device(device)
        if isinstance(net, nn.Module):
            net.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = net
        self.state: TrackState | None = None
        self._single = True

    def init(self, frame: Frame, boxes: Sequence[float] | Sequence[Sequence[float]] | np.ndarray | Tensor) -> None:
        """Begin with the targets of the first frame: one (x, y, w, h) or a list of them.

        Raises:
            InputError: a box or frame that cannot be used.
        """
        self.state = start(self.net, self.preset, frame, boxes, self.device)
        self._single = np.ndim(boxes) == 1

    def update(self, frame: Frame) -> Result | list[Result]:
        """Follow the targets into the next frame: one Result for one box, a list for a list.

        Raises:
            InputError: `init` was not called, or the frame cannot be used.
        """
        results = self.update_all(frame)
        return results[0] if self._single else results

    def update_all(self, frame: Frame) -> list[Result]:
        """As `update`, always a list."""
        if self.state is None:
            raise InputError("call init(frame, box) before update(frame)")
        self.state = step(self.net, self.preset, frame, self.state, self.device)
        rows = zip(xyxy_to_xywh(self.state.boxes).tolist(), self.state.scores.tolist(), strict=True)
        return [self._result(Box(*box), score) for box, score in rows]

    def _result(self, box: Box, score: float) -> Result:
        share = presence(score, self.preset.track)
        return Result(box, score, share, status(share))


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
