"""Short campaigns of `scripts/fuzz`, with fixed seeds, and all cases that ever failed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux: forks, limits and /proc")


def fuzz(*arguments: object, folder: Path) -> tuple[int, str]:
    """Run `tests/fuzz/campaign.py` as `scripts/fuzz` does; in a process of its own, which it forks for every case."""
    places = [*sys.path, str(TESTS)]
    done = subprocess.run(
        [sys.executable, str(HERE / "campaign.py"), *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout + done.stderr


def test_broken_inputs_and_strange_arguments_end_in_one_line(tmp_path: Path) -> None:
    code, said = fuzz("--seed", 20, "--count", 40, "--keep", tmp_path / "kept", folder=tmp_path)
    assert code == 0, said
    assert re.search(r"seed 20: 40 cases in .* 0 failed", said)


def test_cases_that_once_failed(tmp_path: Path) -> None:
    code, said = fuzz(HERE / "cases", folder=tmp_path)
    assert code == 0, said


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_failing_commands_lose_nothing(seed: int, tmp_path: Path) -> None:
    count = 16 if seed == 1 else 150
    code, said = fuzz("--kills", count, "--seed", seed, "--list", folder=tmp_path)
    assert code == 0, said
    assert f"{count} disturbances" in said
