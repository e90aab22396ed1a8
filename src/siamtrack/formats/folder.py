"""Any folder of sequences: `<seq>/img/*.jpg` and `<seq>/groundtruth.txt`, x,y,w,h, nan where absent."""

from __future__ import annotations

from pathlib import Path

from siamtrack.errors import DataError
from siamtrack.formats.files import images, regions
from siamtrack.formats.sequence import VideoSequence

__all__ = ["read_folder"]

_TRUTH = ("groundtruth.txt", "groundtruth_rect.txt")


def read_folder(root: Path) -> list[VideoSequence]:
    """Read every sub-folder that holds an annotation; the frames lie in its `img`, or beside the annotation.

    A folder that is a sequence itself is read as one.
    """
    if _truth(root) is not None:
        return [_sequence(root)]
    folders = [d for d in sorted(root.iterdir()) if d.is_dir() and _truth(d) is not None]
    if not folders:
        raise DataError(f"{root}: expected folders with img/*.jpg and groundtruth.txt; there are none")
    return [_sequence(folder) for folder in folders]


def _truth(folder: Path) -> Path | None:
    return next((folder / name for name in _TRUTH if (folder / name).is_file()), None)


def _sequence(folder: Path) -> VideoSequence:
    path = _truth(folder)
    assert path is not None  # the caller has looked
    frames = images(folder / "img" if (folder / "img").is_dir() else folder)
    return VideoSequence(folder.resolve().name, frames, regions(path, len(frames)))
