"""siamtrack's tracker for the GOT-10k toolkit: `got10k.trackers.Tracker` with `init` and `update`.

>>> from got10k.experiments import ExperimentGOT10k
>>> from siamtrack.integrations.got10k import got10k_tracker
>>> ExperimentGOT10k("data/GOT-10k", subset="val").run(got10k_tracker("siamcar_lite0"))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siamtrack.errors import InputError, require
from siamtrack.evaluation.tracker_session import read_prediction
from siamtrack.tracking.interface import TrackerLike


def got10k_tracker(
    model: str | Path | TrackerLike, name: str | None = None, device: str = "cpu", origin: int = 0
) -> Any:
    """Return a `got10k.trackers.Tracker` that runs a siamtrack model, or any object with `init` and `update`.

    Args:
        model: a shipped model's name, a `.safetensors` file, or a tracker.
        name: of its results folder; the model's if left out.
        device: "cpu" or "cuda".
        origin: what the data set adds to x and y: 1 for OTB, UAV123 and others that count pixels from one
            (the toolkit hands annotations on as they are), 0 for GOT-10k.

    Raises:
        ConfigError: the toolkit is not installed, or an unknown model.
        WeightsError: no weights, or a file that cannot be used.
    """
    toolkit = require("got10k.trackers", "this bridge", "got10k==0.1.3", "got10k")
    if isinstance(model, str | Path):
        from siamtrack.zoo import load

        inner: TrackerLike = load(model, device)
        name = name or Path(model).stem
    else:
        inner = model
        name = name or type(model).__name__
    adapter = toolkit.Tracker(name=name, is_deterministic=True)
    bridge = _Bridge(inner, origin)
    # The toolkit's class is a shell of two functions; filling them in spares a subclass.
    adapter.init, adapter.update = bridge.init, bridge.update
    return adapter


class _Bridge:
    """Between the toolkit's PIL images and boxes as arrays, and siamtrack's."""

    def __init__(self, tracker: TrackerLike, origin: int) -> None:
        self._tracker = tracker
        self._shift = np.array([origin, origin, 0, 0], dtype=np.float64)

    def init(self, image: Any, box: npt.ArrayLike) -> None:
        """Begin with a box x, y, w, h in the data set's coordinates."""
        self._tracker.init(np.asarray(image), np.asarray(box, dtype=np.float64) - self._shift)

    def update(self, image: Any) -> npt.NDArray[np.float64]:
        """Return the box in the next image, in the data set's coordinates."""
        region = read_prediction(self._tracker.update(np.asarray(image))).region
        if len(region) != 4:
            raise InputError(f"the GOT-10k toolkit takes boxes of four numbers, the tracker gave {len(region)}")
        return np.asarray(region) + self._shift
