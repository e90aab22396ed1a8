"""The size of a picture, without decoding it where its format tells."""

from __future__ import annotations

from pathlib import Path

import cv2

from siamtrack.io import image_size

__all__ = ["picture_size"]


def picture_size(path: Path) -> tuple[int, int] | None:
    """(width, height) in pixels, or None where the file is missing or no image."""
    size = image_size(path)
    if size is not None or not path.is_file():
        return size
    image = cv2.imread(str(path))
    return None if image is None else (image.shape[1], image.shape[0])
