"""Models by name or file, loaded as trackers; needs torch for models that are networks, not for exported ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamtrack.presets import DEFAULT_MODEL
from siamtrack.tracking.interface import Engine
from siamtrack.tracking.tracker import MultiTracker, Tracker

if TYPE_CHECKING:
    import torch

    from siamtrack.config import Preset

__all__ = ["load", "load_multi", "open_engine"]


def load(
    model: str | Path = DEFAULT_MODEL,
    device: torch.device | str = "cpu",
    preset: str | Path | Preset | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Tracker:
    """Load a tracker of one target.

    Args:
        model: a packaged model's name, or a `.safetensors` file that siamtrack wrote.
        device: "cpu" or "cuda".
        preset: a preset, its name or its `.toml` file, whose settings replace those stored with the weights.
        settings: values by dotted key, as `{"track.window": 0.3}`, over those of the preset; keys of the sections
            model, crops and track.

    Raises:
        ConfigError: an unknown name (the nearest is offered), setting or device, or a preset of another family.
        WeightsError: no weights for that name, a file that is corrupt or foreign, or settings that do not fit it.
    """
    return Tracker(open_engine(model, device, preset, settings))


def load_multi(
    model: str | Path = DEFAULT_MODEL,
    device: torch.device | str = "cpu",
    preset: str | Path | Preset | None = None,
    settings: Mapping[str, Any] | None = None,
) -> MultiTracker:
    """Load a tracker of several targets; arguments and errors are those of `load`."""
    return MultiTracker(open_engine(model, device, preset, settings))


def open_engine(
    model: str | Path = DEFAULT_MODEL,
    device: torch.device | str = "cpu",
    preset: str | Path | Preset | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Engine[Any]:
    """Load what trackers run on, to share it among several; arguments and errors are those of `load`."""
    from siamtrack.zoo.networks import open_network

    return open_network(model, device, preset, settings)
