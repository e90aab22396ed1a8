"""The plain install: commands that run where torch, OpenCV, safetensors and onnx are not installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]

# Python imports this module at its start; what it hides cannot be imported, as if it were not installed.
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "cv2", "safetensors", "onnx", "onnxscript"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture
def hidden(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python without the packages."""
    folder = tmp_path / "hide"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE)
    paths = [str(folder), str(ROOT / "src")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def run(
    python: str, environment: dict[str, str] | None, cwd: Path, *arguments: object
) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "siamtrack", *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300)


def all_commands(python: str, environment: dict[str, str] | None, folder: Path, end: int) -> None:
    """Every command of the plain install, on the demo clip and a folder of images."""

    def done(*arguments: object) -> str:
        out = run(python, environment, folder, *arguments)
        assert out.returncode == 0, out.stderr
        return out.stdout

    assert f"tracked {end} frames" in done("demo", "--out", "demo", "--end", end)
    done("track", "demo/clip.mp4", "--box", "132,170,100,72", "--output", "boxes.csv", "--end", 5)
    assert len((folder / "boxes.csv").read_text().splitlines()) == 6
    images = folder / "data" / "square" / "img"
    images.mkdir(parents=True)
    for n in range(6):
        frame = np.full((120, 160, 3), 90, np.uint8)
        frame[40:64, 50 + 3 * n : 80 + 3 * n] = (200, 40, 30)
        Image.fromarray(frame).save(images / f"{n:04d}.jpg")
    truth = "".join(f"{50 + 3 * n},40,30,24\n" for n in range(6))
    (images.parent / "groundtruth.txt").write_text(truth)
    printed = done("eval", "siamcar_pico", "--suite", "folder", "--data", "data", "--out", "results", "--processes", 1)
    assert "siamcar_pico" in printed and "results: results/siamcar_pico/folder" in printed
    raw = folder / "results" / "siamcar_pico" / "folder" / "results"
    done("score", "--suite", "folder", "--truth", "data", "--results", raw)
    assert "siamcar_lite0" in done("models")


def test_commands_run_without_torch(hidden: dict[str, str], tmp_path: Path) -> None:
    all_commands(sys.executable, hidden, tmp_path, 4)
    out = run(sys.executable, hidden, tmp_path, "report", "results", "--out", "report")
    assert out.returncode == 0 and (tmp_path / "report").is_dir(), out.stderr


def test_the_page_without_a_server_is_written_without_torch(hidden: dict[str, str], tmp_path: Path) -> None:
    shipped = ROOT / "src" / "siamtrack" / "weights" / "siamcar_lite0.onnx"
    own = tmp_path / "own.onnx"
    shutil.copy(shipped, own)
    runtime = tmp_path / "onnxruntime-web" / "dist"
    runtime.mkdir(parents=True)
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        (runtime / name).write_text(name)
    for model in ("siamcar_lite0", str(own)):
        page = tmp_path / f"page of {Path(model).stem}"
        given = ("--model", model, "--onnxruntime-web", runtime.parent, "--label", "fish", "--label", "crab")
        out = run(sys.executable, hidden, tmp_path, "app", "--static", page, *given)
        assert out.returncode == 0, out.stderr
        assert (page / "model.onnx").read_bytes() == shipped.read_bytes()
        about = json.loads((page / "page.json").read_text())
        assert (about["model"], about["labels"]) == ("siamcar_lite0", ["fish", "crab"])
    for model, told in (("siamcar_lite", "did you mean 'siamcar_lite0'"), ("siamcar_r50", "no weights come with")):
        out = run(sys.executable, hidden, tmp_path, "app", "--static", "none", "--model", model)
        assert out.returncode == 2 and told in out.stderr and out.stderr.count("\n") == 1
    out = run(sys.executable, hidden, tmp_path, "app", "--static", "none", "--set", "track.window=0.3")
    assert out.returncode == 2 and "'.[export,opencv]'" in out.stderr and out.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("track", "demo/clip.mp4", "--box", "132,170,100,72", "--set", "track.window=0.3"),
        ("train", "siamcar_pico", "--data", "shards", "--out", "run"),
        ("tune", "siamcar_pico", "--data", "data", "--out", "tuned.toml"),
        ("eval", "opencv:mil", "--suite", "folder", "--data", "data", "--out", "results"),
    ],
)
def test_what_needs_torch_says_how_to_get_it(
    arguments: tuple[str, ...], hidden: dict[str, str], tmp_path: Path
) -> None:
    if arguments[0] == "track":
        (tmp_path / "demo").mkdir()
        source = ROOT / "src" / "siamtrack" / "video" / "demo" / "clip.mp4"
        (tmp_path / "demo" / "clip.mp4").write_bytes(source.read_bytes())
    out = run(sys.executable, hidden, tmp_path, *arguments)
    assert out.returncode == 2, out.stderr
    # all that the command needs, not torch alone
    extras = {"train": "train,opencv", "eval": "opencv"}.get(arguments[0], "torch,opencv")
    assert out.stderr.count("\n") == 1 and f"pip install -e '.[{extras}]'" in out.stderr


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("siamcar_lite", "unknown model 'siamcar_lite'; did you mean 'siamcar_lite0'?"),
        ("siamcar_r50", "no weights come with 'siamcar_r50'"),
        ("tracker.onnx", "unknown model 'tracker.onnx'"),
        (
            "mine.safetensors",
            "an export needs siamtrack's extras 'export' and 'opencv': "
            "in a clone of siamtrack, pip install -e '.[export,opencv]'",
        ),
    ],
)
def test_an_export_tells_a_wrong_name_before_what_is_not_installed(
    model: str, words: str, hidden: dict[str, str], tmp_path: Path
) -> None:
    out = run(sys.executable, hidden, tmp_path, "export", model, "--out", "small.onnx")
    assert out.returncode == 2 and out.stderr.count("\n") == 1 and words in out.stderr


def interpreter(version: str) -> str:
    """A Python of this version, here or of pyenv's; skips the test where there is none."""
    homes = sorted(Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob(f"versions/{version}.*/bin/python"))
    for python in (shutil.which(f"python{version}"), *map(str, homes)):
        if python and subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip(f"Python {version} is not installed here")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_wheel_in_an_empty_environment(version: str, tmp_path: Path) -> None:
    """What a user does: the wheel and what it asks for, nothing else; the demo from nothing in under a minute."""
    interpreter_path = interpreter(version)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([interpreter_path, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    began = time.perf_counter()
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel], check=True)
    size = sum(
        path.stat().st_size for path in (tmp_path / "venv").rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert size < 500e6
    described = "from importlib.metadata import distribution; print(distribution('siamtrack').read_text('METADATA'))"
    about = subprocess.run([python, "-c", described], capture_output=True, text=True, check=True).stdout
    assert "Repository, https://" in about and "Programming Language :: Python :: 3.13" in about
    assert re.findall(r"\]\((?!https?://|#)[^)]*\)", about) == []  # no link of the description is relative
    code = "import importlib.util as u; print([n for n in ('torch', 'cv2', 'safetensors') if u.find_spec(n)])"
    assert subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert run(str(python), environment, tmp_path, "demo", "--out", "first").returncode == 0
    assert time.perf_counter() - began < 60
    all_commands(str(python), environment, tmp_path, 10)
