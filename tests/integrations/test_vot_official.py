"""vot-toolkit 0.7.3 runs its official short-term stacks with siamtrack's tracker by TraX, in an environment of its own.

The lines of docs/integrations.md make the environment and run the toolkit, which takes minutes:

    python -m pytest -m slow tests/integrations/test_vot_official.py

VOT_PYTHON=vot073/bin/python in the environment names a Python that those lines made before.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from doc_pages import ROOT, blocks, shell_lines
from footage import moving_patches

PAGE = ROOT / "docs" / "integrations.md"
LINES = [line.text for line in shell_lines(PAGE) if "vot073" in line.text]
COUNT = 24

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the page calls vot073."""
    if given := os.environ.get("VOT_PYTHON"):
        return Path(given).absolute().parents[1]
    folder = tmp_path_factory.mktemp("toolkit") / "vot073"
    for line in LINES:
        if "--workspace" not in line:
            run(line, folder, ROOT)
    return folder


def run(line: str, environment: Path, cwd: Path) -> None:
    """A line of the page, in a shell that knows nothing of this environment's siamtrack."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CI")}
    command = line.replace("vot073", str(environment))
    done = subprocess.run(command, shell=True, cwd=cwd, env=variables, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def make_sequence(folder: Path) -> None:
    """A sequence as VOT's data sets have them, with an anchor at both ends."""
    frames, boxes = moving_patches(COUNT)
    (folder / "color").mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        cv2.imwrite(str(folder / "color" / f"{number:08d}.jpg"), frame[..., ::-1])
    np.savetxt(folder / "groundtruth.txt", boxes[:, 0], fmt="%.4f", delimiter=",")
    size = {"width": frames[0].shape[1], "height": frames[0].shape[0], "length": COUNT}
    about = {"name": folder.name, "fps": 30, "channel.default": "color", "channels.color": "color/%08d.jpg", **size}
    (folder / "sequence").write_text("".join(f"{key}={value}\n" for key, value in about.items()))
    (folder / "anchor.value").write_text("".join(f"{[1, 0, -1][(n > 0) + (n == COUNT - 1)]}\n" for n in range(COUNT)))


@pytest.mark.parametrize("stack", ["vot2018/shortterm", "vot2022/shorttermbox"])
def test_an_official_stack_runs_from_end_to_end(stack: str, environment: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    make_sequence(workspace / "sequences" / "walk")
    (workspace / "sequences" / "list.txt").write_text("walk\n")  # the toolkit fetches nothing then
    initialize, evaluate, analysis = [line for line in LINES if "--workspace" in line]
    run(initialize.replace("vot2022/shorttermbox", stack), environment, tmp_path)
    assert f"stack: {stack}" in (workspace / "config.yaml").read_text()
    (shown,) = ["\n".join(block.lines) for block in blocks(PAGE) if block.language == "ini"]
    (workspace / "trackers.ini").write_text(shown.replace("siamcar_lite0", "siamcar_pico"))
    run(evaluate, environment, tmp_path)
    run(f"{analysis} --format json", environment, tmp_path)
    (found,) = (workspace / "analysis").glob("*.json")
    experiments = json.loads(found.read_text())["results"]
    assert set(experiments) == {"baseline", "realtime", "unsupervised"}
    for name, experiment in experiments.items():
        kept = workspace / "results" / "siamtrack_trax" / name / "walk"
        assert any(kept.iterdir()), f"the toolkit kept no results of {name}"
        kinds = [analysis["type"].rpartition(".")[2] for analysis in experiment["parameters"]["analyses"]]
        (value,) = (v for kind, v in zip(kinds, experiment["results"], strict=True) if "Accuracy" in kind)
        assert 0.5 < value[0][0] < 1, name
