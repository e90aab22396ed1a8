"""A made training set and small presets: what the training tests run on."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np

SIDE = 184

TINY = """
[model]
family = "siamcar"
backbone = "mobilenetv2"
levels = [3]
width = 16
tower = 1
light = true
unit = 20.0

[crops]
template = 63
search = 127

[data]
negative = 0.2
flip = 0.5
colour = 0.2
noise = 0.2
search = { shift = 16, scale = 0.1 }

[train]
steps = 20
batch = 4
lr = 1e-2
frozen_stages = 2
backbone_norm = true
unfreeze_at = 0.3
warmup = 0.1
ema = 0.9
log_every = 1
checkpoint_every = 3
validate_every = 4
validate_frames = 4
"""


def write_preset(folder: Path, text: str = TINY, name: str = "tiny") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def _picture(rng: np.random.Generator, track: int) -> np.ndarray:
    """A coarse background, and a patch whose texture belongs to the track."""
    ground = rng.integers(60, 200, (12, 12, 3)).astype(np.uint8)
    image = cv2.resize(ground, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    patch = np.random.default_rng(track).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    low, high = SIDE // 2 - 24, SIDE // 2 + 24
    image[low:high, low:high] = cv2.resize(patch, (48, 48), interpolation=cv2.INTER_NEAREST)
    return image


def write_shard(folder: Path, tracks: int = 4, frames: int = 3) -> Path:
    """A WebDataset shard of `tracks` x `frames` crops, each with its object in the middle."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with tarfile.open(folder / "made-00.tar", "w") as tar:
        for track in range(tracks):
            for frame in range(frames):
                key = f"{track:03d}_{frame:03d}"
                note = {
                    "track_id": f"t{track}",
                    "frame": frame,
                    "box": [SIDE / 2 - 24, SIDE / 2 - 24, SIDE / 2 + 24, SIDE / 2 + 24],
                    "category": "patch",
                    "source": "made",
                }
                jpg = cv2.imencode(".jpg", _picture(rng, track))[1].tobytes()
                for kind, blob in (("jpg", jpg), ("json", json.dumps(note).encode())):
                    entry = tarfile.TarInfo(f"{key}.{kind}")
                    entry.size = len(blob)
                    tar.addfile(entry, io.BytesIO(blob))
    return folder


def write_sequence(folder: Path, name: str = "made__walk", frames: int = 4) -> Path:
    """A sequence in the layout of the development set: a patch that walks to the right."""
    images = folder / name / "img"
    images.mkdir(parents=True)
    boxes = []
    rng = np.random.default_rng(1)
    patch = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    for n in range(frames):
        image = np.full((160, 200, 3), 120, np.uint8)
        image[60:100, 40 + 4 * n : 80 + 4 * n] = patch
        cv2.imwrite(str(images / f"{n + 1:08d}.jpg"), image)
        boxes.append(f"{40 + 4 * n},60,40,40")
    (folder / name / "groundtruth.txt").write_text("\n".join(boxes) + "\n")
    return folder
