"""Scores on disk: nothing is lost, nothing is mixed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import pytest
from quick import sequences

from siamtrack.errors import ConfigError, DataError
from siamtrack.io import alone_in
from siamtrack.tuning.scores import Ledger, sequence_digest

MODEL = {"weights": "abc", "preset": {"track": {"window": 0.4, "scales": (1.0,)}}}


def test_scores_come_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.scores.jsonl"
    ledger = Ledger.open(path, MODEL)
    ledger.add({"track.window": 0.3, "track.scales": (0.9, 1.0)}, "bag", "d", 0.123456789012345)
    ledger.add({}, "bag", "d", 0.5)
    again = Ledger.open(path, MODEL)
    assert len(again) == 2
    assert again.get({"track.scales": (0.9, 1.0), "track.window": 0.3}, "bag", "d") == 0.123456789012345
    assert again.get({}, "bag", "d") == 0.5
    assert again.get({}, "bag", "other") is None and again.get({}, "book", "d") is None


@pytest.mark.parametrize("cut", [1, 2, 10, 60])
def test_a_line_that_a_kill_cut_short_is_measured_again_and_harms_no_other(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl"
    ledger = Ledger.open(path, MODEL)
    ledger.add({}, "bag", "d", 0.5)
    ledger.add({}, "book", "d", 0.6)
    path.write_bytes(path.read_bytes()[:-cut])
    again = Ledger.open(path, MODEL)
    assert again.get({}, "bag", "d") == 0.5
    assert again.get({}, "book", "d") == (0.6 if cut == 1 else None)  # its end of line alone is missing
    again.add({}, "man", "d", 0.7)
    last = Ledger.open(path, MODEL)
    assert last.get({}, "bag", "d") == 0.5 and last.get({}, "man", "d") == 0.7


def test_scores_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Ledger.open(path, MODEL)
    with pytest.raises(ConfigError, match="made with other weights; "):
        Ledger.open(path, MODEL | {"weights": "new"})
    path.write_text("[track]\n")
    with pytest.raises(DataError, match="expected the scores"):
        Ledger.open(path, MODEL)


def test_rows_that_are_no_scores_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Ledger.open(path, MODEL)
    with path.open("a") as stream:
        for row in ({"success_auc": float("nan"), "setting": {}}, {"success_auc": "0.5", "setting": {}}, 7):
            stream.write(json.dumps(row) + "\n")
    assert len(Ledger.open(path, MODEL)) == 0


def test_another_truth_is_another_sequence(tmp_path: Path) -> None:
    (one,) = sequences(tmp_path, {"a": 0.4})
    assert sequence_digest(one) == sequence_digest(replace(one, name="b"))
    assert sequence_digest(one) != sequence_digest(replace(one, truth=one.truth + 1))


def test_of_two_that_begin_at_once_the_second_sees_the_first(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with ThreadPoolExecutor(1) as other:
        with alone_in(tmp_path):
            late = other.submit(Ledger.open, path, MODEL | {"weights": "new"})
            assert not wait([late], 0.3).done
            path.write_text(json.dumps({"format": 1, **MODEL}) + "\n")
        with pytest.raises(ConfigError, match="made with other weights; "):
            late.result(20)
