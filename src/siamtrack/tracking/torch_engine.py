"""The engine that runs a network in torch: for weights files, other settings than a file's own, training and a GPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from siamtrack.arguments import checked
from siamtrack.config import Preset
from siamtrack.errors import ConfigError
from siamtrack.geometry.inputs import Boxes, Frame, Shapes, check_same_model, check_state
from siamtrack.models.siamese import Matcher
from siamtrack.tracking.state import TrackState, start, step


class TorchEngine:
    """A network, its preset and the device that it lies on.

    Args:
        net: the network; put on the device and into evaluation mode. Matchers that are no modules are left alone.
        preset: its preset.
        device: "cpu" or "cuda".

    Raises:
        ConfigError: a device that is not there.
    """

    name = "torch"

    @checked
    def __init__(self, net: Matcher, preset: Preset, device: torch.device | str = "cpu") -> None:
        check_device(device)
        self.device = torch.device(device)
        self.net = net
        self.preset = preset
        self._shapes: Shapes | None = None  # of what the network's states hold, as soon as one was made
        if isinstance(net, nn.Module):
            net.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def start(self, frame: Frame, boxes: Boxes) -> TrackState:
        """Begin with N targets; see `siamtrack.tracking.state.start`."""
        state = start(self.net, self.preset, frame, boxes, self.device)
        self._shapes = state.shapes
        return state

    def step(self, frame: Frame, state: TrackState) -> TrackState:
        """Follow all targets into the next frame; see `siamtrack.tracking.state.step`.

        Raises:
            InputError: as `step` does, or the state is of a model whose features have other shapes.
        """
        check_state(state, TrackState)
        if self._shapes is None:  # the state was made elsewhere, as those of a service without memory are
            self.start(np.zeros((64, 64, 3), np.uint8), (16, 16, 32, 32))
        assert self._shapes is not None
        check_same_model(state.shapes, self._shapes)
        return step(self.net, self.preset, frame, state, self.device)


def check_device(name: torch.device | str) -> None:
    """Raise `ConfigError` for a device that is not there."""
    try:
        device = torch.device(name)
        there = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
    except (RuntimeError, TypeError):
        there = False
    if not there:
        known = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise ConfigError(f"the device '{name}' is not available here; use {known}")
