"""TrackingNet: `TEST/frames/<seq>/0.jpg` and `TEST/anno/<seq>.txt`, the test set's with one line."""

from __future__ import annotations

from pathlib import Path

from siamtrack.errors import DataError
from siamtrack.formats.files import regions
from siamtrack.formats.sequence import ImageFiles, VideoSequence, image_names

__all__ = ["read_trackingnet"]


def read_trackingnet(root: Path) -> list[VideoSequence]:
    """Read the test set; frames are ordered by their numbers, which have no leading zeros.

    A folder that holds `anno` and `frames` itself is read as it is, which serves the training chunks as well.

    Raises:
        DataError: not that layout, no frames for an annotation, or a malformed file.
    """
    place = root / "TEST" if (root / "TEST").is_dir() else root
    files = sorted((place / "anno").glob("*.txt")) if (place / "anno").is_dir() else []
    if not files:
        raise DataError(f"{root}: expected TEST/anno/<sequence>.txt and TEST/frames/<sequence>; there are none")
    return [_sequence(path, place / "frames" / path.stem) for path in files]


def _sequence(path: Path, folder: Path) -> VideoSequence:
    names = image_names(folder, (".jpg",))
    try:
        ordered = sorted(names, key=lambda name: int(Path(name).stem))
    except ValueError:
        raise DataError(f"{folder}: expected frames named by numbers, such as 0.jpg") from None
    truth = regions(path)
    if len(truth) not in (1, len(ordered)):
        raise DataError(f"{path}: {len(truth)} lines for {len(ordered)} frames")
    return VideoSequence(path.stem, ImageFiles(folder, tuple(ordered)), truth)
