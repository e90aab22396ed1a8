"""The one display of progress: bars on a terminal; elsewhere nothing, or a line where a command promises one."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from siamtrack.apps.cli import progress


def test_bars_show_counts_and_notes_and_are_cleared_at_the_end() -> None:
    text = io.StringIO()
    with progress.Display("frames", Console(file=text, force_terminal=True, width=120)) as display:
        bar = display.bar("[clip].mp4", 40)
        bar.set(10, note="a [note]")
        display.log("a line that [stays]")
        assert display.live
    shown = text.getvalue()
    assert "[clip].mp4" in shown and "10/40" in shown and "a [note]" in shown and "a line that [stays]\n" in shown
    assert shown.endswith("\x1b[2K")  # the bar's line is erased


@pytest.mark.parametrize(("total", "told"), [(None, False), (40, True)])
def test_time_is_left_only_where_an_end_is_known(total: int | None, told: bool) -> None:
    text = io.StringIO()
    with progress.Display("frames", Console(file=text, force_terminal=True, width=120)) as display:
        display.bar("camera", total).set(10)
    assert ("left" in text.getvalue()) is told


def test_nothing_is_shown_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.counting("packing") as report:
        for done in range(5):
            report(done, 5)
    assert capsys.readouterr() == ("", "")


def test_training_logs_a_line_a_row(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 100.0, 102.0, 102.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with progress.training(40) as show:  # resumed at step 10
        show({"step": 10, "total": 1.5, "pairs_per_second": 20})
        show({"step": 15, "success": 0.25})
        show({"step": 20, "total": 1.25, "pairs_per_second": 20})
    assert capsys.readouterr().err.splitlines() == [
        "step 10/40: loss 1.5000, 20.0 pairs/s",
        "step 15: success 0.2500",
        "step 20/40: loss 1.2500, 20.0 pairs/s, 0:00:04 left",
    ]


def test_a_terminal_is_told_what_is_being_loaded(tmp_path: Path) -> None:
    main, side = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "siamtrack",
        "demo",
        "--end",
        "1",
        "--model",
        "siamcar_pico",
        "--out",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=side) as program:
        os.close(side)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while part := os.read(main, 4096):
                shown += part
        assert program.wait(60) == 0
    os.close(main)
    assert shown.startswith(b"loading siamcar_pico ...\r\x1b[K")
