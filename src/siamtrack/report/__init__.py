"""The report of an evaluation: one HTML page and its plots, drawn from stores of results alone."""

from __future__ import annotations

from siamtrack.report.build import Report, write_report
from siamtrack.report.entries import RawSource

__all__ = ["RawSource", "Report", "write_report"]
