"""siamtrack's tracker for vot-toolkit, by its Python protocol (`VotTracker`) or by TraX (this module as a program).

docs/integrations.md shows a `trackers.ini` with both.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from siamtrack.errors import InputError, SiamtrackError, require
from siamtrack.evaluation.tracker_session import read_prediction
from siamtrack.evaluation.trackers import find_factory
from siamtrack.formats.sequence import decode_frame
from siamtrack.geometry.inputs import Image
from siamtrack.io import read_bytes
from siamtrack.presets import DEFAULT_MODEL
from siamtrack.tracking.interface import TrackerLike
from siamtrack.zoo import load

ObjectStatus = tuple[tuple[float, ...], dict[str, float]]


class VotTracker:
    """One target behind the functions that vot-toolkit's Python protocol calls.

    Args:
        model: a shipped model's name, a `.safetensors` file, or `module:factory` of something that returns an
            object with `init` and `update`.
        device: "cpu" or "cuda".
    """

    multiobject = False

    def __init__(self, model: str = DEFAULT_MODEL, device: str = "cpu") -> None:
        factory = find_factory(model)
        self._tracker: TrackerLike = load(model, device) if factory is None else factory()

    def init(self, frame: Any, new: tuple[Sequence[float], Mapping[str, Any]]) -> ObjectStatus:
        """Begin with a region x, y, w, h, to which properties may belong; returns it as the status.

        A frame is the image's file name, or a mapping of channels to file names or pixels.
        """
        region = tuple(float(value) for value in new[0])
        self._tracker.init(_pixels(frame), region)
        return region, {"confidence": 1.0}

    def update(self, frame: Any) -> ObjectStatus:
        """Return the region x, y, w, h in the next image, an empty one if nothing is found, and its confidence."""
        answer = read_prediction(self._tracker.update(_pixels(frame)))
        found = not any(map(math.isnan, answer.region))
        region = answer.region if found else (0.0, 0.0, 0.0, 0.0)
        return region, {"confidence": float(found) if math.isnan(answer.confidence) else answer.confidence}


def _pixels(frame: Any) -> Image:
    """Return RGB pixels of a file, or of the colour channel among several."""
    if isinstance(frame, Mapping):
        if "color" not in frame:
            raise InputError(f"expected a colour channel; the frame has {', '.join(map(str, frame))}")
        frame = frame["color"]
    if isinstance(frame, str | Path):
        return decode_frame(read_bytes(Path(frame)), str(frame))
    pixels: Image = frame
    return pixels


def serve(model: str, device: str = "cpu") -> None:
    """Serve a TraX client on standard input and output; raises `ConfigError` without `vot-trax` or the model."""
    trax = require("trax", "the TraX protocol", "vot-trax", "vot")
    tracker = VotTracker(model, device)
    with trax.Server([trax.Region.RECTANGLE], [trax.Image.PATH], tracker_name="siamtrack") as server:
        while True:
            request = server.wait()
            if request.type == trax.TraxStatus.INITIALIZE:
                region, properties = tracker.init(_trax_path(request), (request.objects[0][0].bounds(), {}))
            elif request.type == trax.TraxStatus.FRAME:
                region, properties = tracker.update(_trax_path(request))
            else:
                return
            server.status([(trax.Rectangle.create(*region), properties)])


def _trax_path(request: Any) -> str:
    path: str = request.image["color"].path()
    return path


if __name__ == "__main__":
    try:
        serve(os.environ.get("SIAMTRACK_MODEL", DEFAULT_MODEL), os.environ.get("SIAMTRACK_DEVICE", "cpu"))
    except SiamtrackError as error:
        print(f"siamtrack: {error}", file=sys.stderr)
        sys.exit(2)
