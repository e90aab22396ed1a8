"""One tracker on one sequence -> one number, as `siamtrack eval --suite folder` gives it; nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch

from siamtrack.evaluation.store import region_lines
from siamtrack.evaluation.suites import find_suite
from siamtrack.evaluation.tracker_session import Session, TrackerLike
from siamtrack.formats.parse import parse_regions
from siamtrack.formats.records import Predictions
from siamtrack.formats.sequence import VideoSequence, to_file
from siamtrack.metrics.score import score_runs

__all__ = ["score_sequence"]


def score_sequence(tracker: TrackerLike, sequence: VideoSequence) -> float:
    """The area under the success curve in [0, 1] of one pass over a sequence, by OTB's rules.

    On one thread, as all evaluations: a result must not depend on the number of cores.

    Raises:
        SiamtrackError: a frame that cannot be read, an answer that is no box, a tracker that cannot run.
    """
    suite = find_suite("folder")
    with _one_thread():
        (key,) = suite.way.keys(sequence)
        trial = suite.way.run(Session(tracker), sequence, key)
    raw = Predictions(to_file(trial.run.regions, sequence.origin), trial.run.codes)
    # Through the text of a result file, whose decimals are what `siamtrack eval` scores.
    run = parse_regions(region_lines(raw).encode(), sequence.name)
    truths = {sequence.name: sequence.annotation()}
    found = score_runs(suite.benchmark, truths, {sequence.name: run}, suite.rules)
    return float(np.float64(found.sequences[sequence.name]["success_auc"]))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
