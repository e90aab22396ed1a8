"""The scores of a tuning run: how one is measured, and the file that keeps them.

A score is that of one setting on one sequence, by the protocol and rules of `siamtrack eval --suite folder`. The file,
JSON lines, survives a kill and refuses to mix models: the first line says what the scores depend on, every other line
is one setting on one sequence, appended and flushed to the disk when its run has finished. A kill can cut the last
line short: it is skipped when the file is read, and measured again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

from torch import nn

from siamtrack.config import Preset, preset_from_json
from siamtrack.errors import DataError
from siamtrack.evaluation.jobs import Beat
from siamtrack.evaluation.scoring import score_sequence
from siamtrack.evaluation.store import check_same_settings
from siamtrack.evaluation.trackers import TrackerSpec
from siamtrack.formats.sequence import FrameList, ImageFrames, VideoSequence
from siamtrack.geometry.inputs import Image
from siamtrack.io import alone_in, append_line, parse_json, read_lines, write_whole
from siamtrack.models.weights import fold_norms
from siamtrack.tracking.interface import TrackerLike
from siamtrack.tracking.torch_engine import TorchEngine
from siamtrack.tracking.tracker import Tracker
from siamtrack.tuning.search import Setting
from siamtrack.zoo.networks import open_network

_LEDGER_FORMAT = 1
_MEMORY = 512 * 2**20  # bytes of decoded frames that a worker keeps of its current sequence

Make = Callable[[Preset], TrackerLike]


@dataclass(frozen=True)
class ModelVariants:
    """A siamtrack model with other presets: a value that can be sent to another process.

    It is loaded once a process; settings of `track` share its network.
    """

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
        """Load the weights in this process; what is returned makes a tracker of a changed preset."""
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
        return len(self._frames)

    def __getitem__(self, index: int) -> Image:
        found = self._kept.get(index)
        if found is None:
            found = self._frames[index]
            if found.nbytes <= self._left:
                found.flags.writeable = False  # all settings see the same pixels
                self._kept[index] = found
                self._left -= found.nbytes
        return found


class Scorer:
    """Scores settings in this process, sequence by sequence; keeps decoded frames of the current one."""

    def __init__(self, variants: ModelVariants) -> None:
        self._make = variants.open()
        self._at: VideoSequence | None = None

    def score(self, preset: Preset, sequence: VideoSequence, beat: Beat | None = None) -> float:
        """Return the score of a setting on a sequence; see `score_sequence`, also for its errors."""
        if self._at is None or self._at.name != sequence.name:
            self._at = replace(sequence, frames=Decoded(sequence.frames, _MEMORY))
        return score_sequence(self._make(preset), self._at, beat)


@dataclass(frozen=True)
class TuningJob:
    """One run: a setting, the preset that it stands for, and a sequence."""

    setting: Setting
    preset: Preset
    sequence: VideoSequence


def open_scorer(variants: ModelVariants) -> Callable[[TuningJob, Beat], float]:
    """Load a model in a worker; return the work, which scores a setting on a sequence."""
    scorer = Scorer(variants)
    return lambda job, beat: scorer.score(job.preset, job.sequence, beat)


def sequence_digest(sequence: VideoSequence) -> str:
    """A short hash of a sequence's truth and its frames' names: scores of another truth do not count."""
    digest = hashlib.sha256(sequence.truth.tobytes())
    if isinstance(sequence.frames, ImageFrames):
        names = (PurePosixPath(name).name for name in sequence.frames.names)
        digest.update("\n".join(names).encode(errors="surrogatepass"))
    return digest.hexdigest()[:16]


class Ledger:
    """Scores by setting and sequence; made by `Ledger.open`."""

    def __init__(self, path: Path, scores: dict[tuple[str, str, str], float]) -> None:
        self.path = path
        self._scores = scores

    @classmethod
    def open(cls, path: Path, identity: Mapping[str, Any]) -> Ledger:
        """Begin a `.jsonl` file, or go on with one of the same model.

        `identity` is what the scores depend on besides setting and sequence, as JSON.

        Raises:
            ConfigError: the scores in it are of another model, device or version; the difference is named.
            DataError: it is no such file, or cannot be read or written.
        """
        wanted = json.loads(json.dumps({"format": _LEDGER_FORMAT, **identity}))
        with alone_in(path.parent):
            if not path.exists():
                write_whole(path, json.dumps(wanted) + "\n")
                return cls(path, {})
        lines = read_lines(path)
        held = _object(next(lines, b""))
        if held is None or "format" not in held:
            raise DataError(f"{path}: expected the scores of `siamtrack tune`; choose another --out")
        check_same_settings(held, wanted, f"{path} holds scores", "choose another --out or delete the file")
        scores = {}
        for line in lines:
            row = _object(line) or {}
            score, setting = row.get("success_auc"), row.get("setting")
            if isinstance(score, float | int) and math.isfinite(score) and isinstance(setting, dict):
                scores[_canonical(setting), str(row.get("sequence")), str(row.get("digest"))] = float(score)
        return cls(path, scores)

    def get(self, changes: Mapping[str, Any], sequence: str, digest: str) -> float | None:
        """The score of a setting, named by what it changes in the preset, on a sequence; None if unknown."""
        return self._scores.get((_canonical(changes), sequence, digest))

    def add(self, changes: Mapping[str, Any], sequence: str, digest: str, score: float) -> None:
        """Keep a score, on the disk too; raises `DataError` if it cannot be written."""
        row = {"sequence": sequence, "digest": digest, "success_auc": score, "setting": dict(changes)}
        append_line(self.path, json.dumps(row), sync=True)
        self._scores[_canonical(changes), sequence, digest] = score

    def __len__(self) -> int:
        return len(self._scores)


def _canonical(changes: Mapping[str, Any]) -> str:
    return json.dumps(dict(changes), sort_keys=True)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        return parse_json(line, "a line")
    except DataError:
        return None
