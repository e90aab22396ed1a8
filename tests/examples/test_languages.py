"""The tracker in C++ and in JavaScript gives the boxes that Python gives."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from footage import FIRST_BOX, SECOND_BOX, moving_patches
from siamtrack import load_multi
from siamtrack.presets import packaged_export, preset_names

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BOXES = [",".join(f"{value:g}" for value in box) for box in (FIRST_BOX, SECOND_BOX)]
MODELS = [
    name if name in ("siamcar_lite0", "siamcar_pico") else pytest.param(name, marks=pytest.mark.slow)
    for name in preset_names()
    if packaged_export(name)
]
COUNT = 6


def ppm(frames: list[np.ndarray]) -> bytes:
    """Frames as FFmpeg pipes them: one binary PPM image after the other."""
    return b"".join(b"P6\n%d %d\n255\n" % (frame.shape[1], frame.shape[0]) + frame.tobytes() for frame in frames)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return moving_patches(COUNT)[0]


def called(command: list[object], data: bytes, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(part) for part in command], input=data, capture_output=True, cwd=cwd, timeout=120)


def check(command: list[object], model: str, frames: list[np.ndarray]) -> None:
    """A program's table of a model's boxes is Python's."""
    out = called([*command, packaged_export(model), *BOXES], ppm(frames))
    assert out.returncode == 0, out.stderr
    rows = list(csv.DictReader(out.stdout.decode().splitlines()))
    tracker = load_multi(model, engine="onnxruntime", threads=1)
    tracker.init(frames[0], [FIRST_BOX, SECOND_BOX])
    expected = [result for frame in frames[1:] for result in tracker.update(frame)]
    assert [(int(r["frame"]), int(r["target"])) for r in rows] == [(n, k) for n in range(COUNT) for k in range(2)]
    found = [[float(row[key]) for key in "xywh"] for row in rows]
    np.testing.assert_allclose(found[:2], [FIRST_BOX, SECOND_BOX])
    np.testing.assert_allclose(found[2:], [result.box for result in expected], atol=0.1)
    for row, result in zip(rows[2:], expected, strict=True):
        assert float(row["presence"]) == pytest.approx(result.presence, abs=0.01) and row["status"] == result.status


def check_refusals(command: list[object], tmp_path: Path, frames: list[np.ndarray]) -> None:
    """What cannot be used is told in one line, with exit code 2."""
    model = packaged_export("siamcar_pico")
    other = frames[0][:-2].copy()
    text, whole = tmp_path / "text.onnx", ppm(frames)
    text.write_text("not a model")
    wrong: list[tuple[list[object], bytes]] = [
        ([model], whole), ([model, "1,2,3"], whole), ([model, "1,2,0,3"], whole), ([text, BOXES[0]], whole),
        ([tmp_path / "none.onnx", BOXES[0]], whole), ([model, BOXES[0]], b"not frames " * 30),
        ([model, BOXES[0]], b""), ([model, "900,9,20,20"], whole), ([model, "9,9,nan,20"], whole),
        ([model, BOXES[0]], whole[:-9]), ([model, BOXES[0]], whole + ppm([other])),
    ]  # fmt: skip
    for arguments, data in wrong:
        out = called([*command, *arguments], data)
        said = out.stderr.decode()
        assert out.returncode == 2 and said.startswith("track: ") and said.count("\n") == 1, (arguments, said)


@pytest.fixture(scope="module")
def cpp(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The C++ example, built with the headers of this machine and the library of the Python package."""
    places = [Path(os.environ.get("ONNXRUNTIME", "/usr")) / "include", Path("/usr/local/include"), Path("/usr/include")]
    headers = [p for place in places for p in (place, place / "onnxruntime") if (p / "onnxruntime_cxx_api.h").exists()]
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"), None)
    if not headers or library is None or shutil.which("g++") is None:
        pytest.skip("needs g++ and ONNX Runtime's C++ headers (Debian: libonnxruntime-dev; or ONNXRUNTIME=FOLDER)")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
    built = called(
        ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", EXAMPLES / "cpp" / "track.cpp", "-o", folder / "track",
         "-isystem", headers[0], f"-L{folder}", "-lonnxruntime", f"-Wl,-rpath,{folder}"], b"",
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return [folder / "track"]


@pytest.fixture(scope="module", params=["onnxruntime-web", "onnxruntime-node"])
def js(request: pytest.FixtureRequest) -> list[object]:
    """The JavaScript example in one of the runtimes."""
    folder = EXAMPLES / "js"
    if shutil.which("node") is None or not (folder / "node_modules" / request.param).is_dir():
        pytest.skip("needs node, and its packages: npm install --ignore-scripts, in examples/js")
    return ["node", folder / "track.mjs", request.param]


@pytest.mark.parametrize("model", MODELS)
def test_cpp_gives_the_boxes_of_python(model: str, cpp: list[object], frames: list[np.ndarray]) -> None:
    check(cpp, model, frames)


@pytest.mark.parametrize("model", MODELS)
def test_javascript_gives_the_boxes_of_python(model: str, js: list[object], frames: list[np.ndarray]) -> None:
    check(js, model, frames)


def test_cpp_says_what_cannot_be_used(cpp: list[object], tmp_path: Path, frames: list[np.ndarray]) -> None:
    check_refusals(cpp, tmp_path, frames)


def test_javascript_says_what_cannot_be_used(js: list[object], tmp_path: Path, frames: list[np.ndarray]) -> None:
    check_refusals(js, tmp_path, frames)
