"""A target whose box is given in several frames: followed forwards and backwards between them, and blended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from siamtrack.errors import InputError
from siamtrack.geometry.inputs import Box
from siamtrack.geometry.overlap import rectangle_iou
from siamtrack.tracking.tracker import MultiTracker, Result, status_of

Frames = Callable[[int, int | None], Iterable[np.ndarray]]
"""Opens the frames from a number up to, and without, another one."""

_KEPT = 512 << 20  # bytes of frames held in memory
_AGREE = 0.3  # overlap below which two boxes are two guesses, of which one must be wrong


def follow_keys(
    tracker: MultiTracker,
    read: Frames,
    keys: Mapping[int, Sequence[float]],
    start: int = 0,
    end: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[int, Result]:
    """Track one target through frames `start` to before `end`, given its box in some of them.

    After a key it is followed forwards, before one backwards. Between two keys each frame has both: the mean of the
    boxes, in which the nearer key and the more present box weigh more; where the two hardly overlap, the one of them
    that weighs more. A given box stays as it is.

    Args:
        tracker: of any model.
        read: opens the frames, RGB uint8 (H, W, 3); frames are read again where a stretch between two keys does not
            fit into memory.
        keys: by the number of the frame, boxes x, y, w, h in continuous pixels.
        start: the first frame.
        end: the first frame not to track; None for all.
        progress: called with the number of frames that have been tracked, forwards or backwards.

    Returns:
        By the number of the frame; keys have score and presence 1.

    Raises:
        InputError: a box or frame that cannot be used, or no such frame.
    """
    found: dict[int, Result] = {}
    recent: deque[np.ndarray] | None = None
    before = start - 1  # the key before, or the frame before all
    done = 0
    for number, frame in enumerate(read(start, end), start):
        if recent is None:
            recent = deque(maxlen=max(2, _KEPT // max(1, frame.nbytes)))
        if number in keys:
            tracker.init(frame, [keys[number]])
            found[number] = Result(Box(*map(float, keys[number])), 1.0, 1.0, "tracking")
            for past, result in _backwards(tracker, read, recent, before, number):
                found[past] = _blend(found[past], result, before, past, number) if past in found else result
                done += 1
                progress(done)
            tracker.init(frame, [keys[number]])
            recent.clear()
            before = number
        else:
            if before >= start:
                found[number] = tracker.update(frame)[0]
            recent.append(frame)
        done += 1
        progress(done)
    if missing := sorted(keys.keys() - found.keys()):
        raise InputError(f"a box is given for frame {missing[0]}, but the frames end before it")
    return found


def _backwards(
    tracker: MultiTracker, read: Frames, recent: Sequence[np.ndarray], before: int, key: int
) -> Iterator[tuple[int, Result]]:
    """Follow from frame `key` back to the one after `before`; `recent` are the last frames before `key`."""
    number = key
    frames = list(recent)
    while True:
        for frame in reversed(frames):
            number -= 1
            yield number, tracker.update(frame)[0]
        if number <= before + 1:
            return
        frames = list(read(max(before + 1, number - len(recent)), number))
        if not frames:
            return


def _blend(ahead: Result, back: Result, first: int, number: int, last: int) -> Result:
    """One result of two: `ahead` was followed from frame `first` on, `back` from frame `last` back."""
    share = (number - first) / (last - first)
    weights = np.array([(1 - share) * ahead.presence, share * back.presence]) + 1e-9
    weights /= weights.sum()
    one, other = np.array(ahead.box), np.array(back.box)
    if rectangle_iou(one[None], other[None]) < _AGREE:
        return ahead if weights[0] >= weights[1] else back
    box = weights[0] * one + weights[1] * other
    score = float(weights @ (ahead.score, back.score))
    presence = max(ahead.presence, back.presence)
    return Result(Box(*box.tolist()), score, presence, status_of(presence))
