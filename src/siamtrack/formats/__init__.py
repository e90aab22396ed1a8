"""Data sets and result files in their public layouts, read and written."""
