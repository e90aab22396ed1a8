"""Models by `hf:owner/name`, from a server of this machine that speaks the Hub's API."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import siamtrack
from footage import FIRST_BOX, moving_patches
from siamtrack.errors import ConfigError
from siamtrack.presets import packaged_weights
from siamtrack.runtime.metadata import read_exported
from siamtrack.zoo.hub import fetch_model

COMMIT = "5" * 40


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """The address of a hub with the repositories one/model, two/models and no/model."""
    pytest.importorskip("huggingface_hub", reason="huggingface-hub is not installed")
    weights = packaged_weights("siamcar_pico")
    assert weights is not None
    data = weights.read_bytes()
    repos = {
        "one/model": {"README.md": b"# A model", "pico.safetensors": data},
        "two/models": {"a.safetensors": data, "b.safetensors": data},
        "no/model": {"README.md": b"nothing"},
    }

    class Hub(BaseHTTPRequestHandler):
        def answer(self, body: bytes, headers: dict[str, str], code: int = 200) -> None:
            self.send_response(code)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self) -> None:
            parts = urlsplit(self.path).path.strip("/").split("/")
            api = parts[:2] == ["api", "models"]
            files = repos.get("/".join(parts[2:4] if api else parts[:2]))
            name = parts[-1]
            if files is None or (not api and name not in files):
                missing = "RepoNotFound" if files is None else "EntryNotFound"
                self.answer(b"{}", {"X-Error-Code": missing, "X-Error-Message": "not found"}, 404)
            elif api:
                entries = [{"type": "file", "path": p, "oid": "1", "size": len(b)} for p, b in files.items()]
                siblings = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": [{"rfilename": p} for p in files]}
                body = json.dumps(entries if "tree" in parts else siblings).encode()
                self.answer(body, {"Content-Type": "application/json"})
            else:
                mark = hashlib.sha256(files[name]).hexdigest()
                self.answer(files[name], {"ETag": f'"{mark}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def settings(hub: str, home: Path) -> dict[str, str]:
    """The environment of a program that takes `hub` for the Hub."""
    own = {"HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, **own}


def load(name: str, hub: str, home: Path) -> str:
    """What a program prints that loads a model; the library reads its settings when it is imported."""
    code = f"""
import siamtrack
from siamtrack.zoo.hub import fetch_model
try:
    print(fetch_model({name!r}).name, type(siamtrack.load({name!r})).__name__)
except siamtrack.SiamtrackError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings(hub, home), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:one/model", "pico.safetensors Tracker"),
        ("hf:two/models:b.safetensors", "b.safetensors Tracker"),
        (
            "hf:two/models",
            "has several models (a.safetensors, b.safetensors); say which: hf:two/models:a",
        ),
        ("hf:no/model", "'hf:no/model' has no .safetensors and no .onnx file"),
        ("hf:not/there", "cannot fetch 'hf:not/there': "),
    ],
)
def test_a_model_of_the_hub_is_loaded(hub: str, tmp_path: Path, name: str, said: str) -> None:
    assert said in load(name, hub, tmp_path)


def test_a_model_of_the_hub_is_evaluated(hub: str, tmp_path: Path) -> None:
    frames, boxes = moving_patches(5)
    images = tmp_path / "data" / "walk" / "img"
    images.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(images / f"{number}.png")
    np.savetxt(images.parent / "groundtruth.txt", boxes[:, 0], fmt="%g", delimiter=",")
    command = ["eval", "hf:one/model", "--suite", "folder", "--data", str(tmp_path / "data"), "--processes", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "siamtrack", *command, "--out", str(tmp_path / "results")],
        env=settings(hub, tmp_path), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/pico/folder/scores.json").is_file()


def test_a_repository_for_the_hub_has_a_card_and_loads(tmp_path: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="huggingface-hub is not installed")
    pytest.importorskip("onnxscript", reason="the export's packages are not installed")
    out = tmp_path / "upload"
    command = [sys.executable, "-m", "siamtrack", "export", "siamcar_pico", "--format", "hub", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "siamcar_pico.onnx", "siamcar_pico.safetensors"]
    card = huggingface_hub.ModelCard.load(out / "README.md")
    assert card.data.library_name == "siamtrack" and card.data.license == "apache-2.0"
    assert "visual-object-tracking" in card.data.tags and "siamcar" in card.data.tags
    assert 'siamtrack.load("hf:OWNER/siamcar_pico:siamcar_pico.safetensors")' in card.text
    frame = moving_patches(1)[0][0]
    for name in ("siamcar_pico.onnx", "siamcar_pico.safetensors"):
        siamtrack.load(out / name).init(frame, FIRST_BOX)
    assert read_exported(out / "siamcar_pico.onnx").licence == "Apache-2.0"
    again = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert again.returncode == 2 and "is there already" in again.stderr and again.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["hf:", "hf:model", "hf:a/b/c", "hf:../x", "hf:a/b@", "hf:a/b:"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected hf:owner/name"):
        fetch_model(name)
