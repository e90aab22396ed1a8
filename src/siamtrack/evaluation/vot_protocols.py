"""VOT's protocols: with resets, from many starts, without supervision, in real time, long-term.

They follow vot-toolkit 0.9: the codes are 1 where the tracker was started, 2 where it had failed and 0 where
it was not run (see `records.Predictions`); the first row of a run is a start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from siamtrack.errors import DataError
from siamtrack.evaluation.protocols import EvaluationProtocol, RunBuilder, TimedRun
from siamtrack.evaluation.tracker_session import Prediction, SessionLike
from siamtrack.formats.sequence import FrameList, Image, VideoSequence
from siamtrack.geometry.overlap import toolkit_overlaps
from siamtrack.geometry.regions import FloatArray, widen

_STARTED, _FAILED = 1, 2


def _start(session: SessionLike, sequence: VideoSequence, index: int) -> None:
    if sequence.absent(index):
        raise DataError(f"{sequence.name}: frame {index} has no region to start from")
    session.init(session.read(sequence.frames, index), np.array(sequence.box(index)))


def _overlap(answer: Prediction, sequence: VideoSequence, index: int) -> float:
    region: FloatArray = np.full((1, 8), np.nan)
    region[0, : len(answer.region)] = answer.region
    truth = widen(sequence.truth[index : index + 1])
    return float(toolkit_overlaps(region, truth, sequence.size)[0])


@dataclass(frozen=True)
class Reset:
    """VOT 2013-2019's supervised protocol: started anew `skip` frames after the overlap has fallen to 0.

    Attributes:
        repetitions: runs of a sequence; deterministic trackers need one.
        skip: frames between a failure and the next start.
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
            _start(session, sequence, start)
            rows.mark(start, _STARTED, session.seconds)
            start = self._until_failure(session, sequence, rows, start + 1)
        return rows.finish(session)

    def _until_failure(self, session: SessionLike, sequence: VideoSequence, rows: RunBuilder, first: int) -> int:
        """Track from a frame on until the target is lost; return the frame of the next start."""
        for index in range(first, len(sequence)):
            answer = session.update(session.read(sequence.frames, index))
            if _overlap(answer, sequence, index) <= 0:
                rows.mark(index, _FAILED, session.seconds)
                return index + self.skip
            rows.put(index, answer, session.seconds)
        return len(sequence)


def _through(session: SessionLike, sequence: VideoSequence, order: list[int], anchor: int | None = None) -> TimedRun:
    """Track through frames in an order, started on the first of them, never corrected."""
    rows = RunBuilder(len(order))
    _start(session, sequence, order[0])
    rows.mark(0, _STARTED, session.seconds)
    for row, index in enumerate(order[1:], start=1):
        answer = session.update(session.read(sequence.frames, index))
        rows.put(row, answer, session.seconds)
    return rows.finish(session, anchor)


@dataclass(frozen=True)
class MultiStart:
    """VOT 2020's short-term protocol.

    A run from every anchor, forward to the last frame or backward to the first.
    """

    kind: ClassVar[str] = "multistart"

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the anchors as 00000000, 00000050, ..

        Raises:
            DataError: the sequence has no anchors.
        """
        if sequence.anchors is None or not sequence.anchors.any():
            raise DataError(f"{sequence.name}: no anchors; expected a file anchor.value beside groundtruth.txt")
        return [f"{anchor:08d}" for anchor in np.flatnonzero(sequence.anchors).tolist()]

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Track from one anchor in its direction."""
        anchor = int(key)
        assert sequence.anchors is not None  # keys() has looked
        forward = sequence.anchors[anchor] > 0
        order = range(anchor, len(sequence)) if forward else range(anchor, -1, -1)
        return _through(session, sequence, list(order), anchor)


@dataclass(frozen=True)
class Unsupervised:
    """One run from the first frame, never corrected."""

    kind: ClassVar[str] = "unsupervised"

    def keys(self, sequence: VideoSequence) -> list[str]:
        """Return the single repetition."""
        return ["001"]

    def run(self, session: SessionLike, sequence: VideoSequence, key: str) -> TimedRun:
        """Track from the first frame to the last."""
        return _through(session, sequence, list(range(len(sequence))))


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

    @property
    def network(self) -> float:
        """Seconds in the network so far; nan if unknown."""
        return self._session.network

    @property
    def reading(self) -> float:
        """Seconds spent on reading frames so far."""
        return self._session.reading

    def read(self, frames: FrameList, index: int) -> Image:
        """Return a frame (H, W, 3), RGB uint8."""
        return self._session.read(frames, index)

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

    def init(self, frame: Image, box: FloatArray) -> None:
        """Start the tracker on a box (4,) `x, y, w, h`; while it is late, that box is its answer."""
        self._left, self._debt = self._grace, 0.0
        self._session.init(frame, box)
        self._last = Prediction(tuple(box.tolist())) if self._late() else None

    def update(self, frame: Image) -> Prediction:
        """Return the tracker's answer, or the last one for a frame that came in while the tracker was at work.

        `seconds` is then the time of the call as the clock counts it: 0 where the tracker was not called.
        """
        if self._debt > self._interval and self._last is not None:
            self._debt -= self._interval
            self.seconds = 0.0
            return self._last
        self._debt = 0.0
        answer = self._session.update(frame)
        self._last = answer if self._late() else None
        return answer


@dataclass(frozen=True)
class RealTime:
    """Any of these protocols against the clock: a slow tracker's last answer is repeated.

    Attributes:
        protocol: how the tracker is run.
        fps: frames a second that come in.
        grace: calls after each start that may be late.
        speed: frames a second that the tracker is taken to make, for a run that can be repeated; 0 measures
            it.
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
