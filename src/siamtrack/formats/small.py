"""Three data sets with simple layouts: Temple Color 128, Need for Speed and DTB70."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.files import folders, images, numbered, regions
from siamtrack.formats.parse import parse_column
from siamtrack.formats.sequence import ImageFiles, VideoSequence, from_file
from siamtrack.geometry.regions import FloatArray
from siamtrack.io import read_bytes

__all__ = ["read_dtb70", "read_nfs30", "read_nfs240", "read_tc128"]

_ORIGIN = 1
_NFS_RATIO = 8  # annotations at 240 fps for frames at 30


def read_tc128(root: Path) -> list[VideoSequence]:
    """Read TC128: `<seq>/<seq>_gt.txt`, `<seq>/<seq>_frames.txt` (first,last) and `<seq>/img/0001.jpg`.

    Raises:
        DataError: not that layout, a number of lines other than of frames, or a frame that is missing.
    """
    found = [_tc128(d) for d in folders(root) if (d / f"{d.name}_gt.txt").is_file()]
    return _some(found, root, "Ball_ce1/Ball_ce1_gt.txt")


def _tc128(folder: Path) -> VideoSequence:
    truth = regions(folder / f"{folder.name}_gt.txt")
    span = folder / f"{folder.name}_frames.txt"
    if not span.is_file():
        return VideoSequence(folder.name, images(folder / "img"), from_file(truth, _ORIGIN), origin=_ORIGIN)
    text = read_bytes(span).replace(b",", b"\n").replace(b" ", b"\n").strip()
    numbers = [int(n) for n in parse_column(text, str(span)).tolist() if n == n]
    if len(numbers) != 2 or numbers[1] - numbers[0] + 1 != len(truth):
        raise DataError(f"{span}: expected the numbers of the first and the last of {len(truth)} frames; got {numbers}")
    frames = numbered(folder / "img", "%04d.jpg", numbers[0], len(truth))
    return VideoSequence(folder.name, frames, from_file(truth, _ORIGIN), origin=_ORIGIN)


def read_dtb70(root: Path) -> list[VideoSequence]:
    """Read DTB70: `<seq>/img/00001.jpg` and `<seq>/groundtruth_rect.txt`."""
    found = [_dtb70(d) for d in folders(root) if (d / "groundtruth_rect.txt").is_file()]
    return _some(found, root, "Animal1/groundtruth_rect.txt")


def _dtb70(folder: Path) -> VideoSequence:
    frames = images(folder / "img")
    truth = regions(folder / "groundtruth_rect.txt", len(frames))
    return VideoSequence(folder.name, frames, from_file(truth, _ORIGIN), origin=_ORIGIN)


def read_nfs30(root: Path) -> list[VideoSequence]:
    """Read Need for Speed at 30 frames a second: `<seq>/30/<seq>/00001.jpg` and `<seq>/30/<seq>.txt`.

    Lines are `index left top right bottom frame lost occluded generated "label"`. Of an annotation at 240
    frames a second every eighth line is taken; one frame or one line too many is dropped.
    """
    return _read_nfs(root, "30")


def read_nfs240(root: Path) -> list[VideoSequence]:
    """Read Need for Speed at 240 frames a second: `<seq>/240/<seq>/00001.jpg` and `<seq>/240/<seq>.txt`."""
    return _read_nfs(root, "240")


def _read_nfs(root: Path, rate: str) -> list[VideoSequence]:
    found = [_nfs(d.name, d / rate) for d in folders(root) if (d / rate).is_dir()]
    return _some(found, root, f"airboard_1/{rate}/airboard_1.txt")


def _nfs(name: str, folder: Path) -> VideoSequence:
    path = folder / f"{name}.txt"
    frames, truth = images(folder / name), _nfs_boxes(path)
    if len(truth) != len(frames) and abs(len(truth) / len(frames) - _NFS_RATIO) < 1:
        truth = truth[::_NFS_RATIO]
    if abs(len(truth) - len(frames)) > 1:
        raise DataError(f"{path}: {len(truth)} lines for {len(frames)} frames; there must be one a frame")
    count = min(len(truth), len(frames))
    return VideoSequence(name, ImageFiles(frames.folder, frames.names[:count]), truth[:count])


def _nfs_boxes(path: Path) -> FloatArray:
    rows = [line.split()[1:5] for line in read_bytes(path).splitlines() if line.strip()]
    try:
        corners = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    except ValueError:
        raise DataError(f'{path}: expected lines `index left top right bottom frame .. "label"`') from None
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _some(found: list[VideoSequence], root: Path, example: str) -> list[VideoSequence]:
    if not found:
        raise DataError(f"{root}: expected sequences such as {example}; there are none")
    return found
