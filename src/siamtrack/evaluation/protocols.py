"""How a tracker is run over a sequence: OTB's one pass and robustness, and VOT's protocols.

A protocol is a value: `kind` says how its results are laid out and scored, `keys(sequence)` names the runs that it
makes of a sequence (a result file each), `run(session, sequence, key)` makes one of them.

VOT's protocols follow vot-toolkit 0.9: the codes are 1 where the tracker was started, 2 where it had failed and 0 where
it was not run (see `records.Predictions`); the first row of a run is a start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeAlias

import numpy as np

from siamtrack.errors import DataError
from siamtrack.evaluation.tracker_session import Prediction, Session
from siamtrack.formats.records import Predictions
from siamtrack.formats.sequence import FrameList, VideoSequence, to_file
from siamtrack.geometry.overlap import toolkit_overlaps
from siamtrack.geometry.regions import FloatArray, IntArray, widen

_STARTED, _FAILED = 1, 2

SessionLike: TypeAlias = "Session | _Delayed"
"""What a protocol runs: a session, or one whose answers come late."""


@dataclass(frozen=True)
class TimedRun:
    """One finished run: what the tracker reported, in continuous pixels, a row a frame.

    Attributes:
        seconds: (N,) of the tracker's call for each row, without reading the frame; 0 where it was not called.
        network: seconds in the network alone, nan if the tracker does not tell; the session knows, as the next.
        reading: seconds of reading and decoding frames. Neither has the first call, which starts the tracker.
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

    def finish(self, anchor: int | None = None) -> TimedRun:
        """Return the finished run."""
        wide = bool(np.isfinite(self._regions[:, 4:]).any())
        regions = self._regions if wide else self._regions[:, :4]
        run = Predictions(regions, self._codes, self._confidence, anchor)
        return TimedRun(run, self._seconds)


class EvaluationProtocol(Protocol):
    """What the runner needs of a protocol."""

    @property
    def kind(self) -> str:
        """How its results are laid out and scored: ope, tre, sre, reset, multistart, unsupervised or longterm."""

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the names of the runs of a sequence, in the order in which they are made."""

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Make one run; raises `DataError` where the sequence cannot be run so."""


def _start_box(sequence: VideoSequence, index: int) -> FloatArray:
    if sequence.absent(index):
        raise DataError(f"{sequence.name}: frame {index} has no box to start from; expected x,y,w,h with an area")
    return np.array(sequence.box(index))


def _pass(
    session: SessionLike, sequence: VideoSequence, order: Sequence[int], box: FloatArray, code: int | None = None
) -> RunBuilder:
    """Track through frames in an order, started on a box in the first of them, never corrected.

    The first row is that box, or the special code.
    """
    rows = RunBuilder(len(order))
    session.init(sequence.frames, order[0], box)
    if code is None:
        rows.put(0, Prediction(tuple(box.tolist()), 1.0), session.seconds)
    else:
        rows.mark(0, code, session.seconds)
    for row, index in enumerate(order[1:], start=1):
        rows.put(row, session.update(sequence.frames, index), session.seconds)
    return rows


@dataclass(frozen=True)
class OnePass:
    """One-pass evaluation (OTB): started on the first frame's box, which is the first row, never corrected."""

    kind: ClassVar[str] = "ope"
    _key: ClassVar[str] = ""
    _code: ClassVar[int | None] = None

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the single run's name."""
        return [self._key]

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Track from the first frame to the last."""
        return _pass(session, sequence, range(len(sequence)), _start_box(sequence, 0), self._code).finish()


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
        return _pass(session, sequence, range(start, len(sequence)), _start_box(sequence, start)).finish()


_SHIFTS = {
    "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1),
    "topLeft": (-1, -1), "topRight": (1, -1), "bottomLeft": (-1, 1), "bottomRight": (1, 1),
}  # fmt: skip
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
    # A shift of a box at the edge may carry it out of the image altogether; its last row or column is then left.
    x, y = min(max(x, 1.0), size[0]), min(max(y, 1.0), size[1])
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
        return _pass(session, sequence, range(len(sequence)), box - [1, 1, 0, 0]).finish()


@dataclass(frozen=True)
class Reset:
    """VOT 2013-2019's supervised protocol: started anew `skip` frames after the overlap has fallen to 0.

    A sequence has `repetitions` runs; deterministic trackers need one.
    """

    repetitions: int = 1
    skip: int = 5
    kind: ClassVar[str] = "reset"

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the repetitions as 001, 002, .."""
        return [f"{n + 1:03d}" for n in range(self.repetitions)]

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Track with resets to the end; overlaps are vot-toolkit's, cut by the image."""
        rows = RunBuilder(len(sequence))
        start = 0
        while start < len(sequence):
            session.init(sequence.frames, start, _start_box(sequence, start))
            rows.mark(start, _STARTED, session.seconds)
            start = self._until_failure(session, sequence, rows, start + 1)
        return rows.finish()

    def _until_failure(self, session: SessionLike, sequence: VideoSequence, rows: RunBuilder, first: int) -> int:
        """Track from a frame on until the target is lost; return the frame of the next start."""
        for index in range(first, len(sequence)):
            answer = session.update(sequence.frames, index)
            region: FloatArray = np.full((1, 8), np.nan)
            region[0, : len(answer.region)] = answer.region
            if toolkit_overlaps(region, widen(sequence.truth[index : index + 1]), sequence.size)[0] <= 0:
                rows.mark(index, _FAILED, session.seconds)
                return index + self.skip
            rows.put(index, answer, session.seconds)
        return len(sequence)


@dataclass(frozen=True)
class MultiStart:
    """VOT 2020's short-term protocol: a run from every anchor, forward to the last frame or backward to the first."""

    kind: ClassVar[str] = "multistart"

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the anchors as 00000000, 00000050, ..; raises `DataError` if the sequence has none."""
        if sequence.anchors is None or not sequence.anchors.any():
            raise DataError(f"{sequence.name}: no anchors; expected a file anchor.value beside groundtruth.txt")
        return [f"{anchor:08d}" for anchor in np.flatnonzero(sequence.anchors).tolist()]

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Track from one anchor in its direction."""
        anchor = int(key)
        assert sequence.anchors is not None  # keys() has looked
        forward = sequence.anchors[anchor] > 0
        order = range(anchor, len(sequence)) if forward else range(anchor, -1, -1)
        return _pass(session, sequence, order, _start_box(sequence, anchor), _STARTED).finish(anchor)


@dataclass(frozen=True)
class Unsupervised(OnePass):
    """VOT's run from the first frame, never corrected: one pass whose first row is the code of a start."""

    kind: ClassVar[str] = "unsupervised"
    _key: ClassVar[str] = "001"
    _code: ClassVar[int | None] = _STARTED


@dataclass(frozen=True)
class LongTerm(Unsupervised):
    """VOT's long-term protocol: one run that is never corrected and whose confidences are kept."""

    kind: ClassVar[str] = "longterm"


class _Delayed:
    """A session whose answers come late: vot-toolkit's `RealtimeTrackerRuntime`.

    A call that takes longer than `interval` is forgiven `grace` times after a start. From then on its time
    runs on while frames come in, and for each whole interval of it the last answer is repeated without
    calling the tracker. A call takes `cost` seconds, None for as long as it really took.
    """

    def __init__(self, session: SessionLike, interval: float, grace: int, cost: float | None) -> None:
        self._session = session
        self._interval = interval
        self._grace = grace
        self._cost = cost
        self._left = 0
        self._debt = 0.0
        self._last: Prediction | None = None
        self.seconds = 0.0

    def _late(self) -> bool:
        """Take in the time of the call just made; whether its excess counts."""
        self.seconds = self._session.seconds if self._cost is None else self._cost
        if self.seconds <= self._interval:
            return False
        if self._left > 0:
            self._left -= 1
            self._debt = 0.0
            return False
        self._debt = self.seconds - self._interval
        return True

    def init(self, frames: FrameList, index: int, box: FloatArray) -> None:
        """Start the tracker on a box (4,) `x, y, w, h`; while it is late, that box is its answer."""
        self._left, self._debt = self._grace, 0.0
        self._session.init(frames, index, box)
        self._last = Prediction(tuple(box.tolist())) if self._late() else None

    def update(self, frames: FrameList, index: int) -> Prediction:
        """Return the tracker's answer, or the last one for a frame that came in while the tracker was at work.

        `seconds` is then the time of the call as the clock counts it: 0 where the tracker was not called.
        """
        if self._debt > self._interval and self._last is not None:
            self._debt -= self._interval
            self.seconds = 0.0
            return self._last
        self._debt = 0.0
        answer = self._session.update(frames, index)
        self._last = answer if self._late() else None
        return answer


@dataclass(frozen=True)
class RealTime:
    """Any of VOT's protocols against the clock: a slow tracker's last answer is repeated.

    `fps` frames a second come in, and `grace` calls after each start may be late. `speed`, in frames a second, is what
    the tracker is taken to make, for a run that can be repeated; 0 measures it.
    """

    protocol: EvaluationProtocol = field(default_factory=Reset)
    fps: float = 20.0
    grace: int = 3
    speed: float = 0.0

    @property
    def kind(self) -> str:
        """How results are laid out and scored: as the protocol's own."""
        return self.protocol.kind

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the names of the protocol's runs."""
        return self.protocol.keys(sequence)

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Make one run whose answers come late."""
        delayed = _Delayed(session, 1 / self.fps, self.grace, 1 / self.speed if self.speed > 0 else None)
        return self.protocol.run(delayed, sequence, key)
