"""Writing the boxes of a run, line by line, so that a run that stops leaves every line written before."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from siamtrack.errors import InputError, reason

if TYPE_CHECKING:
    from siamtrack.tracking.tracker import Result

__all__ = ["BoxWriter", "box_paths"]

_BOX_SUFFIXES = (".txt", ".csv", ".json", ".jsonl")

_COLUMNS = ("frame", "target", "x", "y", "w", "h", "score", "presence", "status")
_JSON_END = "\n]\n"


def box_paths(path: str | Path, targets: int) -> list[Path]:
    """Return the files that a run of `targets` targets writes.

    One file, except for .txt with several targets: that format has no column for the target, so `name.txt`
    becomes `name-1.txt`, `name-2.txt`, ...

    Raises:
        InputError: a suffix other than .txt, .csv, .json or .jsonl.
    """
    path = Path(path)
    if path.suffix.lower() not in _BOX_SUFFIXES:
        raise InputError(f"boxes are written as {', '.join(_BOX_SUFFIXES)}; got '{path}'")
    if path.suffix.lower() == ".txt" and targets > 1:
        return [path.with_name(f"{path.stem}-{n}{path.suffix}") for n in range(1, targets + 1)]
    return [path]


class BoxWriter:
    """Writes boxes as .txt, .csv, .json or .jsonl; a context manager.

    - .txt: one `x,y,w,h` line a frame, the first line the given box; one file a target.
    - .csv: a header, then a row `frame,target,x,y,w,h,score,presence,status` for each target of each frame.
    - .jsonl: the same as one JSON object a line.
    - .json: the same objects as one list.

    Frames are counted from 0 as in the source, targets from 1. Numbers have at most four decimals. Each frame's lines
    are written at once and in place, so they stay if the run stops. A .json file is a whole list after each frame.
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
        self._end = ""  # what stands behind the last row, to be written over by the next ones
        for name in self.paths:
            try:
                self._files.append(name.open("w", encoding="utf-8", newline="\n"))
            except OSError as error:
                self.close()
                raise InputError(f"cannot write '{name}': {reason(error)}") from error
        if self._kind == ".csv":
            self._put(0, ",".join(_COLUMNS) + "\n")

    def write(self, frame: int, results: Sequence[Result]) -> None:
        """Append the boxes of one frame.

        Args:
            frame: its number in the source, from 0.
            results: one for each target, with boxes in continuous pixels.

        Raises:
            InputError: another number of results; or the disk is full: whole lines written before are kept.
        """
        if len(results) != self._targets:
            raise InputError(f"expected results of {self._targets} targets; got {len(results)}")
        if self._kind == ".txt":
            for n, result in enumerate(results):
                self._put(n, ",".join(map(_number, result.box)) + "\n")
            return
        rows = []
        for n, r in enumerate(results, 1):
            if self._kind == ".csv":
                rows.append(",".join([*map(_number, (frame, n, *r.box, r.score, r.presence)), r.status]))
            else:
                values = (frame, n, *map(_rounded, (*r.box, r.score, r.presence)), r.status)
                rows.append(json.dumps(dict(zip(_COLUMNS, values, strict=True))))
        if self._kind == ".json":
            self._put(0, (",\n" if self._end else "[\n") + ",\n".join(rows), _JSON_END)
        else:
            self._put(0, "".join(f"{row}\n" for row in rows))

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        for file in self._files:
            file.close()

    def __enter__(self) -> BoxWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _put(self, n: int, text: str, end: str = "") -> None:
        """Write lines and `end` past all buffers, or on failure restore the file as it was before them."""
        descriptor = self._files[n].fileno()
        if self._end:
            os.lseek(descriptor, -len(self._end), os.SEEK_CUR)
        data = memoryview((text + end).encode())
        written = 0
        try:
            while written < len(data):
                written += os.write(descriptor, data[written:])
            self._end = end
        except OSError as error:
            if self.paths[n].is_file():
                before = os.lseek(descriptor, 0, os.SEEK_CUR) - written
                os.ftruncate(descriptor, before)
                os.lseek(descriptor, before, os.SEEK_SET)
                with contextlib.suppress(OSError):
                    os.write(descriptor, self._end.encode())
            raise InputError(
                f"cannot write '{self.paths[n]}' any further: {reason(error)}; the lines written before are kept"
            ) from error


def _rounded(value: float) -> float:
    return round(float(value), 4) + 0.0  # + 0.0 turns -0.0 into 0.0


def _number(value: float) -> str:
    """At most four decimals, and none that say nothing: 12.5, 40."""
    return f"{_rounded(value):.4f}".rstrip("0").rstrip(".")
