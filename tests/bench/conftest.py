"""What the scoring tests share: the recorded answers of the official scorers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


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
