"""One setting on one sequence -> its score, by the protocol and rules of `siamtrack eval --suite folder`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from torch import nn

from siamtrack.config import Preset, preset_from_json
from siamtrack.evaluation.jobs import Beat
from siamtrack.evaluation.scoring import score_sequence
from siamtrack.evaluation.trackers import TrackerSpec
from siamtrack.formats.sequence import FrameList, Image, VideoSequence
from siamtrack.models.weights import fold_norms
from siamtrack.tracking.interface import TrackerLike
from siamtrack.tracking.torch_engine import TorchEngine
from siamtrack.tracking.tracker import Tracker
from siamtrack.tuning.search import Setting
from siamtrack.zoo.networks import open_network

MEMORY = 512 * 2**20
"""Bytes of decoded frames that a worker keeps of its current sequence."""

Make = Callable[[Preset], TrackerLike]


class Variants(Protocol):
    """A model whose preset can be changed; a value that can be sent to another process."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def preset(self) -> Preset:
        """Its own preset."""

    @property
    def identity(self) -> dict[str, Any]:
        """What its scores depend on besides the preset's changes, as JSON."""

    def open(self) -> Make:
        """Load it in this process; what is returned makes a tracker of a changed preset."""


@dataclass(frozen=True)
class ModelVariants:
    """A siamtrack model, loaded once a process; settings of `track` share its network."""

    spec: TrackerSpec

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name

    @property
    def preset(self) -> Preset:
        """The preset that is stored with the weights, or what was given in its place."""
        return preset_from_json(json.dumps(self.spec.identity["preset"]), self.spec.name)

    @property
    def identity(self) -> dict[str, Any]:
        """Version, device, preset and a hash of the weights."""
        return self.spec.identity

    def open(self) -> Make:
        """Load the weights."""
        base = open_network(self.spec.model, self.spec.device, self.preset)
        return lambda preset: Tracker(retuned(base, preset))


def retuned(base: TorchEngine, preset: Preset) -> TorchEngine:
    """An engine with the network's weights of `base` and another preset.

    The network is shared unless the section `model` differs in something that has no weights of its own,
    such as SA-Siam's `appearance_weight`.
    """
    if preset.model == base.preset.model:
        return TorchEngine(base.net, preset, base.device)
    net = preset.model.build()
    fold_norms(net)
    net.load_state_dict(cast(nn.Module, base.net).state_dict())
    return TorchEngine(net, preset, base.device)


class Decoded:
    """A sequence's frames: those that fit into `memory` bytes are decoded once, the others each time."""

    def __init__(self, frames: FrameList, memory: int) -> None:
        self._frames = frames
        self._left = memory
        self._kept: dict[int, Image] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of every frame in pixels."""
        height, width = self[0].shape[:2]
        return width, height

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    def __getitem__(self, index: int) -> Image:
        """Return one frame, RGB uint8 (H, W, 3)."""
        found = self._kept.get(index)
        if found is None:
            found = self._frames[index]
            if found.nbytes <= self._left:
                found.flags.writeable = False  # all settings see the same pixels
                self._kept[index] = found
                self._left -= found.nbytes
        return found


class Scorer:
    """Scores settings in this process, sequence by sequence.

    Args:
        variants: the model.
        memory: bytes of decoded frames to keep.
    """

    def __init__(self, variants: Variants, memory: int = MEMORY) -> None:
        self._make = variants.open()
        self._memory = memory
        self._at: VideoSequence | None = None

    def score(self, preset: Preset, sequence: VideoSequence, beat: Beat | None = None) -> float:
        """Return the score of a setting on a sequence; see `score_sequence`, also for its errors."""
        if self._at is None or self._at.name != sequence.name:
            self._at = replace(sequence, frames=Decoded(sequence.frames, self._memory))
        return score_sequence(self._make(preset), self._at, beat)


@dataclass(frozen=True)
class TuningJob:
    """One run: a setting, the preset that it stands for, and a sequence."""

    setting: Setting
    preset: Preset
    sequence: VideoSequence


def open_scorer(variants: Variants, memory: int) -> Callable[[TuningJob, Beat], float]:
    """Load a model in a worker; return the work, which scores a setting on a sequence."""
    scorer = Scorer(variants, memory)
    return lambda job, beat: scorer.score(job.preset, job.sequence, beat)
