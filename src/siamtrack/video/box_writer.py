"""The boxes of a run written as files while it goes.

Tables (see `siamtrack.video.boxes`) are written line by line, so that a run that stops leaves every line written
before; documents are written at the end.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from siamtrack.arguments import checked
from siamtrack.errors import DataError, InputError, reason
from siamtrack.io import write_whole
from siamtrack.video.boxes import JSON_END, LINES, BoxRow, Clip, check_images, format_of, pack_boxes, render_boxes

if TYPE_CHECKING:
    from siamtrack.tracking.tracker import Result


def box_paths(path: str | Path, targets: int, kind: str | None = None) -> list[Path]:
    """Return the files, or for yolo the folder or zip file, that a run of `targets` targets writes.

    One, except for txt with several targets: that format has no column for the target, so `name.txt` becomes
    `name-1.txt`, `name-2.txt`, ...

    Raises:
        InputError: as `format_of`.
    """
    path = Path(path)
    if format_of(path, kind) == "txt" and targets > 1:
        return [path.with_name(f"{path.stem}-{n}{path.suffix}") for n in range(1, targets + 1)]
    return [path]


def _open_now(name: str, flags: int) -> int:
    """Open a file; a pipe that nobody reads is an error at once, not something to wait for."""
    descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    os.set_blocking(descriptor, True)
    return descriptor


def _row(frame: int, target: int, result: Result) -> BoxRow:
    try:
        x, y, w, h, score, presence = map(float, (*result.box, result.score, result.presence))
        if not math.isfinite(x + y + w + h + score + presence):
            raise ValueError("not finite")
        return BoxRow(frame, target, (x, y, w, h), score, presence, str(result.status))
    except (AttributeError, TypeError, ValueError, OverflowError):
        wanted = "a Result of a box x,y,w,h, a score and a presence, all finite numbers"
        raise InputError(f"target {target} of frame {frame}: expected {wanted}; got {str(result)[:200]}") from None


class BoxWriter(contextlib.AbstractContextManager["BoxWriter"]):
    """Writes the boxes of a run while it goes; a context manager.

    - txt: one `x,y,w,h` line a frame, the first line the given box; one file a target.
    - csv: a header, then a row `frame,target,x,y,w,h,score,presence,status` for each target of each frame, and
      `label` at its end where classes are named.
    - jsonl: the same as one JSON object a line; json: the same objects as one list.
    - mot: `frame,id,x,y,w,h,conf,-1,-1,-1`, frames and pixels from 1; no row for a lost target.
    - coco, cvat, labelstudio, yolo: written at the end, see `render_boxes`; yolo into a folder, whose other texts in
      `labels/` are removed, or into a .zip file.

    Numbers have at most four decimals. Each frame's lines are written at once and in place, so they stay if the run
    stops. A json file is a whole list after each frame.
    """

    @checked
    def __init__(self, path: str | Path, targets: int, kind: str | None = None, clip: Clip | None = None) -> None:
        """Create the file or files, replacing those of an earlier run.

        The path is of a folder for yolo, unless it ends in .zip. The formats that are written at the end need the
        `clip`.

        Raises:
            InputError: as `format_of`, no clip where one is needed, or a file that cannot be written.
        """
        self._kind = format_of(path, kind)
        self.paths = box_paths(path, targets, self._kind)
        self._targets = targets
        self._clip = clip.writable() if clip else Clip("", (0, 0), 0.0)
        self._rows: list[BoxRow] | None = None if self._kind in LINES else []
        self._files: list[TextIO] = []
        self._begun = False  # whether a json file has a row
        self._end = ""  # what stands behind the last row, to be written over by the next ones
        if self._rows is not None:
            if clip is None:
                raise InputError(f"the format {self._kind} needs to know the clip that the boxes belong to")
            check_images(clip.images, self._kind)
            return
        for name in self.paths:
            try:
                self._files.append(open(name, "w", encoding="utf-8", newline="\n", opener=_open_now))  # noqa: SIM115
            except OSError as error:
                self.close()
                raise InputError(f"cannot write '{name}': {reason(error)}") from error
        heads = {"csv": (",".join(self._clip.columns()) + "\n", ""), "json": ("[", JSON_END)}
        if self._kind in heads:
            try:
                self._put(0, *heads[self._kind])
            except InputError:
                self.close()
                if self.paths[0].is_file():
                    self.paths[0].unlink()  # not even its head could be written
                raise

    @checked
    def write(self, frame: int, results: Sequence[Result]) -> None:
        """Append the boxes of frame number `frame` of the source, from 0, in continuous pixels, one for each target.

        Raises:
            InputError: another number of results, or ones that are not finite numbers; or the disk is full: whole lines
                written before are kept.
        """
        if len(results) != self._targets:
            raise InputError(f"expected results of {self._targets} targets; got {len(results)}")
        rows = [_row(frame, n, result) for n, result in enumerate(results, 1)]
        if self._rows is not None:
            self._rows += rows
            return
        lines = [LINES[self._kind](row, self._clip) for row in rows]
        if self._kind == "txt":
            for n, line in enumerate(lines):
                self._put(n, f"{line}\n")
        elif self._kind == "json":
            self._put(0, (",\n" if self._begun else "\n") + ",\n".join(map(str, lines)), JSON_END)
            self._begun = True
        else:
            self._put(0, "".join(f"{line}\n" for line in lines if line is not None))

    def close(self) -> None:
        """Close the files, and write those that are written at the end; a second call does nothing.

        Raises:
            DataError: a file that cannot be written or removed.
        """
        for file in self._files:
            file.close()
        rows, self._rows = self._rows, None
        if rows:
            path = self.paths[0]
            if self._kind != "yolo" or path.suffix.lower() == ".zip":
                write_whole(path, pack_boxes(rows, self._clip, self._kind)[1])
                return
            texts = render_boxes(rows, self._clip, self._kind)
            for name, text in texts.items():
                write_whole(path / name, text)
            for old in (path / "labels").glob("*.txt"):
                if f"labels/{old.name}" not in texts:
                    try:
                        old.unlink()
                    except OSError as error:
                        raise DataError(f"cannot remove {old} of an earlier run: {reason(error)}") from error

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
