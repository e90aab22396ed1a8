"""Validation by really tracking: a few sequences, one target each, and the area under the success curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from torch import nn

from siamtrack.config import Preset
from siamtrack.errors import DataError
from siamtrack.models.siamese import Matcher
from siamtrack.tracking.tracker import Tracker
from siamtrack.training.distributed import World

__all__ = ["Clip", "find_clips", "success", "track_clip", "validate"]

_IMAGES = {".jpg", ".jpeg", ".png"}
_THRESHOLDS = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Clip:
    """One sequence: its frames' files, and (N, 4) x, y, w, h of the target, nan where it is absent."""

    name: str
    frames: tuple[Path, ...]
    truth: np.ndarray


def find_clips(folder: Path, limit: int) -> tuple[Clip, ...]:
    """The sequences of a folder by name: `<name>/img/*` and `<name>/groundtruth.txt` (x,y,w,h a line).

    Args:
        folder: with one folder a sequence.
        limit: at most so many frames of each.

    Raises:
        DataError: no sequence, or one without frames, or with boxes that do not fit them.
    """
    clips = []
    for truth in sorted(folder.glob("*/groundtruth.txt")):
        frames = sorted(p for p in (truth.parent / "img").glob("*") if p.suffix.lower() in _IMAGES)
        try:
            boxes = np.loadtxt(truth, delimiter=",", ndmin=2)
        except ValueError as error:
            raise DataError(f"{truth}: expected x,y,w,h a line: {error}") from None
        if len(frames) < 2 or boxes.shape != (len(frames), 4) or np.isnan(boxes[0]).any():
            raise DataError(
                f"{truth.parent}: expected a box for each of 2 or more images in img/, the first present; "
                f"got {len(frames)} images and boxes of shape {boxes.shape}"
            )
        clips.append(Clip(truth.parent.name, tuple(frames[:limit]), boxes[:limit]))
    if not clips:
        raise DataError(f"expected sequences (NAME/groundtruth.txt and NAME/img/); found none in {folder}")
    return tuple(clips)


def success(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the overlaps 0, 0.05 .. 1 of the share of frames that overlap more; (N, 4) xywh each."""
    low = np.maximum(found[:, :2], truth[:, :2])
    high = np.minimum(found[:, :2] + found[:, 2:], truth[:, :2] + truth[:, 2:])
    inter = np.clip(high - low, 0, None).prod(1)
    union = found[:, 2:].prod(1) + truth[:, 2:].prod(1) - inter
    overlap = inter / np.maximum(union, 1e-9)
    return float(np.mean(overlap[:, None] > _THRESHOLDS))


def track_clip(net: nn.Module, preset: Preset, clip: Clip, device: torch.device) -> float:
    """Track the first box through a clip -> area under the success curve, frames without target left out.

    The network is put into evaluation mode.

    Raises:
        DataError: a frame that cannot be read.
    """
    tracker = Tracker(cast(Matcher, net), preset, device)
    boxes = [clip.truth[0]]
    tracker.init(_read(clip.frames[0]), clip.truth[0])
    for path in clip.frames[1:]:
        boxes.append(np.array(tracker.update_all(_read(path))[0].box))
    known = ~np.isnan(clip.truth).any(1)
    known[0] = False
    return success(np.stack(boxes)[known], clip.truth[known]) if known.any() else 0.0


def validate(
    net: nn.Module, preset: Preset, clips: Sequence[Clip], device: torch.device, world: World | None = None
) -> float:
    """The mean of `track_clip` over clips, which the processes share out among them."""
    world = world or World()
    scores = [track_clip(net, preset, clip, device) for clip in clips[world.rank :: world.size]]
    sums = {"score": float(sum(scores)), "count": float(len(scores))}
    joint = world.mean({name: torch.tensor(value, device=device) for name, value in sums.items()})
    return joint["score"] / joint["count"]


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"cannot read the frame {path}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
