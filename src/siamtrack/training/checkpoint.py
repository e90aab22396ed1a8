"""A run's folder: its lock, and checkpoints from which training resumes exactly."""

from __future__ import annotations

import json
import os
import socket
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import siamtrack
from siamtrack.config import Preset, preset_from_json, preset_to_json
from siamtrack.errors import ConfigError, DataError, WeightsError, reason
from siamtrack.evaluation.store import check_same_settings
from siamtrack.io import check_regular, lock, whole_file
from siamtrack.models.siamese import SiameseNet
from siamtrack.training.parameters import Average

# Settings that do not change what a resumed run computes.
_FREE = {
    "checkpoint_every",
    "keep_every",
    "log_every",
    "validate_every",
    "validate_frames",
    "compile",
    "backbone_weights",
    "start_from",
}


@dataclass
class TrainState:
    """What changes while a network is trained; `step` counts the steps done.

    Attributes:
        average: the moving average of the weights, or None.
        best: the best validation score, negative before the first.
        unscored: whether this step's validation was stopped; the run that resumes begins with it.
    """

    net: SiameseNet
    optimiser: torch.optim.Optimizer
    average: Average | None
    step: int = 0
    best: float = -1.0
    unscored: bool = False

    def pack(self, preset: Preset) -> dict[str, Any]:
        """Return the state as tensors, numbers and text."""
        return {
            "step": self.step,
            "best": self.best,
            "version": siamtrack.__version__,
            "preset": preset_to_json(preset),
            "model": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.values if self.average else {},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if _cuda() else None,
            **({"unscored": True} if self.unscored else {}),
        }

    def restore(self, state: dict[str, Any], preset: Preset) -> None:
        """Restore what `pack` returned, also on another machine or device.

        Raises:
            ConfigError: the run had other settings; the first that differs is named.
            WeightsError: the state does not fit the network or the optimiser.
        """
        stored = preset_from_json(state["preset"], "the checkpoint's preset")
        check_same_settings(
            _binding(stored), _binding(preset), "the run to resume was", "use its settings or a new --out"
        )
        if state.get("version") != siamtrack.__version__:
            warnings.warn(
                f"resuming a run of siamtrack {state.get('version')} with {siamtrack.__version__}", stacklevel=2
            )
        try:
            self.net.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.average:
                self.average.load(state["average"])
            self.step, self.best = int(state["step"]), float(state.get("best", -1.0))
            self.unscored = bool(state.get("unscored", False))
            if "random" in state:
                torch.set_rng_state(state["random"])
            if state.get("random_cuda") is not None and _cuda():
                torch.cuda.set_rng_state(state["random_cuda"])
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise WeightsError(f"the checkpoint does not fit this run's network: {_line(error)}") from None


def _binding(preset: Preset) -> dict[str, Any]:
    """The settings that a resumed run must share, as plain values by section."""
    tables = json.loads(preset_to_json(preset))
    sections = ("model", "crops", "data", "train")
    return {name: {key: value for key, value in tables[name].items() if key not in _FREE} for name in sections}


def _cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`, whole or not at all; equal states give equal bytes.

    Raises:
        DataError: it cannot be written, for instance because the disk is full; an existing file stays as it was.
    """
    with whole_file(path) as draft, draft.open("wb") as stream:
        try:
            torch.save(_alike(state), stream)
        except RuntimeError as error:  # what torch makes of a write that fails
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            raise DataError(f"cannot write {path}: {reason(cause)}") from None
        stream.flush()
        os.fsync(stream.fileno())  # the bytes are on the disk before the name exists


def _alike(value: Any) -> Any:
    """Copy containers so that equal strings are one object.

    Pickle distinguishes shared from equal objects: without this, a resumed run would write other bytes.
    """
    if isinstance(value, dict):
        return {_alike(key): _alike(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_alike(item) for item in value)
    return sys.intern(value) if isinstance(value, str) else value


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` as `step-NNNNNNNN.pt`, keeping one older checkpoint, or on a `DataError` all that there are."""
    path = folder / f"step-{step:08d}.pt"
    write_checkpoint(path, state)
    for old in _checkpoints(folder)[:-2]:
        old.unlink(missing_ok=True)
    return path


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a run's folder, created if missing; the system releases the lock however the process ends.

    Raises:
        ConfigError: another process uses it; the message has its id and machine.
        DataError: the folder cannot be made or written.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {folder}: {reason(error)}") from None
    with stream:
        if not lock(stream.fileno(), path):
            stream.seek(0)
            holder = stream.readline(200).strip() or "another process"
            raise ConfigError(f"{folder} is in use by {holder}; wait for it to end, or use another --out")
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest step, readable or not, or None."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def latest_state(folder: Path) -> dict[str, Any] | None:
    """The newest readable checkpoint, with a warning for each damaged one, or None if there are no checkpoints.

    Raises:
        WeightsError: there are checkpoints, and none can be read.
    """
    found = _checkpoints(folder)
    for path in reversed(found):
        try:
            return load_checkpoint(path)
        except WeightsError as error:
            if path == found[0]:
                raise
            warnings.warn(f"{error}; going on from the checkpoint before it", stacklevel=2)
    return None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of tensors, numbers and text; no code in it is run.

    Raises:
        WeightsError: the file is not a checkpoint, or a checksum does not match.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is None:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile, torch and pickle raise a dozen kinds for damaged files
        raise WeightsError(f"{path} is no readable checkpoint: {_line(error)}") from None
    if damaged is not None:
        raise WeightsError(f"{path} is damaged: {damaged} does not match its checksum")
    if not isinstance(state, dict) or not {"step", "preset", "model", "optimiser"} <= state.keys():
        raise WeightsError(f"{path} is no checkpoint of siamtrack: expected step, preset, model and optimiser")
    return state


def _line(error: BaseException) -> str:
    """The first line of what an error says."""
    if isinstance(error, UnicodeError):
        return reason(error)
    return (str(error).splitlines() or [type(error).__name__])[0]
