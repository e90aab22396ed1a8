"""Checkpoints: everything a run needs to go on as if it had never stopped, written whole or not at all."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import siamtrack
from siamtrack.config import Preset, Train, preset_from_json, preset_to_json
from siamtrack.errors import ConfigError, WeightsError
from siamtrack.training.parameters import Average, from_scratch

__all__ = [
    "TrainState",
    "latest_checkpoint",
    "latest_state",
    "load_checkpoint",
    "save_checkpoint",
    "write_checkpoint",
]

# Settings that change how a run is watched, or how it began, and not what it computes from here on.
_FREE = {"checkpoint_every", "log_every", "validate_every", "validate_frames", "compile", "backbone_weights"}


@dataclass
class TrainState:
    """What changes while a network is trained.

    Attributes:
        net: the network.
        optimiser: with its moments.
        average: the moving average of the weights, or None.
        pretrained: whether the backbone began with pretrained weights.
        step: steps done.
        best: the best validation score, negative before the first.
    """

    net: nn.Module
    optimiser: torch.optim.Optimizer
    average: Average | None
    pretrained: bool = True
    step: int = 0
    best: float = -1.0

    def settings(self, preset: Preset) -> Train:
        """The preset's settings of training as they are in force."""
        return preset.train if self.pretrained else from_scratch(preset.train)

    def pack(self, preset: Preset) -> dict[str, Any]:
        """The run as data."""
        return {
            "step": self.step,
            "best": self.best,
            "pretrained": self.pretrained,
            "version": siamtrack.__version__,
            "preset": preset_to_json(preset),
            "model": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.values if self.average else {},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if _cuda() else None,
        }

    def restore(self, state: dict[str, Any], preset: Preset) -> None:
        """Go on from packed data, which may come from another machine or device.

        Raises:
            ConfigError: the data are of a run with other settings; the message names them.
        """
        changed = _differences(preset_from_json(state["preset"], "the checkpoint's preset"), preset)
        if changed:
            raise ConfigError(f"the run to resume has another {', '.join(changed)}; use its settings or a new --out")
        if state.get("version") != siamtrack.__version__:
            stored = state.get("version")
            warnings.warn(f"resuming a run of siamtrack {stored} with {siamtrack.__version__}", stacklevel=2)
        self.net.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average:
            self.average.load(state["average"])
        self.step, self.best = int(state["step"]), float(state.get("best", -1.0))
        if "random" in state:
            torch.set_rng_state(state["random"])
        if state.get("random_cuda") is not None and _cuda():
            torch.cuda.set_rng_state(state["random_cuda"])


def _cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _differences(stored: Preset, wanted: Preset) -> list[str]:
    """Dotted names of the settings by which two runs differ in what they compute."""
    a, b = (json.loads(json.dumps(asdict(preset))) for preset in (stored, wanted))
    sections = ("model", "crops", "data", "train")
    keys = [(s, k) for s in sections for k in sorted(a[s].keys() | b[s].keys()) if k not in _FREE]
    return [f"{s}.{k}" for s, k in keys if a[s].get(k) != b[s].get(k)]


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`.

    The bytes are on the disk before the name exists: a kill at any moment leaves a whole file or none.
    """
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int = 2) -> Path:
    """Write `state` as `step-NNNNNNNN.pt`; only the newest `keep` stay, and no drafts of killed runs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}.pt"
    write_checkpoint(path, state)
    for old in [*_checkpoints(folder)[:-keep], *folder.glob(".step-*.part")]:
        old.unlink(missing_ok=True)
    return path


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest step, readable or not, or None."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def latest_state(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, or None where there is none at all.

    A damaged one is warned about and the one before it is taken.

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
    """Read a checkpoint as data: tensors, numbers and text, never code.

    Raises:
        WeightsError: the file is no checkpoint, or damaged: every byte is held to its checksum.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise WeightsError(f"{path} is damaged: {damaged} does not match its checksum")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} is no readable checkpoint: {(str(error).splitlines() or [''])[0]}") from None
    if not isinstance(state, dict) or not {"step", "preset", "model", "optimiser"} <= state.keys():
        raise WeightsError(f"{path} is no checkpoint of siamtrack: expected step, preset, model and optimiser")
    return state
