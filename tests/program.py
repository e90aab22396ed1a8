"""The command line, called in the tests' own process."""

from __future__ import annotations

import sys

import pytest

from siamtrack.apps.cli.main import run


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the program as its entry point does; its exit code."""
    monkeypatch.setattr(sys, "argv", ["siamtrack", *map(str, arguments)])
    try:
        run()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
