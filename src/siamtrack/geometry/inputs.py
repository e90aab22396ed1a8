"""Frames and boxes as people give them, checked where they come in; this module needs no torch.

What every engine takes is decided here, so that all of them refuse the same things in the same words.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from siamtrack.errors import InputError
from siamtrack.io import MOST_PIXELS

if TYPE_CHECKING:
    from torch import Tensor

Frame: TypeAlias = "np.ndarray | Tensor"
"""One RGB frame: numpy (H, W, 3) uint8, or a tensor (3, H, W), uint8 or float 0..255, on any device."""

Image: TypeAlias = npt.NDArray[np.uint8]
"""Pixels of a frame or a crop: (H, W, 3) RGB."""

Boxes: TypeAlias = "Sequence[float] | Sequence[Sequence[float]] | np.ndarray | Tensor"
"""One box (x, y, w, h), or N of them."""

# Sides with which every result in single precision stays finite and above 0.
_MIN_SIDE, _MAX_SIDE = 0.01, 1e6


class Box(NamedTuple):
    """An upright box in continuous pixels: left, top, width and height."""

    x: float
    y: float
    w: float
    h: float

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        return self.x, self.y, self.x + self.w, self.y + self.h


def checked_boxes(boxes: Boxes, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Check boxes that a person gave: one (x, y, w, h) or N of them, in continuous pixels; return (N, 4).

    `size` is (width, height) of the frame that they belong to.

    Raises:
        InputError: not four finite numbers a box, no area, sides out of range, or wholly outside the frame.
    """
    try:
        rows = np.asarray(boxes.detach().cpu() if _is_tensor(boxes) else boxes, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # RuntimeError: a tensor without numbers
        raise InputError(f"a box is four numbers x,y,w,h; got {str(boxes)[:200]}") from error
    if rows.ndim == 1:
        rows = rows[None]
    if rows.ndim != 2 or rows.shape[1] != 4 or len(rows) == 0:
        raise InputError(f"a box is four numbers x,y,w,h; got an array of shape {tuple(np.shape(boxes))}")
    width, height = size
    for x, y, w, h in rows.tolist():
        text = f"{x:g},{y:g},{w:g},{h:g}"
        if not all(map(math.isfinite, (x, y, w, h))):
            raise InputError(f"a box is four finite numbers x,y,w,h; got {text}")
        if w <= 0 or h <= 0:
            raise InputError(f"a box needs a width and a height above 0; got {text}")
        if min(w, h) < _MIN_SIDE or max(w, h) > _MAX_SIDE:
            raise InputError(f"a box has sides of {_MIN_SIDE:g} to {_MAX_SIDE:g} pixels; got {text}")
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            raise InputError(f"the box {text} lies outside the frame of {width}x{height} pixels")
    return rows


def frame_size(frame: Frame) -> tuple[int, int]:
    """Check one frame and return its (width, height).

    Raises:
        InputError: not a (H, W, 3) uint8 array or a (3, H, W) tensor of uint8 or float, or more than 2^27 pixels.
    """
    if isinstance(frame, np.ndarray):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            kind = _like_a_picture(frame)
            hint = f", {kind}; OpenCV's frames are taken with colour='bgr'" if kind else ""
            raise InputError(
                f"a frame is an RGB array of shape (H, W, 3) and type uint8; got shape {frame.shape}, "
                f"{frame.dtype}{hint}"
            )
        return _checked_size(*size_of(frame))
    if _is_tensor(frame):
        numbers = str(frame.dtype) == "torch.uint8" or frame.is_floating_point()
        if frame.is_meta or str(frame.layout) != "torch.strided":
            raise InputError("a frame tensor holds all of its pixels; got one without numbers, or a sparse one")
        if frame.ndim != 3 or frame.shape[0] != 3 or 0 in frame.shape or not numbers:
            raise InputError(
                f"a frame tensor is RGB of shape (3, H, W), uint8 or float; got {tuple(frame.shape)}, {frame.dtype}"
            )
        return _checked_size(*size_of(frame))
    raise InputError(f"a frame is a numpy array or a tensor; got {type(frame).__name__}")


def size_of(frame: Frame) -> tuple[int, int]:
    """The (width, height) of a frame that was checked; runs in an exported graph, too."""
    height, width = frame.shape[:2] if isinstance(frame, np.ndarray) else frame.shape[1:]
    return width, height


def bgr_to_rgb(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a frame of OpenCV's, BGR (H, W, 3), BGRA (H, W, 4) or grey (H, W) or (H, W, 1), as RGB (H, W, 3).

    Raises:
        InputError: no uint8 array of such a shape, or more than 2^27 pixels.
    """
    if isinstance(frame, np.ndarray) and frame.ndim in (2, 3):
        _checked_size(*size_of(frame))
        frame = np.asarray(frame)  # a matrix, which is never of one more dimension
    kind = _like_a_picture(frame) if isinstance(frame, np.ndarray) else ""
    if kind == "grey":
        return np.repeat(frame.reshape(*frame.shape[:2], 1), 3, axis=2)
    colour = isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3 and frame.dtype == np.uint8
    if (kind or colour) and 0 not in frame.shape:
        return np.ascontiguousarray(frame[..., 2::-1])
    got = f"shape {frame.shape}, {frame.dtype}" if isinstance(frame, np.ndarray) else type(frame).__name__
    raise InputError(f"a frame of OpenCV's is a BGR, BGRA or grey array of type uint8; got {got}")


def _checked_size(width: int, height: int) -> tuple[int, int]:
    """Return (width, height) of a frame. An array may be larger than all memory, a single pixel shown many times."""
    if width * height > MOST_PIXELS:
        raise InputError(f"a frame has at most {MOST_PIXELS} pixels; got {width}x{height}")
    return width, height


def _like_a_picture(frame: npt.NDArray[np.uint8]) -> str:
    """Say "grey" or "with alpha" for an array that is such a picture, else nothing."""
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3):
        return ""
    channels = 1 if frame.ndim == 2 else frame.shape[2]
    return {1: "grey", 4: "with alpha"}.get(channels, "")


def check_same_size(size: tuple[int, int], first: tuple[int, int]) -> None:
    """Raise `InputError` unless a frame of (width, height) `size` is as large as the first of its video."""
    if size != first:
        raise InputError(f"expected a frame of {first[0]}x{first[1]} pixels as the first; got {size[0]}x{size[1]}")


def checked_rows(rows: Sequence[int] | npt.NDArray[np.int64] | Tensor, count: int) -> npt.NDArray[np.int64]:
    """Return the numbers of some of `count` targets; a negative one counts from the end.

    Raises:
        InputError: not a list of whole numbers, or one that no target has.
    """
    try:
        found = np.asarray(rows.detach().cpu() if _is_tensor(rows) else rows)
        whole = found.ndim == 1 and (found.dtype.kind in "iu" or not found.size)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        whole = False
    if not whole:
        raise InputError(f"rows are a list of targets' numbers, as [0, 2]; got {str(rows)[:80]}")
    if found.size and not (-count <= found.min() and found.max() < count):
        raise InputError(f"rows are numbers of the {count} targets, counted from 0; got {str(rows)[:80]}")
    return found.astype(np.int64)


Shapes: TypeAlias = "Mapping[str, tuple[int, ...]]"
"""What a state holds of a target, by name: the shape of each array."""


def check_state(state: object, kind: type) -> None:
    """Raise `InputError` unless a state of targets is of the kind that an engine makes."""
    if not isinstance(state, kind):
        raise InputError(f"expected a state that this engine made; got {type(state).__name__}")


def check_same_model(shapes: Shapes, expected: Shapes) -> None:
    """Raise `InputError` unless a state's arrays have the names and shapes that the states of a model have."""
    for name in {**expected, **shapes}:
        wanted, got = (one.get(name, "none") for one in (expected, shapes))
        if wanted != got:
            raise InputError(f"expected a state of the same model; got one of another: {name} is {got}, not {wanted}")


def _is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a torch tensor, which it can be only where torch has been imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
