"""A worker process: builds a tracker, runs the sequences that it is given and writes their results."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

import cv2
import numpy as np

from siamtrack.errors import DataError
from siamtrack.evaluation.protocols import EvaluationProtocol
from siamtrack.evaluation.tracker_session import BadPredictionError, Session, TrackerLike
from siamtrack.formats.sequence import VideoSequence

if TYPE_CHECKING:
    from siamtrack.evaluation.runner import TrackerFactory
    from siamtrack.evaluation.store import Store

__all__ = ["run_sequence", "work"]

_BEAT_EVERY = 0.2


def work(pipe: Connection, spec: TrackerFactory, protocol: EvaluationProtocol, store: Store, seed: int) -> None:
    """Serve the parent at the other end of `pipe` until it sends None or goes away.

    Sent are ("ready",), ("beat", frames), ("done",), and (kind, message) of a failure; ("broken", message) if
    the tracker cannot be built.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _end_with_parent()
    try:
        tracker = spec.build()
    except Exception as error:
        pipe.send(("broken", _line(error)))
        return
    _one_thread()
    pipe.send(("ready",))
    while (sequence := _receive(pipe)) is not None:
        try:
            pipe.send(_answer(tracker, sequence, protocol, store, seed, pipe))
        except OSError:
            return


def _receive(pipe: Connection) -> VideoSequence | None:
    try:
        received: VideoSequence | None = pipe.recv()
    except (EOFError, OSError):
        return None
    return received


def _answer(
    tracker: TrackerLike,
    sequence: VideoSequence,
    protocol: EvaluationProtocol,
    store: Store,
    seed: int,
    pipe: Connection,
) -> tuple[str, ...]:
    """Run a sequence and return what the parent is told of it."""
    try:
        run_sequence(tracker, sequence, protocol, store, seed, _beater(pipe))
    except BadPredictionError as error:
        return "answer", _line(error)
    except DataError as error:
        return "data", _line(error)
    except Exception as error:  # a tracker may raise anything, and the rest goes on
        return "raised", _line(error)
    return ("done",)


def run_sequence(
    tracker: TrackerLike,
    sequence: VideoSequence,
    protocol: EvaluationProtocol,
    store: Store,
    seed: int,
    beat: Callable[[], None] | None = None,
) -> None:
    """Make the runs of a sequence that the store does not hold yet, and write each when it is complete."""
    for key in protocol.keys(sequence):
        if not store.has(sequence.name, key):
            _seed(seed, f"{sequence.name}/{key}")
            store.save(sequence, key, protocol.run(Session(tracker, beat), sequence, key))


def _seed(seed: int, name: str) -> None:
    """Make random numbers a function of the seed and the run, whichever process makes it and when."""
    value = zlib.crc32(f"{seed}/{name}".encode())
    random.seed(value)
    np.random.seed(value)
    cv2.setRNGSeed(value & 0x7FFFFFFF)
    if torch := sys.modules.get("torch"):  # a tracker without torch need not wait for its import
        torch.manual_seed(value)


def _one_thread() -> None:
    """Use one thread a process.

    Results must not depend on the number of cores, and workers share them anyway.
    """
    cv2.setNumThreads(1)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _beater(pipe: Connection) -> Callable[[], None]:
    """Return a function that counts frames and tells the parent now and then."""
    frames, told = 0, 0.0

    def beat() -> None:
        nonlocal frames, told
        frames += 1
        now = time.monotonic()
        if now - told >= _BEAT_EVERY:
            told = now
            pipe.send(("beat", frames))

    return beat


def _end_with_parent() -> None:
    """End this process when its parent is gone, however that was killed."""
    parent = parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return text if isinstance(error, BadPredictionError | DataError) else f"{kind}: {text}" if text else kind
