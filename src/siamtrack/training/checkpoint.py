"""Checkpoints: everything a run needs to go on as if it had never stopped, written whole or not at all."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from siamtrack.errors import WeightsError

__all__ = ["latest_checkpoint", "load_checkpoint", "save_checkpoint"]


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int = 2) -> Path:
    """Write `state` as `step-NNNNNNNN.pt` and delete all but the newest `keep`.

    The bytes are on the disk before the name exists, so that a kill at any moment leaves a whole file or none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}.pt"
    draft = folder / f".{path.name}.part"
    with draft.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    for old in sorted(folder.glob("step-*.pt"))[:-keep]:
        old.unlink(missing_ok=True)
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest step, or None."""
    found = sorted(folder.glob("step-*.pt"))
    return found[-1] if found else None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as data: tensors, numbers and text, never code.

    Raises:
        WeightsError: the file is no checkpoint.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is no readable checkpoint: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or not {"step", "preset", "model", "optimiser"} <= state.keys():
        raise WeightsError(f"{path} is no checkpoint of siamtrack: expected step, preset, model and optimiser")
    return state
