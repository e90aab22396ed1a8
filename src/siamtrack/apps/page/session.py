"""One run of the page: frames by number, and the states of its targets at every frame that they were followed to."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamtrack.errors import InputError
from siamtrack.tracking.interface import Engine
from siamtrack.tracking.tracker import Result, results
from siamtrack.video.reader import open_source

_KEPT_BYTES = 384 << 20  # of decoded frames: some hundred frames of 640x360, some dozens of 1920x1080
_KEPT_STEPS = 20_000  # frames of which the states are kept; templates are shared between them
_BACKWARDS = 48  # frames that are decoded again at once when the page goes back behind those that are kept


class Frames:
    """The frames of a source by number, RGB uint8 (H, W, 3); the last ones read are kept.

    A file or folder is read again for a frame before those; of a camera or stream, a `live` source, it is gone.
    """

    def __init__(self, source: str | Path | int) -> None:
        self.source = source
        self._reader = open_source(source)
        self.live = self._reader.live
        self._frames: Iterator[np.ndarray] = iter(self._reader)
        self._next = 0
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self.clip = self._reader.clip()

    def at(self, number: int) -> np.ndarray | None:
        """Return a frame, None after the last; raises `InputError` if it cannot be read or is not kept any more."""
        if number in self._kept:
            return self._kept[number]
        if number < self._next:
            if self.live:
                raise InputError(f"frame {number} of '{self.clip.name}' is not kept any more; go on from a later one")
            self._open_at(max(0, number - _BACKWARDS))
        while self._next <= number:
            frame = next(self._frames, None)
            if frame is None:
                return None
            self._keep(frame)
        return self._kept[number]

    def close(self) -> None:
        """Close the file, camera or connection."""
        self._reader.close()
        self._kept.clear()

    def _keep(self, frame: np.ndarray) -> None:
        self._kept[self._next] = frame
        self._next += 1
        while len(self._kept) > max(2, _KEPT_BYTES // frame.nbytes):
            self._kept.popitem(last=False)

    def _open_at(self, number: int) -> None:
        self._reader.close()
        self._kept.clear()
        self._reader = open_source(self.source, number)
        self._frames, self._next = iter(self._reader), number


@dataclass(frozen=True)
class _Piece:
    """The state of one batch of targets at one frame, and the key of each row."""

    keys: tuple[int, ...]
    state: Any


class Session:
    """Follows targets from frame to frame, from whichever frame the page goes on.

    A target's run from one given box is known by a key that the page chooses: a corrected box begins a run with a
    key of its own, so that the states of the run before it stay as they were, for undo.
    """

    def __init__(self, engine: Engine[Any], frames: Frames) -> None:
        self.engine = engine
        self.frames = frames
        self._pieces: OrderedDict[int, list[_Piece]] = OrderedDict()

    def step(
        self, number: int, given: Mapping[int, Sequence[float]], kept: Sequence[int]
    ) -> tuple[np.ndarray, dict[int, Result], float] | None:
        """Follow targets from frame `number` into the next one.

        Of each target there is either a box x, y, w, h in that frame, `given` by key, or the key is `kept`: it was
        followed to that frame.

        Returns:
            The next frame, RGB uint8 (H, W, 3), the result of each key, and the seconds that the tracker took; None
            after the last frame.

        Raises:
            InputError: no target, a box or frame that cannot be used, or a target whose state at that frame is gone.
        """
        if not given and not kept:
            raise InputError("expected a target to follow, in `given` or `kept`; got none")
        after = self.frames.at(number + 1)
        if after is None:
            return None
        began = time.perf_counter()
        pieces = self._find(number, kept)
        if given:
            before = self.frames.at(number)
            if before is None:
                raise InputError(f"'{self.frames.clip.name}' has no frame {number}")
            state = self.engine.start(before, np.array(list(given.values()), dtype=np.float64))
            pieces.append(_Piece(tuple(given), state))
            self._put(number, pieces[-1])
        keys, state = pieces[0].keys, pieces[0].state
        for piece in pieces[1:]:
            keys, state = keys + piece.keys, state.join(piece.state)
        state = self.engine.step(after, state)
        self._put(number + 1, _Piece(keys, state))
        found = dict(zip(keys, results(state), strict=True))
        return after, found, time.perf_counter() - began

    def _find(self, number: int, keys: Sequence[int]) -> list[_Piece]:
        """The states of `keys` at a frame, in as few pieces as they were followed in."""
        wanted, found = set(keys), []
        for piece in reversed(self._pieces.get(number, [])):
            rows = [row for row, key in enumerate(piece.keys) if key in wanted]
            if not rows:
                continue
            if len(rows) < len(piece.keys):
                piece = _Piece(tuple(piece.keys[row] for row in rows), piece.state.rows(rows))
            found.append(piece)
            wanted -= set(piece.keys)
        if wanted:
            raise InputError(f"how a target looked at frame {number} is not kept any more: draw its box again there")
        return sorted(found, key=lambda piece: piece.keys)

    def _put(self, number: int, piece: _Piece) -> None:
        self._pieces.setdefault(number, []).append(piece)
        self._pieces.move_to_end(number)
        while len(self._pieces) > _KEPT_STEPS:
            self._pieces.popitem(last=False)
