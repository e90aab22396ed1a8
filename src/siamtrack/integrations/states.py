"""States of trackers as bytes: for services that keep none between two frames, and get them back with the next one."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.lib.format import write_array

from siamtrack.errors import InputError, reason
from siamtrack.formats.archive import BROKEN_ZIP
from siamtrack.tracking.interface import Engine, EngineState

_LARGEST = 256 << 20  # bytes that a state may have when unpacked
_FORM = "form"
_STRANGE: tuple[type[Exception], ...] = (*BROKEN_ZIP, TypeError, AttributeError, MemoryError)
"""What bytes that are no state may raise."""


def pack_state(state: EngineState) -> bytes:
    """Turn a state of any engine into bytes: a .npz file of its arrays, and its form as JSON; no pickle."""
    arrays: dict[str, np.ndarray] = {}
    form = json.dumps(_take_apart(state, "", arrays))
    arrays[_FORM] = np.frombuffer(form.encode(), dtype=np.uint8)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w") as member:
                write_array(member, np.asarray(array, order="C"), allow_pickle=False)
    return out.getvalue()


def unpack_state(data: bytes, engine: Engine[Any]) -> EngineState:
    """Return the state that `pack_state` made, for an engine of the same kind with the same model.

    Raises:
        InputError: other bytes, or a state of another kind of engine.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            if sum(entry.file_size for entry in file.infolist()) > _LARGEST:
                raise ValueError("too large")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = _put_together(json.loads(arrays[_FORM].tobytes()), "", arrays, engine)
    except _STRANGE as error:
        raise InputError(f"not a state of a tracker of siamtrack, or one of another engine: {reason(error)}") from None
    state: EngineState = found
    return state


def _take_apart(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Put the arrays of a value into `arrays`, and return what stands between them as JSON."""
    if is_dataclass(value):
        kind = type(value).__name__
        return {kind: {f.name: _take_apart(getattr(value, f.name), f"{name}/{f.name}", arrays) for f in fields(value)}}
    if isinstance(value, tuple):
        return [_take_apart(part, f"{name}/{n}", arrays) for n, part in enumerate(value)]
    if isinstance(value, Mapping):
        return {"dict": {key: _take_apart(part, f"{name}/{key}", arrays) for key, part in value.items()}}
    if value is None or isinstance(value, int | float | str):
        return value
    tensor = hasattr(value, "detach")
    arrays[name] = value.detach().cpu().numpy() if tensor else np.asarray(value)
    return {"tensor" if tensor else "array": None}


def _put_together(form: Any, name: str, arrays: Mapping[str, np.ndarray], engine: Engine[Any]) -> Any:
    if isinstance(form, list):
        return tuple(_put_together(part, f"{name}/{n}", arrays, engine) for n, part in enumerate(form))
    if not isinstance(form, dict):
        return form
    ((kind, parts),) = form.items()
    if kind == "array":
        return arrays[name]
    if kind == "tensor":
        import torch

        on_device = name.startswith(("/template", "/memory"))
        return torch.from_numpy(arrays[name]).to(getattr(engine, "device", "cpu") if on_device else "cpu")
    values = {key: _put_together(part, f"{name}/{key}", arrays, engine) for key, part in parts.items()}
    return values if kind == "dict" else _classes(engine)[kind](**values)


def _classes(engine: Engine[Any]) -> dict[str, type]:
    if engine.name == "torch":
        from siamtrack.tracking.distractors import Memory
        from siamtrack.tracking.state import TrackState

        return {"TrackState": TrackState, "Memory": Memory}
    from siamtrack.runtime.engine import GraphState

    return {"GraphState": GraphState}
