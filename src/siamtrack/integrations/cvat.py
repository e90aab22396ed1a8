"""Tracking in CVAT: a native function for `cvat-cli`, and the handler of a serverless (Nuclio) function.

    cvat-cli function create-native siamtrack --function-module siamtrack.integrations.cvat
    cvat-cli function run-agent ID --function-module siamtrack.integrations.cvat -p model=str:siamcar_lite0

`create` is what the tool looks for in the module. For Nuclio, a `main.py` needs `init_context` and `handler` alone.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamtrack.errors import InputError, SiamtrackError, reason, require
from siamtrack.integrations.states import pack_state, unpack_state
from siamtrack.io import parse_json
from siamtrack.presets import DEFAULT_MODEL
from siamtrack.tracking.interface import Engine, EngineState
from siamtrack.tracking.tracker import results
from siamtrack.video.images import decode_image
from siamtrack.zoo import open_engine

_LARGEST = 256 << 20  # bytes of a request, which has a picture in it


@dataclass
class _Followed:
    """What CVAT's agent keeps of a shape between two frames."""

    state: EngineState


class TrackingFunction:
    """A tracking function of CVAT's kind (`cvat_sdk.auto_annotation.TrackingFunction`) for rectangles."""

    def __init__(self, engine: Engine[Any]) -> None:
        cvat = require("cvat_sdk.auto_annotation", "tracking in CVAT", "cvat-sdk cvat-cli", "cvat")
        self._engine = engine
        self._shape = cvat.TrackableShape
        self.spec = cvat.TrackingFunctionSpec(supported_shape_types=["rectangle"])

    def preprocess_image(self, context: object, image: Any) -> np.ndarray:
        """Make a `PIL.Image.Image` into an RGB frame; CVAT's agent calls this before each use of an image."""
        return np.asarray(image.convert("RGB"))

    def init_tracking_state(self, context: object, pp_image: np.ndarray, shape: Any) -> _Followed:
        """Begin with a rectangle, points left, top, right, bottom."""
        return _Followed(self._engine.start(pp_image, _box(shape.points)))

    def track(self, context: object, pp_image: np.ndarray, state: _Followed) -> Any:
        """Return the rectangle in the next image; None where the target is lost."""
        state.state = self._engine.step(pp_image, state.state)
        found = results(state.state)[0]
        return None if found.status == "lost" else self._shape(type="rectangle", points=_points(found.box))


def create(model: str | Path = DEFAULT_MODEL, device: str = "cpu", threads: int | None = None) -> TrackingFunction:
    """Make the function; arguments and errors are those of `siamtrack.load`. CVAT's tool calls it."""
    return TrackingFunction(open_engine(model, device, threads=threads))


def track_shapes(engine: Engine[Any], request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request of CVAT to a serverless tracker; nothing is kept here.

    Args:
        engine: what runs the model.
        request: `image`, a picture file in base64; `shapes`, each a list left, top, right, bottom or an object with
            `points`; `states` of the last answer, empty or null for shapes to begin with.

    Returns:
        `shapes` in the form they came in, a lost target's as it was last seen, and `states` as text.

    Raises:
        InputError: a request of another form.
    """
    try:
        image = decode_image(base64.b64decode(request["image"]), "image")
        shapes, states = list(request.get("shapes") or []), list(request.get("states") or [])
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError) as error:
        raise InputError(f"expected an object with image, shapes and states: {reason(error)}") from None
    states += [None] * (len(shapes) - len(states))
    shapes += [None] * (len(states) - len(shapes))
    answer: dict[str, Any] = {"shapes": [], "states": []}
    for shape, text in zip(shapes, states, strict=True):
        points = shape.get("points") if isinstance(shape, dict) else shape
        if text is None:
            state = engine.start(image, _box(points))
        else:
            try:
                before = unpack_state(base64.b64decode(text), engine)
            except (TypeError, binascii.Error, ValueError) as error:
                raise InputError(f"expected a state as text: {reason(error)}") from None
            state = engine.step(image, before)
            found = results(state)[0]
            points = points if found.status == "lost" and points is not None else _points(found.box)
        answer["shapes"].append({**shape, "points": points} if isinstance(shape, dict) else points)
        answer["states"].append(base64.b64encode(pack_state(state)).decode())
    return answer


def init_context(context: Any) -> None:
    """Load the model once for a Nuclio worker; SIAMTRACK_MODEL and SIAMTRACK_DEVICE choose it."""
    import os

    model, device = os.environ.get("SIAMTRACK_MODEL", DEFAULT_MODEL), os.environ.get("SIAMTRACK_DEVICE", "cpu")
    context.user_data.engine = open_engine(model, device)


def handler(context: Any, event: Any) -> Any:
    """Answer one request of CVAT through Nuclio: 200 and JSON, or 400 and one line."""
    try:
        body = event.body if isinstance(event.body, dict) else parse_json(event.body, "the request", _LARGEST)
        found, code = json.dumps(track_shapes(context.user_data.engine, body)), 200
    except SiamtrackError as error:
        found, code = json.dumps({"error": str(error)}), 400
    return context.Response(body=found, headers={}, content_type="application/json", status_code=code)


def _box(points: Sequence[float] | None) -> tuple[float, float, float, float]:
    """Box x, y, w, h of a rectangle left, top, right, bottom."""
    try:
        left, top, right, bottom = map(float, points or ())
    except (TypeError, ValueError, OverflowError):
        shown = repr(points)[:200]
        raise InputError(f"expected a rectangle of four numbers left, top, right, bottom; got {shown}") from None
    return left, top, right - left, bottom - top


def _points(box: Sequence[float]) -> list[float]:
    x, y, w, h = map(float, box)
    return [x, y, x + w, y + h]
