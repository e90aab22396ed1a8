"""What all tests share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; tests that need it skip where it is missing."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip(f"reference data not found at {folder}")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """The recorded numbers that travel with the project."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """The references were recorded on one thread; with more, other convolution kernels round differently."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def metrics_pack(shared: Path) -> Path:
    folder = shared / "golden" / "metrics"
    if not (folder / "gt").is_dir():
        pytest.skip(f"ground truth and raw results not found at {folder}")
    return folder


@pytest.fixture(scope="session")
def overlap_cases(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "metrics" / "cases" / "overlap_cases.json").read_text())


@pytest.fixture(scope="session")
def ope_cases(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "metrics" / "cases" / "ope_cases.json").read_text())


@pytest.fixture(scope="session")
def reset_traces(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "metrics" / "cases" / "reset_traces.json").read_text())


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The URL of an empty bucket on an S3-compatible server of this machine, which child processes reach too."""
    server_module = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    s3fs.S3FileSystem().mkdir("siamtrack-tests")
    yield "s3://siamtrack-tests"
    server.stop()
    for key, value in before.items():
        if value is None:
            del os.environ[key]
        else:
            os.environ[key] = value
