"""Validation by tracking sequences: the area under the success curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import nn

from siamtrack.config import Preset
from siamtrack.errors import DataError
from siamtrack.evaluation.evaluate import read_suite
from siamtrack.evaluation.scoring import score_sequence
from siamtrack.evaluation.suites import find_suite
from siamtrack.formats.sequence import VideoSequence
from siamtrack.models.siamese import Matcher
from siamtrack.tracking.torch_engine import TorchEngine
from siamtrack.tracking.tracker import Tracker
from siamtrack.training.distributed import ProcessGroup


class _StoppedError(Exception):
    """It was told to stop in the middle of a sequence."""


def find_clips(folder: Path, limit: int) -> tuple[VideoSequence, ...]:
    """The beginnings of a folder's sequences: `<name>/img/*` and `<name>/groundtruth.txt` (x,y,w,h a line).

    They have at most `limit` frames.

    Raises:
        DataError: no sequence, one without frames, with boxes that do not fit them or none in its first frame.
    """
    clips = tuple(found.first(limit) for found in read_suite(find_suite("folder"), folder))
    for clip in clips:
        if not clip.has_truth or clip.absent(0):
            raise DataError(f"{folder}: {clip.name}: expected a box for each frame, the first not nan")
    return clips


def validate(
    net: nn.Module,
    preset: Preset,
    clips: Sequence[VideoSequence],
    device: torch.device,
    world: ProcessGroup | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> float | None:
    """The mean area under the success curve over clips, divided among the processes; None if it was stopped.

    Puts the network into evaluation mode. `stop` is called after every frame; it ends once that is True in any process.

    Raises:
        DataError: a frame that cannot be read.
    """
    world = world or ProcessGroup()
    tracker = Tracker(TorchEngine(cast(Matcher, net), preset, device))

    def beat() -> None:
        if stop():
            raise _StoppedError

    scores, stopped = [], False
    try:
        for clip in clips[world.rank :: world.size]:
            scores.append(score_sequence(tracker, clip, beat))
    except _StoppedError:
        stopped = True
    if world.any(stopped, device):
        return None
    sums = {"score": float(sum(scores)), "count": float(len(scores))}
    joint = world.mean({name: torch.tensor(value, device=device) for name, value in sums.items()})
    return joint["score"] / joint["count"]
