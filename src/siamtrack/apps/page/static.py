"""The page as static files that need no server: the page, an exported model, and ONNX Runtime for the browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from siamtrack.errors import ConfigError, InputError, printable, reason
from siamtrack.io import check_own_page, read_bytes, write_whole
from siamtrack.runtime.metadata import read_exported
from siamtrack.video.boxes import UNNAMED

ORT_VERSION = "1.30.0"
"""The version of the npm package onnxruntime-web that the page was tested with."""

_PAGE = Path(__file__).parent / "files"
_ORT_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def check_static(folder: Path, overwrite: bool) -> None:
    """Raise `InputError` for a folder whose files the page would replace, unless siamtrack wrote the page there."""
    check_own_page(folder, [path.name for path in _PAGE.iterdir()] + ["model.onnx", "page.json"], overwrite)


def write_static(folder: Path, model: bytes, runtime: Path | None, labels: Sequence[str] = (UNNAMED,)) -> None:
    """Write the page into a folder, which any web server can serve; files of these names are replaced.

    Args:
        folder: made if need be.
        model: the exported tracker (ONNX).
        runtime: the folder of the npm package onnxruntime-web, or its `dist`; fetched with npm if None.
        labels: classes of targets to choose from, the first one that of new targets.

    Raises:
        InputError: `runtime` does not have the files that are needed.
        ConfigError: npm is missing or failed.
        WeightsError: the model is none that siamtrack exported.
        DataError: a file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="siamtrack-") as scratch:
        dist = _dist(runtime or fetch_runtime(Path(scratch)))
        for file in _ORT_FILES:
            write_whole(folder / "ort" / file, read_bytes(dist / file))
    for path in sorted(_PAGE.iterdir(), key=lambda path: path.name != "index.html"):  # first what says whose they are
        write_whole(folder / path.name, read_bytes(path))
    write_whole(folder / "model.onnx", model)
    exported = read_exported(folder / "model.onnx")
    state = {name: {"type": kind, "shape": [None, *shape]} for name, (kind, shape) in exported.state.items()}
    about = {
        "engine": "wasm",
        "model": exported.name,
        "file": "model.onnx",
        "state": state,
        "labels": list(map(printable, labels)),
    }
    write_whole(folder / "page.json", json.dumps(about, indent=1) + "\n")


def _dist(package: Path) -> Path:
    for folder in (package, package / "dist"):
        if all((folder / file).is_file() for file in _ORT_FILES):
            return folder
    raise InputError(f"expected the npm package onnxruntime-web {ORT_VERSION} in '{package}', with {_ORT_FILES[0]}")


def fetch_runtime(folder: Path) -> Path:
    """Fetch the package by npm, which checks its hash, into a folder; raises `ConfigError` if npm cannot."""
    npm = shutil.which("npm")
    wanted = f"onnxruntime-web@{ORT_VERSION}"
    if npm is None:
        raise ConfigError(f"npm is not installed: install it, or give the package {wanted} with --onnxruntime-web DIR")
    done = subprocess.run([npm, "pack", "--silent", wanted], cwd=folder, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        told = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"npm could not fetch {wanted}: {told}; or give its folder with --onnxruntime-web DIR")
    try:
        with tarfile.open(archives[0]) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise ConfigError(f"{wanted} as npm fetched it cannot be unpacked: {reason(error)}") from error
    return folder / "package"
