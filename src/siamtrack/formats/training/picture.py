"""The size of a picture without decoding it, where its format tells."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import cv2

__all__ = ["picture_size"]

_NO_FRAME = (0xC4, 0xC8, 0xCC)  # tables in the middle of the range of JPEG's frame headers


def picture_size(path: Path) -> tuple[int, int] | None:
    """(width, height) in pixels, or None where the file is missing or no image."""
    try:
        with path.open("rb") as file:
            start = file.read(26)
            if start[:8] == b"\x89PNG\r\n\x1a\n" and len(start) >= 24:
                width, height = struct.unpack(">II", start[16:24])
                return width, height
            if start[:2] == b"\xff\xd8":
                file.seek(2)
                return _jpeg_size(file)
    except OSError:
        return None
    image = cv2.imread(str(path))
    return None if image is None else (image.shape[1], image.shape[0])


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    """Walk from segment to segment up to the frame header, which holds the size."""
    while len(head := file.read(4)) == 4:
        mark, code, length = struct.unpack(">BBH", head)
        if mark != 0xFF or length < 2:
            return None
        if 0xC0 <= code <= 0xCF and code not in _NO_FRAME:
            body = file.read(5)
            if len(body) < 5:
                return None
            _, height, width = struct.unpack(">BHH", body)
            return width, height
        file.seek(length - 2, 1)
    return None
