"""The pictures that an index points to: image files, and frames of videos, each decoded once and in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from siamtrack.data.shards import Image, decode
from siamtrack.errors import DataError, SiamtrackError
from siamtrack.formats.archive import Archive
from siamtrack.video.reader import open_source

__all__ = ["read_pictures", "video_of"]


def video_of(name: str) -> tuple[str, int] | None:
    """The video and the number of its frame that a name means, or None for an image file."""
    path, mark, number = name.rpartition("#")
    return (path, int(number)) if mark and number.isdigit() else None


def read_pictures(root: Path, names: Iterable[str]) -> Iterator[tuple[str, Image | None, str]]:
    """Decode pictures: (name, RGB (H, W, 3) or None, what was wrong: "missing file" or "unreadable frame").

    Frames of one video that follow each other, in rising order, are decoded in one go.

    Args:
        root: a data set's folder, or a zip file of it.
        names: members of it, `clip.mp4#12` for a frame of a video.
    """
    run: list[tuple[str, int]] = []
    video = ""
    with Archive(root) as archive:
        for name in names:
            place = video_of(name)
            if run and (place is None or place[0] != video or place[1] < run[-1][1]):
                yield from _video(root / video, run)
                run = []
            if place is None:
                yield name, *_image(archive, name)
            else:
                video = place[0]
                run.append((name, place[1]))
    if run:
        yield from _video(root / video, run)


def _image(archive: Archive, name: str) -> tuple[Image | None, str]:
    try:
        image = decode(archive.read_image(name))
    except DataError:
        return None, "missing file"
    return image, "" if image is not None else "unreadable frame"


def _video(path: Path, wanted: list[tuple[str, int]]) -> Iterator[tuple[str, Image | None, str]]:
    if not path.is_file():
        yield from ((name, None, "missing file") for name, _ in wanted)
        return
    waiting = list(wanted)
    try:
        with open_source(path, wanted[0][1], wanted[-1][1] + 1) as source:
            for number, frame in enumerate(source, wanted[0][1]):
                while waiting and waiting[0][1] == number:
                    yield waiting.pop(0)[0], frame, ""
    except SiamtrackError:
        pass  # what could not be decoded is still waiting
    yield from ((name, None, "unreadable frame") for name, _ in waiting)
