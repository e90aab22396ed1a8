from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import siamtrack


def test_every_public_name_exists() -> None:
    for name in siamtrack.__all__:
        assert getattr(siamtrack, name) is not None
    with pytest.raises(AttributeError):
        _ = siamtrack.nothing  # type: ignore[attr-defined]


def test_importing_the_package_and_asking_for_help_does_not_load_torch() -> None:
    code = "import sys, siamtrack, siamtrack.apps.cli.main; print('torch' in sys.modules, 'cv2' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from siamtrack.apps.cli.main import run; run()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)


def test_help_lists_the_commands() -> None:
    out = cli("--help")
    assert out.returncode == 0
    for command in ("track", "demo", "models", "train", "score", "eval"):
        assert command in out.stdout


def test_an_unknown_model_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    import cv2

    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((60, 80, 3), 40 * i, np.uint8))
    out = cli("track", str(tmp_path), "--box", "10,10,20,20", "--model", "siamcar_lite")
    assert out.returncode == 2
    assert "siamcar_lite0" in out.stderr and "Traceback" not in out.stderr
    assert len(out.stderr.strip().splitlines()) == 1


def test_loading_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(siamtrack.SiamtrackError, match="foreign"):
        siamtrack.load(path)
    with pytest.raises(siamtrack.SiamtrackError, match="nowhere"):
        siamtrack.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(siamtrack.SiamtrackError, match="cuda"):
        siamtrack.load(device="cuda:99")
