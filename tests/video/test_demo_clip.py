from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from footage import decode
from siamtrack.video import demo


@pytest.fixture(scope="module")
def clip() -> tuple[list[np.ndarray], np.ndarray]:
    frames, boxes = zip(*demo.demo_frames(), strict=True)
    return list(frames), np.array(boxes)


def test_clip_is_the_same_every_time(clip: tuple[list[np.ndarray], np.ndarray]) -> None:
    for n, (frame, box) in enumerate(islice(demo.demo_frames(), 4)):
        np.testing.assert_array_equal(frame, clip[0][n])
        np.testing.assert_array_equal(box, clip[1][n])


def test_clip_has_what_it_promises(clip: tuple[list[np.ndarray], np.ndarray]) -> None:
    frames, boxes = clip
    assert len(frames) == demo.DEMO_FRAMES
    assert all(frame.shape == (360, 640, 3) and frame.dtype == np.uint8 for frame in frames)
    poses = [demo.hero_pose(n) for n in range(len(frames))]
    pitches, lengths = [pose.pitch for pose in poses], [pose.length for pose in poses]
    assert max(pitches) > 30 and min(pitches) < -30
    assert max(lengths) > 1.6 * min(lengths)
    # The target is in the picture all the time, and no step is longer than half its size.
    assert (boxes[:, :2] >= 1).all() and (boxes[:, :2] + boxes[:, 2:] <= (639, 359)).all()
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    assert np.abs(np.diff(centres, axis=0)).max() < 15


def test_true_box_is_where_the_orange_fish_is(clip: tuple[list[np.ndarray], np.ndarray]) -> None:
    frames, boxes = clip
    shares = []
    for n, (frame, (x, y, w, h)) in enumerate(zip(frames, boxes, strict=True)):
        red, green, blue = frame.astype(int).transpose(2, 0, 1)
        orange = (red > 160) & (red - blue > 90) & (green > 85)
        rival = demo.rival_pose(n)  # where light falls on it, the red fish is orange too
        orange[int(rival.y) - 30 : int(rival.y) + 30, max(0, int(rival.x) - 50) : max(0, int(rival.x) + 50)] = 0
        rows, columns = np.nonzero(orange)
        inside = (columns >= x - 1) & (columns <= x + w) & (rows >= y - 1) & (rows <= y + h)
        assert inside.mean() > 0.99
        shares.append(orange.sum() / (w * h))
    # In the middle of the clip kelp hides most of it, for a moment; before and after it is whole.
    hidden = np.array(shares) < 0.5 * np.median(shares[:60])
    assert 5 <= hidden.sum() <= 40 and not hidden[:70].any() and not hidden[150:].any()


def test_written_clip_and_truth_belong_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = list(islice(demo.demo_frames(), 6))
    monkeypatch.setattr(demo, "demo_frames", lambda: iter(first))
    video, truth = demo.make_demo(tmp_path)
    np.testing.assert_allclose(np.loadtxt(truth, delimiter=","), [box for _, box in first])
    for got, (want, _) in zip(decode(video), first, strict=True):
        assert np.abs(got.astype(int) - want).mean() < 6
