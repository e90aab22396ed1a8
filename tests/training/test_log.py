"""Logs of a training for other programs, by the programs themselves, offline."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from siamtrack.errors import ConfigError
from siamtrack.training.log import check_logs, open_log

ROWS = [{"step": 10, "total": 1.5, "lr": 0.1}, {"step": 20, "total": 1.25, "lr": 0.05}]


def test_weights_and_biases_keeps_the_rows_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with open_log("wandb", tmp_path / "run") as write:
        for row in ROWS:
            write(dict(row))
    (path,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    texts, ends = (b"total", b"1.25", b"lr", b"0.05"), time.monotonic() + 20
    while not all(text in path.read_bytes() for text in texts) and time.monotonic() < ends:
        time.sleep(0.1)  # a process of wandb's own writes the file, and goes on for a moment after the run's end
    kept = path.read_bytes()
    assert all(text in kept for text in texts) and kept.index(b"1.5") < kept.index(b"1.25")


def test_trackio_keeps_the_rows(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="trackio is not installed")
    code = f"""
import os
os.environ["TRACKIO_DIR"] = {str(tmp_path / "trackio")!r}
from pathlib import Path
from siamtrack.training.log import open_log
with open_log("trackio", Path({str(tmp_path / "run")!r})) as write:
    for row in {ROWS!r}:
        write(row)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200, capture_output=True)
    import sqlite3

    found = []
    for path in (tmp_path / "trackio").rglob("*.db"):
        with sqlite3.connect(path) as base:
            found += base.execute("select step, metrics from metrics order by step").fetchall()
    assert [step for step, _ in found] == [10, 20] and "1.25" in str(found[1][1])


def test_an_unknown_program_is_told() -> None:
    with pytest.raises(ConfigError, match=r"unknown --log 'tensorbord'; did you mean 'tensorboard'\?"):
        check_logs(["wandb", "tensorbord"])
