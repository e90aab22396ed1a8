"""What all tests share."""

from __future__ import annotations

import json
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
