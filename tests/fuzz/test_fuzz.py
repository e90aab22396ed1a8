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
    places = [*sys.path, str(TESTS), str(TESTS / "formats")]
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


def test_a_campaign_sees_what_is_wrong(tmp_path: Path) -> None:
    """A command that is broken on purpose fails, is kept, and fails again from the file that was kept."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'siamtrack.formats.coco':\n"
        "            sys.meta_path.remove(self)\n"
        "            import siamtrack.formats.coco as coco\n"
        "            coco.parse_json = lambda data, where: {'images': [], 'annotations': 1 / 0}\n"
        "sys.meta_path.insert(0, Watch())\n"
    )
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        patch.setenv("PYTHONPATH", places)
        arguments = ("--seed", 1, "--count", 6, "--only", "data-coco", "--keep", tmp_path / "kept")
        code, said = fuzz(*arguments, folder=tmp_path)
        assert code == 1 and "ZeroDivisionError" in said
        (kept, *_) = sorted((tmp_path / "kept").glob("*.json"))
        code, said = fuzz(kept, folder=tmp_path)
        assert code == 1 and f"FAILS {kept.name}" in said
    code, said = fuzz(kept, folder=tmp_path)
    assert code == 0 and f"holds {kept.name}" in said


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_failing_commands_lose_nothing(seed: int, tmp_path: Path) -> None:
    count = 16 if seed == 1 else 150
    code, said = fuzz("--kills", count, "--seed", seed, "--list", folder=tmp_path)
    assert code == 0, said
    assert f"{count} disturbances" in said
