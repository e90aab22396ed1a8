"""`benchmarks/curve.py` over all folders of a place, as the pages show it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from siamtrack.config import load_preset, preset_to_json
from siamtrack.models.weights import save_weights

ROOT = Path(__file__).resolve().parents[2]


def test_runs_that_were_not_validated_are_left_out(tmp_path: Path) -> None:
    preset = load_preset("siamcar_pico", {"train.batch": 10})
    for name, rows in (("good", [{"step": 5, "success": 0.25}]), ("bare", [{"step": 5, "total": 1.0}])):
        (tmp_path / name).mkdir()
        save_weights(tmp_path / name / "x.safetensors", preset.model.build(), {"preset": preset_to_json(preset)})
        (tmp_path / name / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "begun").mkdir()
    command = [sys.executable, str(ROOT / "benchmarks" / "curve.py")]
    runs = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run([*command, *runs], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["| run | 50 |", "|---|---|", "| `good` | 0.250 |"]
    assert done.stderr.count("left out: ") == 2 and "no validation rows" in done.stderr
    none = subprocess.run([*command, runs[0]], capture_output=True, text=True, timeout=300)
    assert none.returncode == 2 and "none of these folders is a finished run" in none.stderr
