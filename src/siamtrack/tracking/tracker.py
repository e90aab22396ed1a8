"""The tracker that people use: `load` a model, `init` it with a box, `update` it with every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from siamtrack.config import Preset, load_preset, preset_from_json, preset_names
from siamtrack.errors import ConfigError, InputError, WeightsError, nearest
from siamtrack.geometry.boxes import Box, xyxy_to_xywh
from siamtrack.geometry.crop import Frame
from siamtrack.models.folding import fold_norms
from siamtrack.models.siamese import Matcher
from siamtrack.models.weights import check_crops, load_weights, read_metadata
from siamtrack.tracking.presence import Status, presence, status
from siamtrack.tracking.state import TrackState, start, step

__all__ = ["DEFAULT_MODEL", "Result", "Tracker", "load", "packaged_weights"]

DEFAULT_MODEL = "siamcar_lite0"


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
        _check_device(device)
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


def packaged_weights(name: str) -> Path | None:
    """The weights file that comes with the package for the preset `name`, or None."""
    path = Path(str(resources.files("siamtrack").joinpath("weights", f"{name}.safetensors")))
    return path if path.is_file() else None


def load(model: str | Path = DEFAULT_MODEL, device: torch.device | str = "cpu") -> Tracker:
    """A tracker from a packaged model's name, or from a `.safetensors` file that siamtrack wrote.

    Raises:
        ConfigError: an unknown name (the nearest is offered), or a device that is not there.
        WeightsError: no weights for that name, or a file that is corrupt or foreign.
    """
    _check_device(device)
    path = Path(model)
    if path.suffix != ".safetensors":
        shipped = [name for name in preset_names() if packaged_weights(name)]
        if str(model) not in preset_names():
            if path.is_file():
                raise WeightsError(f"'{model}' is not a weights file of siamtrack; expected a .safetensors file")
            raise ConfigError(
                f"unknown model '{model}'{nearest(str(model), preset_names())} Expected a model with weights "
                f"({', '.join(shipped) or 'none is packaged'}) or a .safetensors file"
            )
        found = packaged_weights(str(model))
        if found is None:
            raise WeightsError(
                f"no weights come with '{model}'; train or import it, and give the .safetensors file "
                f"(models with weights: {', '.join(shipped)})"
            )
        preset, path = load_preset(str(model)), found
    else:
        stored = read_metadata(path).get("preset")
        if stored is None:
            made = "`siamtrack train` or `siamtrack import`"
            raise WeightsError(f"{path} holds no siamtrack preset; make it with {made}")
        preset = preset_from_json(stored, str(path))
    net = preset.model.build()
    load_weights(path, net)
    fold_norms(net)
    check_crops(net.eval(), preset.crops, str(path))
    return Tracker(net, preset, device)


def _check_device(name: torch.device | str) -> None:
    try:
        device = torch.device(name)
        there = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
    except RuntimeError:
        there = False
    if not there:
        known = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise ConfigError(f"the device '{name}' is not available here; use {known}")
