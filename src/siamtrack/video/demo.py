"""The demo clip: a fish swims over a reef, with its true box in every frame.

It turns, comes nearer and goes away, meets a fish of another colour and passes behind kelp, while the camera
moves with it. The clip is computed, the same on every machine up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from siamtrack.video import scenery
from siamtrack.video.boxes import BoxWriter
from siamtrack.video.writer import VideoWriter

__all__ = ["DEMO_FPS", "DEMO_FRAMES", "DEMO_SIZE", "demo_frames", "make_demo"]

DEMO_SIZE = (640, 360)
DEMO_FPS = 30.0
DEMO_FRAMES = 200

_HERO = (0.98, 0.44, 0.06)
_RIVAL = (0.62, 0.16, 0.10)
_SHOAL = (0.20, 0.52, 0.85)
_SEED = 7
_WATER = np.array([0.10, 0.42, 0.54], np.float32)


@dataclass(frozen=True)
class Pose:
    """Where a fish is seen: its middle (x, y) and length in pixels, its pitch in degrees, upwards positive.

    `tail` is the phase of its beat in radians, `haze` in [0, 1] how far the water hides it; `left` mirrors
    it.
    """

    x: float
    y: float
    length: float
    pitch: float
    tail: float
    haze: float = 0.0
    left: bool = False


def make_demo(folder: Path) -> tuple[Path, Path]:
    """Write the clip and its true boxes; return the paths of `clip.mp4` and `truth.txt` in `folder`.

    The boxes are `x,y,w,h`, a line a frame: the upright box around the whole fish with its fins, also where
    kelp hides it.

    Raises:
        InputError: the files cannot be written.
    """
    clip, truth = folder / "clip.mp4", folder / "truth.txt"
    with BoxWriter(truth, 1) as boxes, VideoWriter(clip, DEMO_SIZE, DEMO_FPS) as video:
        for number, (frame, box) in enumerate(demo_frames()):
            video.write(frame)
            boxes.write(number, [box], [1.0])
    return clip, truth


def demo_frames(count: int = DEMO_FRAMES) -> Iterator[tuple[np.ndarray, tuple[float, float, float, float]]]:
    """Yield the first `count` frames, RGB uint8 (360, 640, 3), each with the true box x, y, w, h."""
    stage = _Stage(np.random.default_rng(_SEED))
    for number in range(count):
        yield stage.frame(number)


def hero_pose(number: int) -> Pose:
    """Where the tracked fish is in frame `number`."""
    t = number / DEMO_FRAMES
    x = 190 + 300 * t + 60 * np.sin(2 * np.pi * 1.1 * t)
    y = 185 + 62 * np.sin(2 * np.pi * 1.6 * t + 0.4)
    pitch = -34 * np.cos(2 * np.pi * 1.6 * t + 0.4) + 7 * np.sin(2 * np.pi * 5 * t)
    length = 112 + 34 * np.sin(2 * np.pi * 0.9 * t - 0.5)
    return Pose(x, y, length, pitch, 0.55 * number, 0.10)


def rival_pose(number: int) -> Pose:
    """Where the fish of another colour is: it crosses the picture from right to left."""
    t = number / DEMO_FRAMES
    pitch = 8 * np.sin(2 * np.pi * 3 * t)
    return Pose(1010 - 830 * t, 110 + 20 * np.sin(9 * t), 92, pitch, 0.6 * number, 0.22, left=True)


class _Stage:
    """What stays the same from frame to frame: painted layers and sprites."""

    def __init__(self, rng: np.random.Generator) -> None:
        width, height = DEMO_SIZE
        self._grain = rng.normal(0, 0.012, (height + 64, width + 64, 3)).astype(np.float32)
        self._back = scenery.water((width + 120, height), rng)
        self._far = scenery.reef((width + 260, height), 0.66, 0.62, rng)
        self._near = scenery.reef((width + 560, height), 0.86, 0.12, rng)
        self._kelp = scenery.kelp((150, height), rng)
        self._hero, self._rival, self._small = (
            _pyramid(scenery.fish_sprite(colour, rng)) for colour in (_HERO, _RIVAL, _SHOAL)
        )
        self._dust = rng.random((70, 4), dtype=np.float32)
        self._shoal = rng.random((9, 4))
        self._rays = _ray_table(rng)
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self._ray_place = np.arctan2(x - 0.3 * width, y + 0.9 * height) * 900 + 2000
        self._ray_strength = 0.27 * np.clip(1 - y / height, 0, 1) ** 1.2
        self._vignette = 1 - 0.28 * (((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2)

    def frame(self, number: int) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        """Compose one frame; everything in it follows from its number."""
        pan = 540 * number / DEMO_FRAMES
        sway = 5 * np.sin(number / 17)
        image = _window(self._back, pan * 0.2, 0)[..., :3].copy()
        scenery.over(image, _window(self._far, pan * 0.45, sway * 0.3))
        for place in self._shoal:
            _add_fish(image, self._small, _shoal_pose(place, number))
        scenery.over(image, _window(self._near, pan, sway))
        _add_fish(image, self._rival, rival_pose(number))
        box = _add_fish(image, self._hero, hero_pose(number))
        self._add_kelp(image, 700 - 4.1 * number + 6 * np.sin(number / 11))
        self._add_light(image, number)
        # The grain of one large sheet, seen at another place in each frame.
        across, down = np.random.default_rng((_SEED, number)).integers(0, 64, 2)
        image += self._grain[down : down + image.shape[0], across : across + image.shape[1]]
        return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8), box

    def _add_kelp(self, image: np.ndarray, left: float) -> None:
        move = np.array([[1, 0, left], [0, 1, 0]], np.float32)
        scenery.over(image, cv2.warpAffine(self._kelp, move, DEMO_SIZE))

    def _add_light(self, image: np.ndarray, number: int) -> None:
        """Shafts of light that wander, dust in them, and the lens's dark corners."""
        place = (self._ray_place + 1.3 * number).astype(np.int32) % len(self._rays)
        image += (self._ray_strength * self._rays[place])[..., None] * np.array([0.75, 1.0, 0.9], np.float32)
        width, height = DEMO_SIZE
        motes = np.zeros((height, width), np.float32)
        for x, y, size, speed in self._dust:
            centre = (
                int((x * width - number * (1.5 + 2 * speed)) % width * 16),
                int((y * height + number * 0.3) % height * 16),
            )
            cv2.circle(motes, centre, int(16 * (0.5 + 1.3 * size)), 0.12 + 0.25 * float(size), -1, cv2.LINE_AA, 4)
        image += cv2.GaussianBlur(motes, (0, 0), 1.0)[..., None]
        image *= self._vignette[..., None]


def _shoal_pose(place: np.ndarray, number: int) -> Pose:
    x, y, size, phase = (float(value) for value in place)
    return Pose(
        420 + 260 * x - (0.9 + 0.2 * size) * number,
        70 + 70 * y + 5 * np.sin(number / 14 + 6 * phase),
        20 + 10 * size,
        4 * np.sin(number / 12 + 6 * phase),
        0.9 * number + 6 * phase,
        0.55,
        left=True,
    )


def _pyramid(sprite: np.ndarray) -> list[np.ndarray]:
    """The sprite at full, half, quarter ... size, so that a small fish is drawn from a small one."""
    levels = [sprite]
    while min(levels[-1].shape[:2]) > 24:
        levels.append(cv2.pyrDown(levels[-1]))
    return levels


def _add_fish(image: np.ndarray, levels: list[np.ndarray], pose: Pose) -> tuple[float, float, float, float]:
    """Draw a fish into the image and return the upright box around the part of it that the frame shows."""
    reach = 0.75 * pose.length
    left, top = max(0, int(pose.x - reach)), max(0, int(pose.y - reach))
    part = image[top : max(0, int(pose.y + reach)), left : max(0, int(pose.x + reach))]
    if part.size == 0:
        return (0.0, 0.0, 0.0, 0.0)
    shrink = pose.length / scenery.FISH_LENGTH
    level = min(len(levels) - 1, max(0, int(np.log2(1 / shrink))))
    rows, columns = levels[level].shape[:2]
    u, v = _fish_places(part.shape[:2], (left, top), pose)
    layer = cv2.remap(
        levels[level],
        (u / 2**level + columns / 2 - 0.5).astype(np.float32),
        (v / 2**level + rows / 2 - 0.5).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    layer[..., :3] = layer[..., :3] * (1 - pose.haze) + _WATER * (pose.haze * layer[..., 3:])
    scenery.over(part, layer)
    x, y, w, h = _box_of(layer[..., 3])
    return (x + left, y + top, w, h)


def _fish_places(size: tuple[int, int], corner: tuple[int, int], pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Tell which points of the sprite, from its middle, the (rows, columns) pixels from `corner` on show."""
    x, y = np.meshgrid(
        np.arange(size[1], dtype=np.float32) + (0.5 + corner[0] - pose.x),
        np.arange(size[0], dtype=np.float32) + (0.5 + corner[1] - pose.y),
    )
    side = -1 if pose.left else 1
    shrink = pose.length / scenery.FISH_LENGTH
    turn = np.deg2rad(-side * pose.pitch)
    u = side * (x * np.cos(turn) + y * np.sin(turn)) / shrink
    v = (y * np.cos(turn) - x * np.sin(turn)) / shrink
    # The beat runs through the body from the middle backwards and grows towards the tail.
    behind = np.clip(0.25 - u / scenery.FISH_LENGTH, 0, None)
    return u, v + 60 * behind**1.5 * np.sin(pose.tail + 5 * behind)


def _box_of(alpha: np.ndarray) -> tuple[float, float, float, float]:
    """Return the upright box around what is more than half opaque; all zeros where nothing is."""
    rows, columns = np.flatnonzero((alpha > 0.5).any(1)), np.flatnonzero((alpha > 0.5).any(0))
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    left, top = float(columns[0]), float(rows[0])
    return (left, top, float(columns[-1] + 1) - left, float(rows[-1] + 1) - top)


def _window(layer: np.ndarray, left: float, down: float) -> np.ndarray:
    """The part of a wide layer that the camera sees, shifted by fractions of pixels."""
    move = np.array([[1, 0, -left], [0, 1, down]], np.float32)
    return cv2.warpAffine(layer, move, DEMO_SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _ray_table(rng: np.random.Generator) -> np.ndarray:
    strength = scenery.fractal_noise((4096, 1), 160, 4, rng)[0]
    rays: np.ndarray = np.clip((strength - 0.45) * 2.2, 0, 1)
    return rays
