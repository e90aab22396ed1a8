"""The report of an evaluation: one HTML page and its plots, drawn from stores of results alone."""

from __future__ import annotations

from siamtrack.report.page import RawSource, WrittenReport, write_report

__all__ = ["RawSource", "WrittenReport", "write_report"]
