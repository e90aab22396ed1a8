"""Visual object tracking with Siamese networks.

Examples:
    >>> import siamtrack
    >>> tracker = siamtrack.load()  # or load("mine.safetensors", device="cuda")
    >>> tracker.init(frame, (x, y, w, h))  # frame: RGB uint8 (H, W, 3)
    >>> result = tracker.update(next_frame)  # result.box, result.score, result.status
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from siamtrack.errors import missing_torch

if TYPE_CHECKING:
    from siamtrack.config import Preset, load_preset
    from siamtrack.errors import SiamtrackError
    from siamtrack.geometry.inputs import Box
    from siamtrack.tracking.state import TrackState, start, step
    from siamtrack.tracking.torch_engine import TorchEngine
    from siamtrack.tracking.tracker import MultiTracker, Result, Tracker
    from siamtrack.zoo import load, load_multi

__all__ = [
    "Box",
    "MultiTracker",
    "Preset",
    "Result",
    "SiamtrackError",
    "TorchEngine",
    "TrackState",
    "Tracker",
    "load",
    "load_multi",
    "load_preset",
    "start",
    "step",
]

__version__ = "0.1.0"

_HOMES = {
    "Box": "siamtrack.geometry.inputs",
    "MultiTracker": "siamtrack.tracking.tracker",
    "Preset": "siamtrack.config",
    "Result": "siamtrack.tracking.tracker",
    "SiamtrackError": "siamtrack.errors",
    "TorchEngine": "siamtrack.tracking.torch_engine",
    "TrackState": "siamtrack.tracking.state",
    "Tracker": "siamtrack.tracking.tracker",
    "load": "siamtrack.zoo",
    "load_multi": "siamtrack.zoo",
    "load_preset": "siamtrack.config",
    "start": "siamtrack.tracking.state",
    "step": "siamtrack.tracking.state",
}


def __getattr__(name: str) -> Any:
    # Names are fetched when first used: scoring results or asking for help does not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'siamtrack' has no attribute '{name}'")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise missing_torch(f"siamtrack.{name}", error) from None
