"""How a tracker is run over a sequence: one pass, temporal and spatial robustness.

A protocol is a value: `kind` says how its results are laid out and scored, `keys(sequence)` names the runs that it
makes of a sequence (a result file each), `run(session, sequence, key)` makes one of them. VOT's protocols are in
`vot_protocols`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from siamtrack.errors import DataError
from siamtrack.evaluation.tracker_session import Prediction, SessionLike
from siamtrack.formats.records import Predictions
from siamtrack.formats.sequence import VideoSequence, to_file
from siamtrack.geometry.regions import FloatArray, IntArray


@dataclass(frozen=True)
class TimedRun:
    """One finished run.

    Attributes:
        run: what the tracker reported, in continuous pixels, a row a frame.
        seconds: (N,) of the tracker's call for each row, without reading the frame; 0 where it was not
            called.
        network: seconds in the network alone, nan if the tracker does not tell.
        reading: seconds of reading and decoding frames.
    """

    run: Predictions
    seconds: FloatArray
    network: float = math.nan
    reading: float = 0.0


class RunBuilder:
    """Collects the rows of a run; all start as VOT's code 0, "skipped"."""

    def __init__(self, count: int) -> None:
        self._regions = np.full((count, 8), np.nan)
        self._codes: IntArray = np.zeros(count, dtype=np.int64)
        self._confidence = np.full(count, np.nan)
        self._seconds = np.zeros(count)

    def put(self, row: int, answer: Prediction, seconds: float) -> None:
        """Write a prediction; one without a region stays a row of nan."""
        self._regions[row, : len(answer.region)] = answer.region
        self._codes[row] = -1
        self._confidence[row] = answer.confidence
        self._seconds[row] = seconds

    def mark(self, row: int, code: int, seconds: float) -> None:
        """Write a special code."""
        self._codes[row] = code
        self._seconds[row] = seconds

    def finish(self, session: SessionLike, anchor: int | None = None) -> TimedRun:
        """Return the finished run."""
        wide = bool(np.isfinite(self._regions[:, 4:]).any())
        regions = self._regions if wide else self._regions[:, :4]
        run = Predictions(regions, self._codes, self._confidence, anchor)
        return TimedRun(run, self._seconds, session.network, session.reading)


class EvaluationProtocol(Protocol):
    """What the runner needs of a protocol."""

    @property
    def kind(self) -> str:
        """How its results are laid out and scored: ope, tre, sre, reset, multistart, unsupervised or longterm."""

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the names of the runs of a sequence, in the order in which they are made."""

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Make one run; raises `DataError` where the sequence cannot be run so."""


def _one_pass(session: SessionLike, sequence: VideoSequence, first: int, box: FloatArray) -> TimedRun:
    rows = RunBuilder(len(sequence) - first)
    session.init(session.read(sequence.frames, first), box)
    rows.put(0, Prediction(tuple(box.tolist()), 1.0), session.seconds)
    for index in range(first + 1, len(sequence)):
        frame = session.read(sequence.frames, index)
        rows.put(index - first, session.update(frame), session.seconds)
    return rows.finish(session)


def _start_box(sequence: VideoSequence, index: int) -> FloatArray:
    if sequence.absent(index):
        raise DataError(f"{sequence.name}: frame {index} has no box to start from; expected x,y,w,h with an area")
    return np.array(sequence.box(index))


@dataclass(frozen=True)
class OnePass:
    """One-pass evaluation (OTB): started on the first frame's box, never corrected.

    The first row is that box.
    """

    kind: ClassVar[str] = "ope"

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the single run's name."""
        return [""]

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Track from the first frame to the last."""
        return _one_pass(session, sequence, 0, _start_box(sequence, 0))


@dataclass(frozen=True)
class TemporalRobustness:
    """OTB's TRE: passes from up to `segments` starts spread over the sequence to its end (splitSeqTRE.m).

    Starts are frames whose annotation is positive in all four numbers and that leave at least `least` frames.
    """

    segments: int = 20
    least: int = 20
    kind: ClassVar[str] = "tre"

    def starts(self, sequence: VideoSequence) -> list[int]:
        """Return the frames to start from, rising; only the first valid one if the sequence is too short."""
        with np.errstate(invalid="ignore"):
            good = np.flatnonzero((to_file(sequence.truth, sequence.origin)[:, :4] > 0).all(axis=1))
        last = np.flatnonzero(len(sequence) - good >= self.least)
        if not len(good):
            raise DataError(f"{sequence.name}: no frame has a box to start from")
        if not len(last):
            return [int(good[0])]
        count = int(last[-1]) + 1
        step = count / (self.segments - 1)
        # counted from one as in the original, whose range leaves its end out only by the step's remainder
        picked = [math.floor(1 + i * step) for i in range(self.segments) if 1 + i * step <= count]
        return [int(good[p - 1]) for p in [*picked, count]]

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return one name a segment: its number and its first frame, counted from zero."""
        return [f"tre{n:02d}_{start:08d}" for n, start in enumerate(self.starts(sequence))]

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Track from one start to the last frame."""
        start = int(key.rpartition("_")[2])
        return _one_pass(session, sequence, start, _start_box(sequence, start))


_SHIFTS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "topLeft": (-1, -1),
    "topRight": (1, -1),
    "bottomLeft": (-1, 1),
    "bottomRight": (1, 1),
}
_SCALES = {"scale_8": 0.8, "scale_9": 0.9, "scale_11": 1.1, "scale_12": 1.2}
_SHARE = 0.1


def _half_up(value: float) -> float:
    """Round half away from zero, as MATLAB's round does."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def shifted_box(box: tuple[float, float, float, float], kind: str, size: tuple[int, int]) -> FloatArray:
    """Return the disturbed first box x, y, w, h of OTB's SRE (shiftInitBB.m), cut to the image.

    Boxes count pixels from one, as OTB's files do. The four sideways shifts move the box by a tenth of its
    side, the corner shifts move one corner outwards by as much, the scales keep the centre.
    """
    x, y, w, h = box
    if kind in _SCALES:
        ratio = _SCALES[kind]
        x, y = _half_up(x + w / 2 - ratio * w / 2), _half_up(y + h / 2 - ratio * h / 2)
        w, h = _half_up(ratio * w), _half_up(ratio * h)
    elif 0 in _SHIFTS[kind]:
        dx, dy = _SHIFTS[kind]
        x, y = x + dx * math.ceil(_SHARE * w), y + dy * math.ceil(_SHARE * h)
    else:
        dx, dy = _SHIFTS[kind]
        right, bottom = x + w - 1, y + h - 1
        if dx < 0:
            x = _half_up(x - _SHARE * w)
        else:
            right = _half_up(right + _SHARE * w)
        if dy < 0:
            y = _half_up(y - _SHARE * h)
        else:
            bottom = _half_up(bottom + _SHARE * h)
        w, h = right - x + 1, bottom - y + 1
    x, y = max(x, 1.0), max(y, 1.0)
    w, h = min(w, size[0] - x + 1), min(h, size[1] - y + 1)
    return np.array([x, y, w, h])


@dataclass(frozen=True)
class SpatialRobustness:
    """OTB's SRE: twelve passes whose first box is shifted or scaled by a tenth (shiftInitBB.m)."""

    kind: ClassVar[str] = "sre"

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the names of OTB's twelve disturbances."""
        return [*_SHIFTS, *_SCALES]

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Track the whole sequence from one disturbed box."""
        x, y, w, h = _start_box(sequence, 0).tolist()
        box = shifted_box((x + 1, y + 1, w, h), key, sequence.size)
        return _one_pass(session, sequence, 0, box - [1, 1, 0, 0])
