"""Protocols with trackers whose answers are known, against the rules written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamtrack.errors import ConfigError, DataError
from siamtrack.evaluation.evaluate import run_sequence, score_store
from siamtrack.evaluation.protocols import (
    EvaluationProtocol,
    LongTerm,
    MultiStart,
    OnePass,
    RealTime,
    Reset,
    SpatialRobustness,
    TemporalRobustness,
    Unsupervised,
    shifted_box,
)
from siamtrack.evaluation.scoring import score_results, scoring_task
from siamtrack.evaluation.store import Store
from siamtrack.evaluation.suites import SUITES, find_suite, with_speed
from siamtrack.evaluation.tracker_session import BadPredictionError, Session, read_prediction
from siamtrack.formats.datasets import LAYOUTS
from siamtrack.formats.records import Predictions, Truth
from siamtrack.formats.results import read_results, region_lines
from siamtrack.formats.sequence import VideoSequence, area_box, from_file, to_file
from siamtrack.metrics.ope import otb_curves
from toy_sets import SIZE, Blob, Stuck, path_of


class Drawn:
    """Frames drawn when asked for; the last rows of pixels hold the frame's number."""

    size = SIZE

    def __init__(self, boxes: np.ndarray) -> None:
        self.boxes = boxes

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int) -> np.ndarray:
        image = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
        if np.isfinite(self.boxes[index]).all():
            x, y, w, h = self.boxes[index].astype(int)
            image[y : y + h, x : x + w] = 255
        image[-1, 0] = index % 256
        return image


def sequence(count: int = 30, name: str = "s", **more: Any) -> VideoSequence:
    boxes = path_of(count)
    return VideoSequence(name, Drawn(boxes), boxes, **more)


class Numbers:
    """Notes which frames it was shown; answers with a box that never meets the block from frame `lost` on."""

    def __init__(self, lost: tuple[int, ...] = ()) -> None:
        self.lost = lost
        self.inits: list[int] = []
        self.updates: list[int] = []

    def init(self, frame: np.ndarray, box: Any) -> None:
        self.inits.append(int(frame[-1, 0, 0]))

    def update(self, frame: np.ndarray) -> Any:
        n = int(frame[-1, 0, 0])
        self.updates.append(n)
        return (50.0, 40.0, 2.0, 2.0) if n in self.lost else tuple(path_of(n + 1)[n])


def play(protocol: EvaluationProtocol, tracker: Any, s: VideoSequence, key: str) -> Predictions:
    return protocol.run(Session(tracker), s, key).run


def test_one_pass_starts_once_and_reports_every_frame() -> None:
    s, tracker = sequence(8), Numbers()
    run = play(OnePass(), tracker, s, "")
    assert tracker.inits == [0] and tracker.updates == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(run.regions, s.truth)


@given(st.lists(st.integers(1, 29), max_size=8))
@settings(max_examples=60, deadline=None)
def test_reset_follows_the_rule(lost: list[int]) -> None:
    s, tracker = sequence(30), Numbers(tuple(lost))
    run = play(Reset(), tracker, s, "001")
    expected, frame, tracking = [], 0, False
    for n in range(30):  # VOT's rule: fail at overlap 0, nothing for four frames, start again five after the failure
        if n < frame:
            expected.append(0)
        elif n == frame and not tracking:
            expected.append(1)
            tracking = True
        elif n in lost:
            expected.append(2)
            frame, tracking = n + 5, False
        else:
            expected.append(-1)
    assert run.codes is not None and run.codes.tolist() == expected
    text = region_lines(run).splitlines()
    assert [t for t in text if "," not in t] == [str(c) for c in expected if c >= 0]


def test_reset_starts_polygons_on_the_box_of_their_area() -> None:
    boxes = path_of(6)
    x, y, w, h = boxes.T
    square = np.stack([x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2], axis=1)
    s = VideoSequence("d", Drawn(boxes), square)
    found = area_box(square)
    # a diamond has the centre of its bounds; its sides' product is 61 where the bounds' area is 120
    np.testing.assert_allclose(found[:, :2] + found[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    np.testing.assert_allclose(found[:, 2] * found[:, 3], 61)
    np.testing.assert_allclose(found[:, 2] / found[:, 3], 1.2)
    assert s.box(0) == pytest.approx(tuple(found[0]))


@pytest.mark.parametrize(("key", "order"), [("00000002", range(2, 6)), ("00000005", range(5, -1, -1))])
def test_multistart_goes_forward_and_backward(key: str, order: range) -> None:
    anchors = np.array([0, 0, 1, 0, 0, -1])
    s, tracker = sequence(6, anchors=anchors), Numbers()
    assert MultiStart().keys(s) == ["00000002", "00000005"]
    run = play(MultiStart(), tracker, s, key)
    assert [*tracker.inits, *tracker.updates] == list(order)
    assert run.anchor == int(key) and len(run) == len(order)
    np.testing.assert_array_equal(run.regions[1:], s.truth[list(order)[1:]])


def test_multistart_without_anchors_is_refused() -> None:
    with pytest.raises(DataError, match=r"anchor\.value"):
        MultiStart().keys(sequence(5))


def test_unsupervised_and_longterm_keep_nothing_found_and_confidence() -> None:
    class Sure(Blob):
        def update(self, frame: np.ndarray) -> Any:
            n = int(frame[-1, 0, 0])
            box = super().update(frame)
            return None if n == 3 else type("R", (), {"box": box, "score": 0.1, "presence": n / 10})()

    s = sequence(6)
    for protocol in (Unsupervised(), LongTerm()):
        run = play(protocol, Sure(), s, "001")
        assert run.codes is not None and run.codes.tolist() == [1, -1, -1, -1, -1, -1]
        assert np.isnan(run.regions[3]).all()
        assert run.confidence is not None
        np.testing.assert_array_equal(run.confidence[[1, 2, 4]], [0.1, 0.2, 0.4])


@pytest.mark.parametrize("speed", [25.0, 12.0, 8.0, 5.0])
def test_real_time_repeats_the_last_answer(speed: float) -> None:
    tracker = Numbers()
    s = sequence(16)
    run = play(RealTime(Unsupervised(), fps=20, grace=3, speed=speed), tracker, s, "001")
    called = _toolkit_calls(16, 1 / speed, 0.05, 3)
    assert tracker.updates == called
    # 12 frames a second leave less than one interval of debt, 8 and 5 more
    assert (len(called) == 15) == (speed > 10)
    last = 0
    for n in range(1, 16):
        last = n if n in called else last
        np.testing.assert_array_equal(run.regions[n], s.truth[last])


def _toolkit_calls(count: int, cost: float, interval: float, grace: int) -> list[int]:
    """vot-toolkit's RealtimeTrackerRuntime, told as a plain simulation: which frames reach the tracker."""
    calls, debt, held = [], 0.0, False
    for n in range(count):
        if n and held and debt > interval:
            debt -= interval
            continue
        debt, held = 0.0, False
        if n:
            calls.append(n)
        if cost > interval:
            if grace:
                grace -= 1
            else:
                debt, held = cost - interval, True
    return calls


def test_temporal_robustness_has_twenty_starts() -> None:
    s = sequence(115, name="long")
    starts = TemporalRobustness().starts(s)
    assert len(starts) == 20 and starts[0] == 0 and starts == sorted(starts)
    assert starts[-1] == 115 - 20  # the last one that leaves twenty frames
    # floor(1 : 96/19 : 96) of the original, counted from zero
    assert starts[1:4] == [5, 10, 15]
    tracker = Numbers()
    key = TemporalRobustness().keys(s)[2]
    run = play(TemporalRobustness(), tracker, s, key)
    assert tracker.inits == [10] and len(run) == 105


def test_spatial_robustness_shifts_as_otb_does() -> None:
    box, size = (20.0, 10.0, 15.0, 25.0), (320, 240)
    expected = {
        "left": (18, 10, 15, 25),
        "right": (22, 10, 15, 25),
        "up": (20, 7, 15, 25),
        "down": (20, 13, 15, 25),
        "topLeft": (19, 8, 16, 27),  # 18.5 and 7.5 rounded away from zero, the far corner stays
        "topRight": (20, 8, 17, 27),
        "bottomLeft": (19, 10, 16, 28),
        "bottomRight": (20, 10, 17, 28),
        "scale_8": (22, 13, 12, 20),
        "scale_9": (21, 11, 14, 23),
        "scale_11": (19, 9, 17, 28),
        "scale_12": (19, 8, 18, 30),
    }
    for kind, wanted in expected.items():
        np.testing.assert_allclose(shifted_box(box, kind, size), wanted, err_msg=kind)
    np.testing.assert_allclose(shifted_box((1, 1, 15, 25), "left", size), (1, 1, 15, 25))  # cut to the image
    for kind in expected:  # of a box in the last pixel, one is left
        x, y, w, h = shifted_box((320, 240, 1, 1), kind, size)
        assert min(w, h) >= 1 and x + w <= 321 and y + h <= 241
    assert len(SpatialRobustness().keys(sequence(3))) == 12


def test_passes_are_pooled_within_a_sequence(tmp_path: Path) -> None:
    suite = find_suite("otb100-tre")
    s = VideoSequence("Basketball", Drawn(path_of(40)), path_of(40), origin=1)
    store = Store(tmp_path, suite.kind)
    run_sequence(Stuck(), s, suite.protocol, store)
    found = score_store(store, suite, [s])
    overlaps, count = np.zeros(21), 0
    for start in TemporalRobustness().starts(s):
        truth = Truth("x", s.annotation().regions[start:])
        run = Predictions(np.tile(truth.regions[0], (len(truth), 1)))
        overlaps += otb_curves(truth, run).success * len(truth)
        count += len(truth)
    assert found.metrics["success_auc"] == pytest.approx((overlaps / count).mean(), abs=1e-12)


@given(st.integers(0, 10_000_000), st.sampled_from([0, 1]), st.integers(0, 6))
def test_coordinates_of_files_come_back_to_the_last_bit(number: int, origin: int, digits: int) -> None:
    written = np.array([[float(f"{number / 10**digits:.{digits}f}"), 7.25, 3.5, 4.125]])
    np.testing.assert_array_equal(to_file(from_file(written, origin), origin), written)


@pytest.mark.parametrize("kind", ["reset", "multistart", "unsupervised", "longterm", "ope"])
def test_what_is_stored_comes_back(tmp_path: Path, kind: str) -> None:
    name = {"reset": "vot2018", "multistart": "vot2020", "unsupervised": "vot2018-unsupervised"}.get(kind)
    suite = find_suite(name or {"longterm": "vot2018-lt", "ope": "otb100"}[kind])
    assert suite.kind == kind
    s = sequence(12, anchors=np.array([1] + [0] * 10 + [-1]), origin=1)
    store = Store(tmp_path, kind)
    run_sequence(Numbers((4,)), s, suite.protocol, store)
    for key in suite.protocol.keys(s):
        fresh = play(suite.protocol, Numbers((4,)), s, key)
        kept = store.load(s, key)
        np.testing.assert_array_equal(kept.codes, fresh.codes)
        np.testing.assert_allclose(kept.regions, fresh.regions, atol=5e-5)
        assert kept.anchor == fresh.anchor
    assert (tmp_path / "results").is_dir()


# a suite of each protocol and each way of keeping results
STORED = ["otb100", "otb100-tre", "otb100-sre", "folder", "vot2018-lt"]
STORED += [f"vot{year}{kind}" for year in (2018, 2020) for kind in ("", "-realtime", "-unsupervised")]


@pytest.mark.parametrize("name", STORED)
def test_score_finds_what_eval_stored_and_gives_the_same_numbers(tmp_path: Path, name: str) -> None:
    suite = find_suite(name)
    if isinstance(suite.protocol, RealTime):
        suite = with_speed(suite, 15.0)
    anchors = np.eye(1, 60, dtype=int)[0]
    sequences = [sequence(60, name=n, anchors=anchors, origin=1) for n in ("one", "two.1")]
    store = Store(tmp_path, suite.kind)
    for s in sequences:
        run_sequence(Numbers((7, 23, 24)), s, suite.protocol, store)
    own = score_store(store, suite, sequences)
    truths = {s.name: s.annotation() for s in sequences}
    read = read_results(store.root, truths, suite.kind, realtime="realtime" in name)
    assert {n: len(runs) for n, runs in read.items()} == {s.name: len(suite.protocol.keys(s)) for s in sequences}
    again = score_results(suite, truths, read)
    assert dict(own.metrics) == pytest.approx(dict(again.metrics), nan_ok=True, abs=1e-12)
    assert own.rules == again.rules == suite.rules and own.suite == again.suite == name
    assert any(value > 0 for value in own.metrics.values())


def test_the_runs_against_the_clock_are_told_from_the_others(tmp_path: Path) -> None:
    for folder, left in (("baseline", 10), ("realtime", 30), ("unsupervised", 50)):
        (tmp_path / folder / "bag").mkdir(parents=True)
        (tmp_path / folder / "bag" / "bag_001.txt").write_text(f"1\n{left},2,3,4\n")
    found = [
        read_results(tmp_path, ["bag"], kind, realtime=clock)["bag"][0].regions[1, 0]
        for kind, clock in (("reset", False), ("reset", True), ("unsupervised", False))
    ]
    assert found == [10, 30, 50]


def test_a_pass_that_was_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    s = VideoSequence("Basketball", Drawn(path_of(60)), path_of(60))
    suite = find_suite("otb100-tre")
    store = Store(tmp_path, suite.kind)
    run_sequence(Blob(), s, suite.protocol, store)
    path = Path(store.place("Basketball", suite.protocol.keys(s)[1]))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    truths = {"Basketball": s.annotation()}
    with pytest.raises(DataError, match="Basketball: a pass of"):
        score_results(suite, truths, read_results(tmp_path, truths, "tre"))


def test_every_suite_has_rules_for_its_protocol_and_a_data_set() -> None:
    for name, suite in SUITES.items():
        assert name == suite.name and find_suite(name) is suite
        assert scoring_task(suite).rules == suite.rules
        assert suite.data in LAYOUTS
        assert (suite.stack.interval is not None) == (suite.data == "vot" and suite.kind != "longterm")


def test_answers_of_any_kind_are_understood() -> None:
    assert read_prediction([1, 2, 3, 4]).region == (1.0, 2.0, 3.0, 4.0)
    assert read_prediction(np.arange(8)).region[7] == 7.0
    assert np.isnan(read_prediction(None).region).all()
    for bad in ("box", [1, 2, 3], [1, 2, float("inf"), 4], {"x": 1}, object()):
        with pytest.raises(BadPredictionError):
            read_prediction(bad)


def test_suites_are_found_by_name() -> None:
    assert find_suite("OTB2015").name == "otb100" and find_suite("GOT-10k-val").name == "got10k-val"
    with pytest.raises(ConfigError, match="did you mean 'lasot'"):
        find_suite("lassot")
    assert len(SUITES) > 30
