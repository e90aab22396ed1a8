"""Video clips of a sequence with the truth and each tracker's boxes, drawn from the raw results of stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw

from siamtrack.evaluation.evaluate import read_suite
from siamtrack.evaluation.suites import find_suite
from siamtrack.formats.sequence import VideoSequence
from siamtrack.geometry.inputs import Image
from siamtrack.geometry.regions import FloatArray, corners, widen
from siamtrack.io import whole_file
from siamtrack.report.drawing import DARK, Styles
from siamtrack.report.results import Comparison, Scored, slug
from siamtrack.video.draw import draw_line, font
from siamtrack.video.writer import VideoWriter

CLIPPED = frozenset({"ope", "reset", "longterm", "unsupervised"})
"""The kinds of protocol that run from the first frame to the last."""

_FPS = 30.0
_WIDEST, _HIGHEST = 640, 2560
_DARK, _WHITE = (16, 16, 16), (255, 255, 255)


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

    Frames wider than 640 pixels, or higher than 2560, are made smaller. The file is there whole or not at all.

    Raises:
        DataError: a frame that cannot be read.
        InputError: the file cannot be written.
    """
    width, height = sequence.size
    scale = min(1.0, _WIDEST / width, _HIGHEST / height)
    size = max(2, round(width * scale)), max(2, round(height * scale))
    truth = corners(widen(sequence.truth)) * scale
    answers = [(trajectory.colour, corners(trajectory.regions) * scale) for trajectory in trajectories]
    strip = _names(size[0], {trajectory.name: trajectory.colour for trajectory in trajectories})
    with whole_file(path) as draft, VideoWriter(draft, (size[0], size[1] + len(strip)), _FPS) as writer:
        for index in range(len(sequence)):
            frame = Pictures.fromarray(sequence.frames[index])
            picture = np.array(frame.resize(size, Pictures.Resampling.BOX) if frame.size != size else frame)
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
    outline, dash = np.vstack([points, points[:1]]), 6.0 if dashed else None
    draw_line(image, outline, _DARK, 4, dash)
    draw_line(image, outline, colour, 2, dash)


def _names(width: int, colours: Mapping[str, tuple[int, int, int]]) -> Image:
    """Return a strip (h, width, 3) with the name of each tracker in its colour, and the truth in white."""
    letters, line, gap = font(13), 18, 12
    rows: list[list[tuple[str, tuple[int, int, int], int]]] = [[]]
    x = gap
    for name, colour in {"truth": _WHITE, **colours}.items():
        text = name[:40]
        length = ceil(letters.getlength(text))
        if x + length + gap > width and rows[-1]:
            rows.append([])
            x = gap
        rows[-1].append((text, colour, x))
        x += length + 2 * gap
    strip = Pictures.new("RGB", (width, line * len(rows) + 6), _DARK)
    pen = ImageDraw.Draw(strip)
    for n, row in enumerate(rows):
        for text, colour, x in row:
            pen.text((x, line * n + 16), text, colour, letters, anchor="ls")
    return np.array(strip)
