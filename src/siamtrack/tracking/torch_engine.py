"""The engine that runs a network in torch: for weights files, other settings than a file's own, training and a GPU."""

from __future__ import annotations

import torch
from torch import nn

from siamtrack.arguments import checked
from siamtrack.config import Preset
from siamtrack.errors import ConfigError
from siamtrack.geometry.inputs import Boxes, Frame
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
        if isinstance(net, nn.Module):
            net.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def start(self, frame: Frame, boxes: Boxes) -> TrackState:
        """Begin with N targets; see `siamtrack.tracking.state.start`."""
        return start(self.net, self.preset, frame, boxes, self.device)

    def step(self, frame: Frame, state: TrackState) -> TrackState:
        """Follow all targets into the next frame; see `siamtrack.tracking.state.step`."""
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
