"""Boxes, regions, square crops of a frame, response grids, and overlaps."""
