"""vot-toolkit 0.7.3 runs its official short-term stacks with siamtrack's tracker by TraX, in an environment of its own.

    VOT_PYTHON=/tmp/vot/bin/python python -m pytest tests/integrations/test_vot_official.py

VOT_PYTHON is a Python with siamtrack, vot-toolkit 0.7.3 and vot-trax: docs/integrations.md says how to make it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from doc_pages import ROOT, blocks
from footage import moving_patches

PYTHON = os.environ.get("VOT_PYTHON")
COUNT = 24

pytestmark = pytest.mark.skipif(PYTHON is None, reason="VOT_PYTHON names no environment with vot-toolkit 0.7.3")


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


def toolkit(folder: Path, *arguments: str) -> str:
    command = [str(Path(str(PYTHON)).with_name("vot")), *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CI")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("stack", ["vot2018/shortterm", "vot2022/shorttermbox"])
def test_an_official_stack_runs_from_end_to_end(stack: str, tmp_path: Path) -> None:
    make_sequence(tmp_path / "sequences" / "walk")
    (tmp_path / "sequences" / "list.txt").write_text("walk\n")
    (tmp_path / "config.yaml").write_text(f"registry:\n- ./trackers.ini\nstack: {stack}\n")
    shown = ["\n".join(b.lines) for b in blocks(ROOT / "docs" / "integrations.md") if b.language == "ini"]
    (tmp_path / "trackers.ini").write_text(shown[0].replace("siamcar_lite0", "siamcar_pico"))
    toolkit(tmp_path, "evaluate", "--workspace", str(tmp_path), "siamtrack_trax")
    toolkit(tmp_path, "analysis", "--workspace", str(tmp_path), "--format", "json", "siamtrack_trax")
    (found,) = (tmp_path / "analysis").glob("*.json")
    experiments = json.loads(found.read_text())["results"]
    assert set(experiments) == {"baseline", "realtime", "unsupervised"}
    for name, experiment in experiments.items():
        kept = tmp_path / "results" / "siamtrack_trax" / name / "walk"
        assert any(kept.iterdir()), f"the toolkit kept no results of {name}"
        kinds = [analysis["type"].rpartition(".")[2] for analysis in experiment["parameters"]["analyses"]]
        (value,) = (v for kind, v in zip(kinds, experiment["results"], strict=True) if "Accuracy" in kind)
        assert 0.5 < value[0][0] < 1, name
