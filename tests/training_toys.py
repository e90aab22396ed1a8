"""A made training set and small presets: what the training tests run on."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from siamtrack.models.families import family_class, family_names

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


SCRATCH = TINY + "from_scratch = true\n"
"""The same without ImageNet weights."""

FAMILIES = family_names()

_SMALL = {
    "backbone": "mobilenetv2", "level": 3, "levels": [3], "width": 32, "tower": 1, "gain": 0.01, "fine_levels": [3],
    "template_cells": 7, "semantic_backbone": "mobilenetv2", "semantic_levels": [3, 4], "fused": 8,
}  # fmt: skip
"""What makes a family's network small, as far as it has these fields."""


def small_model(family: str, **changes: object) -> dict[str, object]:
    """The settings of a small network of a family, for its configuration class or a preset's section."""
    kind = family_class(family)
    assert kind is not None
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in (_SMALL | changes).items() if key in names}


def family_preset(folder: Path, family: str, **train: object) -> Path:
    """A preset of two steps with a small network; `train` are further settings of its training."""
    settings = {"steps": 2, "batch": 2, "from_scratch": "all", "log_every": 1, "lr": 1e-3, **train}
    model = small_model(family)
    # SA-Siam's template is as wide as the search region.
    wide = 127 if "semantic_backbone" in model else 0
    sections = [
        "\n".join(f"{key} = {json.dumps(value)}" for key, value in section.items()) for section in (model, settings)
    ]
    text = f"""
[model]
family = '{family}'
{sections[0]}

[crops]
template = 63
search = 127
template_crop = {wide}
context = 0.05

[data]
negative = 0.3
search = {{ shift = 12, scale = 0.18 }}

[train]
{sections[1]}
"""
    return write_preset(folder, text, family.replace("+", "p"))


def write_preset(folder: Path, text: str = SCRATCH, name: str = "tiny") -> Path:
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


def write_shard(
    folder: Path, tracks: int = 4, frames: int = 3, number: int = 0, quality: int = 95, damaged: tuple[str, ...] = ()
) -> Path:
    """A WebDataset shard of `tracks` x `frames` crops, each with its object in the middle; some may be cut short."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    with tarfile.open(folder / f"made-{number:02d}.tar", "w") as tar:
        for track in range(number * tracks, (number + 1) * tracks):
            for frame in range(frames):
                key = f"{track:03d}_{frame:03d}"
                label = {
                    "track_id": f"t{track}",
                    "frame": frame,
                    "box": [SIDE / 2 - 24, SIDE / 2 - 24, SIDE / 2 + 24, SIDE / 2 + 24],
                    "category": "patch",
                    "source": "made",
                }
                jpg = cv2.imencode(".jpg", _picture(rng, track), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
                jpg = jpg[: len(jpg) // (2 if key in damaged else 1)]
                for kind, blob in (("jpg", jpg), ("json", json.dumps(label).encode())):
                    entry = tarfile.TarInfo(f"{key}.{kind}")
                    entry.size = len(blob)
                    tar.addfile(entry, io.BytesIO(blob))
    return folder


def write_shards(folder: Path, count: int = 6) -> Path:
    """Shards of which four make a window of one megabyte."""
    for number in range(count):
        write_shard(folder, number=number, quality=100)
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
