"""Boxes, square regions of a frame, the one crop, and response grids."""

from siamtrack.geometry.boxes import Box, as_boxes, box_iou
from siamtrack.geometry.crop import Crop, Frame, Region, cut, target_region

__all__ = ["Box", "Crop", "Frame", "Region", "as_boxes", "box_iou", "cut", "target_region"]
