"""Boxes, square regions of a frame, the one crop, and response grids."""
