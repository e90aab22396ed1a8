"""`TrackerSiam` where OpenCV's own trackers stand."""

from __future__ import annotations

from importlib import resources
from typing import Any

import cv2
import numpy as np
import pytest

import siamtrack
from siamtrack.errors import ConfigError, InputError
from siamtrack.integrations.cv2 import TrackerSiam

CLIP = resources.files("siamtrack.video") / "demo"
COUNT = 12


def sample(tracker: Any) -> list[tuple[bool, tuple[int, int, int, int]]]:
    """What a program does with any of OpenCV's trackers: open, choose a box, follow and draw it."""
    capture = cv2.VideoCapture(str(CLIP / "clip.mp4"))
    first = np.loadtxt(str(CLIP / "clip.txt"), delimiter=",", max_rows=1)
    found = []
    _, image = capture.read()
    tracker.init(image, [int(value) for value in first])
    for _ in range(COUNT):
        read, image = capture.read()
        assert read
        ok, box = tracker.update(image)
        if ok:
            cv2.rectangle(image, box, (200, 0, 0), 2)
        found.append((ok, box))
    capture.release()
    return found


def overlaps(found: list[tuple[bool, tuple[int, int, int, int]]]) -> list[float]:
    truth = np.loadtxt(str(CLIP / "clip.txt"), delimiter=",")[1 : COUNT + 1]
    scores = []
    for (_, a), b in zip(found, truth, strict=True):
        sides = np.minimum(np.add(a[:2], a[2:]), b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
        common = np.prod(np.maximum(sides, 0))
        scores.append(float(common / (a[2] * a[3] + b[2] * b[3] - common)))
    return scores


def test_a_program_made_for_opencvs_trackers_runs_with_this_one() -> None:
    theirs, tracker = sample(cv2.TrackerMIL.create()), TrackerSiam.create()
    ours = sample(tracker)
    for (ok, box), (found, place) in zip(theirs, ours, strict=True):
        assert isinstance(found, bool) and type(ok) is type(found)
        assert len(place) == len(box) == 4 and all(isinstance(value, int) for value in place)
    assert all(ok for ok, _ in ours) and np.mean(overlaps(ours)) > 0.6
    assert 0.5 < tracker.getTrackingScore() <= 1


def test_bgr_bgra_and_grey_frames_are_taken() -> None:
    capture = cv2.VideoCapture(str(CLIP / "clip.mp4"))
    frames = [capture.read()[1] for _ in range(4)]
    box = np.loadtxt(str(CLIP / "clip.txt"), delimiter=",", max_rows=1)

    def run(pictures: list[Any], tracker: Any) -> list[tuple[float, ...]]:
        tracker.init(pictures[0], box)
        return [tuple(tracker.update(picture).box) for picture in pictures[1:]]

    rgb = run([cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in frames], siamtrack.load())
    assert run(frames, siamtrack.load(colour="bgr")) == rgb
    assert run([cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA) for frame in frames], siamtrack.load(colour="bgr")) == rgb
    grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]
    threefold = run([np.dstack([frame] * 3) for frame in grey], siamtrack.load())
    assert run(grey, siamtrack.load(colour="bgr")) == threefold
    assert run([frame[..., None] for frame in grey], siamtrack.load(colour="bgr")) == threefold


def test_the_native_tracker_says_what_it_wants() -> None:
    tracker = siamtrack.load()
    for shape, kind in (((60, 80), "grey"), ((60, 80, 1), "grey"), ((60, 80, 4), "with alpha")):
        with pytest.raises(InputError, match=f"an RGB array .* {kind}; OpenCV's frames are taken with colour='bgr'"):
            tracker.init(np.zeros(shape, np.uint8), (10, 10, 20, 20))
    with pytest.raises(ConfigError, match="colour: expected 'rgb' or 'bgr'; got 'yuv'"):
        siamtrack.load(colour="yuv")  # type: ignore[arg-type]
    for frame in (np.zeros((60, 80, 3)), np.zeros((60, 80, 2), np.uint8), "clip.png"):
        with pytest.raises(InputError, match=r"a BGR, BGRA or grey array|a frame is a numpy array"):
            siamtrack.load(colour="bgr").init(frame, (10, 10, 20, 20))
    with pytest.raises(InputError, match=r"OpenCV's is a BGR, .*; got shape \(0, 80, 3\)"):
        siamtrack.load(colour="bgr").init(np.zeros((0, 80, 3), np.uint8), (10, 10, 20, 20))
    with pytest.raises(InputError, match="call init before update"):
        TrackerSiam.create().update(np.zeros((60, 80, 3), np.uint8))
