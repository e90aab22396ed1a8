"""Evaluation and scoring agree: what `eval` runs and stores, `score` reads back to the same sequences and numbers.

For every layout as it is distributed, from a folder and from a zip file, with and without the frames.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made_sets
from siamtrack.errors import DataError
from siamtrack.evaluation.evaluate import read_suite, score_store
from siamtrack.evaluation.scoring import score
from siamtrack.evaluation.store import Store
from siamtrack.evaluation.suites import Suite, find_suite
from siamtrack.evaluation.tracker_session import Session
from siamtrack.formats.datasets import read_truths
from siamtrack.formats.records import Truth
from siamtrack.formats.sequence import VideoSequence
from siamtrack.metrics.scores import Scores


class Drifter:
    """Reports the box it was given, moved a little more in each frame: overlaps of all sizes, and losses."""

    def init(self, frame: np.ndarray, box: tuple[float, ...]) -> None:
        self.box = np.array(box, dtype=float)
        self.steps = np.random.default_rng(int(self.box.sum() * 1000) % 2**32)

    def update(self, frame: np.ndarray) -> tuple[float, float, float, float]:
        x, y, w, h = self.box = self.box + self.steps.normal(0, 1.0, 4) * (1, 1, 0.1, 0.1)
        return float(x), float(y), float(w), float(h)


def evaluated(suite: Suite, data: Path, out: Path) -> tuple[list[VideoSequence], Store]:
    sequences = read_suite(suite, data)
    store = Store.open(out, suite.kind, {"suite": suite.name})
    for sequence in sequences:
        for key in suite.protocol.keys(sequence):
            store.save(sequence, key, suite.protocol.run(Session(Drifter()), sequence, key))
    return sequences, store


def zipped(folder: Path, *, inside: bool = False) -> Path:
    """A zip file of what a folder holds, or of the folder itself."""
    name = str(folder.with_name(f"{folder.name}-{'inside' if inside else 'flat'}"))
    if inside:
        return Path(shutil.make_archive(name, "zip", folder.parent, folder.name))
    return Path(shutil.make_archive(name, "zip", folder))


def without_frames(folder: Path) -> Path:
    copy = folder.with_name("annotations")
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.jpg", "*.png"))
    return copy


def assert_equal(found: Truth, expected: Truth, sized: bool) -> None:
    assert len(found) == len(expected)
    np.testing.assert_array_equal(found.regions, expected.regions)
    for ours, theirs in ((found.visible, expected.visible), (found.anchors, expected.anchors)):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_array_equal(ours, theirs)
    assert found.tags.keys() == expected.tags.keys()
    for tag, mask in found.tags.items():
        np.testing.assert_array_equal(mask, expected.tags[tag])
    assert found.size == expected.size or not sized


def numbers(scores: Scores) -> dict[str, object]:
    return scores.as_dict(curves=True)


@pytest.mark.parametrize("name", made_sets.SUITES)
@settings(max_examples=2, deadline=None, database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_score_gives_what_eval_gave(name: str, seed: int) -> None:
    suite = find_suite(name)
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data"
        made = made_sets.SUITES[name](data, np.random.default_rng(seed))
        sequences, store = evaluated(suite, data, Path(place) / "out")
        assert {s.name: len(s) for s in sequences} == made
        expected = score_store(store, suite, sequences)
        packed = zipped(data)
        again = read_suite(suite, packed)
        assert [s.name for s in again] == [s.name for s in sequences]
        np.testing.assert_array_equal(again[-1].frames[len(again[-1]) - 1], sequences[-1].frames[len(again[-1]) - 1])
        annotations = without_frames(data)
        tells_size = suite.data != "vot" or int(name[3:7]) >= 2018  # the file `sequence` does
        for truth, sized in ((data, True), (packed, True), (zipped(data, inside=True), True), (annotations, False)):
            if truth == annotations and not tells_size:
                with pytest.raises(DataError, match="no image size for"):
                    score(suite, truth, store.root / "results")
                continue
            if truth == annotations and name == "nfs30":
                continue  # without frames nothing tells that one is too many
            found = read_truths(truth, suite.data, only=suite.only)
            assert sorted(found) == sorted(made)
            for sequence in sequences:
                assert_equal(found[sequence.name], sequence.annotation(), sized)
            for results in (store.root / "results", zipped(store.root / "results")):
                assert numbers(score(suite, truth, results)) == numbers(expected)


@pytest.mark.parametrize("name", ["otb100-tre", "otb100-sre"])
def test_robustness_suites_too(tmp_path: Path, name: str) -> None:
    suite = find_suite(name)
    made_sets.otb(tmp_path / "data", np.random.default_rng(1))
    for long in ("David", "Freeman3", "Freeman4", "Diving"):
        shutil.rmtree(tmp_path / "data" / long)
    sequences, store = evaluated(suite, tmp_path / "data", tmp_path / "out")
    expected = score_store(store, suite, sequences)
    assert numbers(score(suite, zipped(tmp_path / "data"), store.root / "results")) == numbers(expected)


def test_published_results_of_all_annotated_frames_are_taken(tmp_path: Path) -> None:
    """Tiger1 has 354 annotated frames, of which the benchmark leaves the first five out; results come with either."""
    suite = find_suite("otb100")
    made_sets.otb(tmp_path / "data", np.random.default_rng(3))
    sequences, store = evaluated(suite, tmp_path / "data", tmp_path / "out")
    expected = numbers(score_store(store, suite, sequences))
    file = tmp_path / "out" / "results" / "Tiger1.txt"
    rows = file.read_text().splitlines()
    assert len(rows) == 349
    file.write_text("\n".join(["9,9,9,9"] * 5 + rows) + "\n")
    assert numbers(score(suite, tmp_path / "data", store.root / "results")) == expected
    for rule in ("pysot", "got10k-toolkit"):
        kept = numbers(score(suite, tmp_path / "data", store.root / "results", rule))
        file.write_text("\n".join(rows) + "\n")
        assert numbers(score(suite, tmp_path / "data", store.root / "results", rule)) == kept
        file.write_text("\n".join(["9,9,9,9"] * 5 + rows) + "\n")
    # a pack of annotations with all 354 rows, as the official file has them, is cut as the data set itself
    flat = tmp_path / "gt"
    flat.mkdir()
    for sequence in sequences:
        source = tmp_path / "data" / sequence.name / "groundtruth_rect.txt"
        if source.is_file():
            shutil.copy(source, flat / f"{sequence.name}.txt")
    found = read_truths(flat, "otb")
    assert len(found["Tiger1"]) == 349
    assert set(found["Tiger1"].tags) == {"IV", "OCC", "DEF", "MB", "FM", "IPR", "OPR"}
    file.write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(DataError, match="Tiger1: 348 rows for 349 frames"):
        score(suite, tmp_path / "data", store.root / "results")


def test_published_kcf_and_bacf_results_are_scored(metrics_pack: Path) -> None:
    """Their Tiger1 has 354 rows; without it the other sequences' scores are the recorded ones."""
    place = metrics_pack / "results" / "otb100" / "BACF.zip"
    found = score("otb100", metrics_pack / "gt" / "otb100.zip", place)
    less = score("otb100", metrics_pack / "gt" / "otb100.zip", place, leave_out=["Tiger1"])
    assert len(found.sequences) == 100 and len(less.sequences) == 99
    assert all(found.sequences[name] == less.sequences[name] for name in less.sequences)
    assert 0.3 < found.sequences["Tiger1"]["success_auc"] < 1
