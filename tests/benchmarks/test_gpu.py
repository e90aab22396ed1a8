"""The script that measures on GPUs: it runs on a CPU too, and keeps what it has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


def called(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_every_part_runs_on_a_cpu_and_others_results_stay(tmp_path: Path) -> None:
    out = tmp_path / "cpu.json"
    out.write_text(json.dumps({"earlier": {"rows": [1]}}))
    parts = ["machine", "waits", "parity", "fps", "training", "onnxruntime"]
    run = called("--out", out, "--device", "cpu", "--quick", "--parts", *parts)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(out.read_text())
    assert set(found) == {"earlier", *parts} and all(found[part]["ended"] == "done" for part in parts)
    plain, low = found["parity"]["rows"]
    assert plain["one_step_px"] == plain["free_px"] == 0 and 0 < low["one_step_px"] < 5
    assert all(row["frames_per_s"] > 0 for row in found["fps"]["rows"])
    assert found["training"]["rows"][0]["pairs_per_s_together"] > 0
    assert found["onnxruntime"]["rows"][0]["free_px"] == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    run = called("--out", tmp_path / "gpu.json")
    assert run.returncode == 2 and run.stderr.count("\n") == 1 and "no CUDA GPU here" in run.stderr
    assert not (tmp_path / "gpu.json").exists()
