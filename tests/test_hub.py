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

import pytest

from siamtrack.errors import ConfigError
from siamtrack.zoo.hub import fetch_model
from siamtrack.zoo.packaged import packaged_weights

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
    settings = {"HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **settings}, capture_output=True, text=True, timeout=200
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


@pytest.mark.parametrize("name", ["hf:", "hf:model", "hf:a/b/c", "hf:../x", "hf:a/b@", "hf:a/b:"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected hf:owner/name"):
        fetch_model(name)
