"""Data sets and result files in the layouts in which they are distributed, read and written."""
