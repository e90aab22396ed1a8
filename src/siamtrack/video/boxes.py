"""Writing the boxes of a run, line by line, so that a run that stops leaves every line written before."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from siamtrack.errors import InputError, reason

__all__ = ["BOX_SUFFIXES", "BoxWriter", "box_paths"]

BOX_SUFFIXES = (".txt", ".csv", ".jsonl")

_COLUMNS = ("frame", "target", "x", "y", "w", "h", "score")


def box_paths(path: str | Path, targets: int) -> list[Path]:
    """Return the files that a run of `targets` targets writes.

    One file, except for .txt with several targets: that format has no column for the target, so `name.txt`
    becomes `name-1.txt`, `name-2.txt`, ...

    Raises:
        InputError: a suffix other than .txt, .csv or .jsonl.
    """
    path = Path(path)
    if path.suffix.lower() not in BOX_SUFFIXES:
        raise InputError(f"boxes are written as {', '.join(BOX_SUFFIXES)}; got '{path}'")
    if path.suffix.lower() == ".txt" and targets > 1:
        return [path.with_name(f"{path.stem}-{n}{path.suffix}") for n in range(1, targets + 1)]
    return [path]


class BoxWriter:
    """Writes boxes as .txt, .csv or .jsonl; a context manager.

    - .txt: one `x,y,w,h` line a frame, the first line the given box; one file a target.
    - .csv: a header, then a row `frame,target,x,y,w,h,score` for each target of each frame.
    - .jsonl: the same as one JSON object a line.

    Frames are counted from 0 as in the source, targets from 1. Numbers have at most four decimals. Unlike a
    video, the file is written in place and each frame's lines at once: whatever ends the run, they are there
    to be read.
    """

    def __init__(self, path: str | Path, targets: int) -> None:
        """Create the file or files, replacing those of an earlier run.

        Raises:
            InputError: another suffix, or a file that cannot be written.
        """
        self.paths = box_paths(path, targets)
        self._kind = self.paths[0].suffix.lower()
        self._targets = targets
        self._files: list[TextIO] = []
        for name in self.paths:
            try:
                self._files.append(name.open("w", encoding="utf-8", newline="\n"))
            except OSError as error:
                self.close()
                raise InputError(f"cannot write '{name}': {reason(error)}") from error
        if self._kind == ".csv":
            self._put(0, ",".join(_COLUMNS) + "\n")

    def write(self, frame: int, boxes: Sequence[Sequence[float]], scores: Sequence[float]) -> None:
        """Append the boxes of one frame.

        Args:
            frame: its number in the source, from 0.
            boxes: (N, 4) x, y, w, h in continuous pixels, one row a target.
            scores: (N,) in [0, 1].

        Raises:
            InputError: not N boxes; or the disk is full: whole lines written before are kept.
        """
        if len(boxes) != self._targets or len(scores) != self._targets:
            raise InputError(f"expected boxes and scores of {self._targets} targets; got {len(boxes)}, {len(scores)}")
        if self._kind == ".txt":
            for n, box in enumerate(boxes):
                self._put(n, ",".join(_number(value) for value in box) + "\n")
            return
        rows = [
            (frame, n, *(_rounded(value) for value in (*box, score)))
            for n, (box, score) in enumerate(zip(boxes, scores, strict=True), start=1)
        ]
        if self._kind == ".csv":
            text = "".join(",".join(_number(value) for value in row) + "\n" for row in rows)
        else:
            text = "".join(json.dumps(dict(zip(_COLUMNS, row, strict=True))) + "\n" for row in rows)
        self._put(0, text)

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        for file in self._files:
            file.close()

    def __enter__(self) -> BoxWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, n: int, text: str) -> None:
        """Write lines past all buffers, or on failure cut the file back to what was there before them."""
        descriptor = self._files[n].fileno()
        data = memoryview(text.encode())
        written = 0
        try:
            while written < len(data):
                written += os.write(descriptor, data[written:])
        except OSError as error:
            if written and self.paths[n].is_file():
                os.ftruncate(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR) - written)
            raise InputError(
                f"cannot write '{self.paths[n]}' any further: {reason(error)}; the lines written before are kept"
            ) from error


def _rounded(value: float) -> float:
    return round(float(value), 4) + 0.0  # + 0.0 turns -0.0 into 0.0


def _number(value: float) -> str:
    """At most four decimals, and none that say nothing: 12.5, 40."""
    return f"{_rounded(value):.4f}".rstrip("0").rstrip(".")
