"""The report of an evaluation: one HTML page and its plots, drawn from stores of results alone."""

from __future__ import annotations

from siamtrack.report.page import Report, write_report
from siamtrack.report.results import RawSource

__all__ = ["RawSource", "Report", "write_report"]
