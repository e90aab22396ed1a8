"""Ctrl-C while libraries are being loaded: one line and exit code 130, whichever command it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")


def start(arguments: list[str], path: Path | None = None) -> subprocess.Popen[str]:
    """Start the program as a terminal does: in a process group of its own, where Ctrl-C has its usual meaning."""
    more = {"PYTHONPATH": str(path)} if path is not None else {}
    return subprocess.Popen(
        [sys.executable, "-m", "siamtrack", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | more,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def press_ctrl_c(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Interrupt the whole group, as a terminal does; what the program printed and its code."""
    os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=300)
    return process.returncode, printed, errors


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists(), process.communicate()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One sequence of three frames."""
    images = tmp_path / "data" / "a" / "img"
    images.mkdir(parents=True)
    for n in range(3):
        assert cv2.imwrite(str(images / f"{n}.png"), np.full((60, 80, 3), 40 * n, np.uint8))
    (images.parent / "groundtruth.txt").write_text("10,10,20,20\n" * 3)
    return tmp_path / "data"


def commands(data: Path, out: Path) -> dict[str, list[str]]:
    place = ["--data", str(data), "--out", str(out)]
    return {
        "eval": ["eval", "siamcar_lite0", "--engine", "torch", "--suite", "folder", *place],
        "tune": ["tune", "siamcar_lite0", "--data", str(data), "--out", f"{out}.toml"],
        "train": ["train", "siamcar_lite0", *place],
        "study": ["study", "center-bias", *place],
        "models": ["models"],
    }


@pytest.mark.parametrize("command", ["eval", "tune", "train", "study", "models"])
def test_one_line_and_no_traceback_while_torch_is_loaded(command: str, data: Path, tmp_path: Path) -> None:
    # a torch that takes its time, and that makes of an interrupt what the real one's core makes of it
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "torch.py").write_text(
        textwrap.dedent("""
            import pathlib, time

            pathlib.Path(__file__).with_name("loading").touch()
            try:
                time.sleep(60)
            except BaseException as error:
                raise ImportError("cannot import name '_C'") from error
        """)
    )
    process = start(commands(data, tmp_path / "out")[command], tmp_path / "slow")
    wait_for(tmp_path / "slow" / "loading", process)
    assert press_ctrl_c(process) == (130, "", "siamtrack: interrupted\n")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.toml").exists()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks for the library in /proc")
def test_the_real_torch_is_left_in_the_middle(data: Path, tmp_path: Path) -> None:
    process = start(commands(data, tmp_path / "out")["eval"])
    deadline = time.monotonic() + 300
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    assert press_ctrl_c(process) == (130, "", "siamtrack: interrupted\n")


def test_a_worker_that_is_still_starting_leaves_ctrl_c_to_its_parent(data: Path, tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(
        textwrap.dedent("""
            import os, pathlib, sys, time

            if "--multiprocessing-fork" in sys.orig_argv:
                draft = pathlib.Path(__file__).with_name("draft")
                draft.write_text(str(os.getpid()))
                draft.rename(draft.with_name("worker"))
                time.sleep(1)
        """)
    )
    process = start(commands(data, tmp_path / "out")["eval"], tmp_path / "slow")
    wait_for(tmp_path / "slow" / "worker", process)
    os.kill(int((tmp_path / "slow" / "worker").read_text()), signal.SIGINT)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and "success_auc" in printed, errors
