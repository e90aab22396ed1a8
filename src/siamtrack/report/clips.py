"""Video clips of a sequence with the truth and each tracker's boxes, drawn from the raw results of stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from siamtrack.evaluation.evaluate import read_suite
from siamtrack.evaluation.suites import find_suite
from siamtrack.formats.sequence import Image, VideoSequence
from siamtrack.geometry.regions import FloatArray, corners, widen
from siamtrack.report.drawing import DARK, Styles
from siamtrack.report.results import Comparison, Scored, slug
from siamtrack.video.writer import VideoWriter

__all__ = ["CLIPPED", "Trajectory", "read_trajectories", "render_clip", "write_clips"]

CLIPPED = frozenset({"ope", "reset", "longterm", "unsupervised"})
"""The kinds of protocol that run from the first frame to the last."""

_FPS = 30.0
_WIDEST = 640
_DARK, _WHITE = (16, 16, 16), (255, 255, 255)
_SHIFT = 4  # OpenCV draws in 1/16 pixels
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Trajectory:
    """A tracker's regions on a sequence, (N, 8) in continuous pixels, nan for none, and its colour."""

    name: str
    colour: tuple[int, int, int]
    regions: FloatArray


def write_clips(
    comparison: Comparison, data: Path, wanted: str, styles: Styles, out: Path, tell: Callable[[str], None]
) -> dict[str, str]:
    """Write the wanted clips (see `Comparison.find_sequences`) below `out`; return their addresses by sequence."""
    chosen = comparison.find_sequences(wanted)
    by_name = {sequence.name: sequence for sequence in read_suite(find_suite(comparison.suite), data)}
    folder = Path("clips") / slug(comparison.suite) / slug(comparison.rules)
    found: dict[str, str] = {}
    for number, name in enumerate(chosen, start=1):
        trajectories = read_trajectories(comparison.trackers, by_name[name], styles) if name in by_name else []
        if not trajectories:
            continue
        address = folder / f"{number:03d}-{slug(name)[:60]}.mp4"
        (out / folder).mkdir(parents=True, exist_ok=True)
        tell(f"clip {number} of {len(chosen)}: {name}")
        render_clip(by_name[name], trajectories, out / address)
        found[name] = address.as_posix()
    return found


def read_trajectories(trackers: Sequence[Scored], sequence: VideoSequence, styles: Styles) -> list[Trajectory]:
    """Return the run of each tracker on a sequence, or the first of several; trackers without one are left out."""
    found = []
    for tracker in trackers:
        store = tracker.store
        if store is None or tracker.kind not in CLIPPED:
            continue
        key = "" if tracker.kind == "ope" else "001"  # the first repetition
        if store.has(sequence.name, key):
            run = store.load(sequence, key)
            colour = DARK[styles.slot(tracker.tracker)]
            red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
            found.append(Trajectory(tracker.tracker, (red, green, blue), widen(run.regions)))
    return found


def render_clip(sequence: VideoSequence, trajectories: Sequence[Trajectory], path: Path) -> None:
    """Write an h264 mp4 of a sequence: truth in white and dashed, trackers in their colours, names below.

    Frames wider than 640 pixels are made smaller. The file is there whole or not at all.

    Raises:
        DataError: a frame that cannot be read.
        InputError: the file cannot be written.
    """
    width, height = sequence.size
    scale = min(1.0, _WIDEST / width)
    size = max(2, round(width * scale)), max(2, round(height * scale))
    truth = corners(widen(sequence.truth)) * scale
    answers = [(trajectory.colour, corners(trajectory.regions) * scale) for trajectory in trajectories]
    strip = _names(size[0], {trajectory.name: trajectory.colour for trajectory in trajectories})
    with VideoWriter(path, (size[0], size[1] + len(strip)), _FPS) as writer:
        for index in range(len(sequence)):
            frame = cv2.resize(sequence.frames[index], size, interpolation=cv2.INTER_AREA)
            picture = np.ascontiguousarray(frame, dtype=np.uint8)
            for colour, points in answers:
                if index < len(points):
                    _outline(picture, points[index], colour)
            if index < len(truth):  # last and dashed: a tracker that is right shows through the gaps
                _outline(picture, truth[index], _WHITE, dashed=True)
            writer.write(np.vstack([picture, strip]))


def _outline(image: Image, points: FloatArray, colour: tuple[int, int, int], dashed: bool = False) -> None:
    """Draw four corners (4, 2) in continuous pixels on a wider dark line, so that they show on any ground."""
    if not np.isfinite(points).all():
        return
    lines = _dashes(points) if dashed else [np.vstack([points, points[:1]])]
    limit = 2.0**31 / 2 ** (_SHIFT + 2)
    # in OpenCV's numbers a whole pixel is its centre
    fixed = [np.rint((np.clip(line, -limit, limit) - 0.5) * 2**_SHIFT).astype(np.int32) for line in lines]
    cv2.polylines(image, fixed, False, _DARK, 4, cv2.LINE_AA, _SHIFT)
    cv2.polylines(image, fixed, False, colour, 2, cv2.LINE_AA, _SHIFT)


def _dashes(points: FloatArray, length: float = 6.0) -> list[FloatArray]:
    strokes: list[FloatArray] = []
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        # an odd number of parts, every second of which is drawn, puts a stroke at both corners
        parts = min(2 * int(np.linalg.norm(b - a) / (2 * length)) + 1, 201)
        stops = a + (b - a) * np.linspace(0, 1, parts + 1)[:, None]
        strokes += [stops[i : i + 2] for i in range(0, parts, 2)]
    return strokes


def _names(width: int, colours: Mapping[str, tuple[int, int, int]]) -> Image:
    """Return a strip (h, width, 3) with the name of each tracker in its colour, and the truth in white."""
    scale, line, gap = 0.42, 18, 12
    rows: list[list[tuple[str, tuple[int, int, int], int]]] = [[]]
    x = gap
    for name, colour in {"truth": _WHITE, **colours}.items():
        # OpenCV's font has ASCII alone
        text = name.encode("ascii", "replace").decode()[:40]
        length = cv2.getTextSize(text, _FONT, scale, 1)[0][0]
        if x + length + gap > width and rows[-1]:
            rows.append([])
            x = gap
        rows[-1].append((text, colour, x))
        x += length + 2 * gap
    strip = np.full((line * len(rows) + 6, width, 3), 16, dtype=np.uint8)
    for n, row in enumerate(rows):
        for text, colour, x in row:
            cv2.putText(strip, text, (x, line * n + 16), _FONT, scale, colour, 1, cv2.LINE_AA)
    return strip
