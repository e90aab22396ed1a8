"""Small real footage for the tests, written by PyAV itself and not by the project's own writer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

FIRST_BOX = (40.0, 30.0, 32.0, 24.0)
SECOND_BOX = (100.0, 70.0, 28.0, 30.0)


def noise(size: tuple[int, int], seed: int) -> np.ndarray:
    """RGB texture (H, W, 3) that survives compression: smooth noise of high contrast."""
    coarse = np.random.default_rng(seed).integers(0, 255, (size[1] // 4 + 2, size[0] // 4 + 2, 3), dtype=np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def moving_patches(count: int, size: tuple[int, int] = (160, 120)) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames in which two textured patches move on a dim ground, and their boxes (count, 2, 4) xywh."""
    ground = noise(size, 1) // 4
    patches = [noise((int(box[2]), int(box[3])), seed) for seed, box in enumerate((FIRST_BOX, SECOND_BOX), 2)]
    frames, boxes = [], []
    for n in range(count):
        frame, row = ground.copy(), []
        for patch, (x, y, w, h), (dx, dy) in zip(patches, (FIRST_BOX, SECOND_BOX), ((1, 1), (-1, -1)), strict=True):
            # A zigzag keeps the patches in the picture however many frames are asked for.
            step = 20 - abs(n % 40 - 20)
            left, top = int(x) + dx * step, int(y) + dy * step
            frame[top : top + int(h), left : left + int(w)] = patch
            row.append((left, top, w, h))
        frames.append(frame)
        boxes.append(row)
    return frames, np.array(boxes, dtype=np.float64)


def write_mp4(
    path: Path, frames: list[np.ndarray], fps: int = 25, faststart: bool = True, times: Sequence[int] | None = None
) -> Path:
    """Write frames of even sides as h264 with a key frame every ten, at `times` in frames or one after the other."""
    options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 10
        for time, frame in zip(times or range(len(frames)), frames, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def decode(path: Path) -> list[np.ndarray]:
    """All frames of a video as RGB, by PyAV itself."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
