"""The boxes of a run as texts: plain tables, and what labelling tools and training programs read.

A run is rows, one for each target of each frame, and the clip that they belong to. Tables (txt, csv, json, jsonl, mot)
have a line a row; the others (coco, cvat, labelstudio, yolo) are documents with a head or a sum of all rows.
"""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from siamtrack.errors import InputError, did_you_mean

COLUMNS = ("frame", "target", "x", "y", "w", "h", "score", "presence", "status")
"""The columns of csv, and the keys of json and jsonl; see `Clip.columns`."""

UNNAMED = "object"
"""The class of targets that were given none."""

JSON_END = "\n]\n"
"""What stands behind the last row of a json file."""

_MOST_MISSING = 1 << 22  # lines without a box in a txt file

_SUFFIXES = {".txt": "txt", ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".xml": "cvat", ".zip": "yolo"}


class BoxRow(NamedTuple):
    """One target in one frame.

    Attributes:
        frame: number in the source, from 0.
        target: from 1.
        box: x, y, w, h in continuous pixels.
        score: the network's own, in [0, 1].
        presence: estimate in [0, 1] that the box is on the target.
        status: "tracking", "uncertain" or "lost".
    """

    frame: int
    target: int
    box: Sequence[float]
    score: float
    presence: float
    status: str


@dataclass(frozen=True)
class Clip:
    """What the boxes belong to.

    Attributes:
        name: the file name of the video, or the name of the folder of images.
        size: (width, height) of its frames in pixels.
        fps: its frames a second.
        count: its frames; None if not known (then it ends with the last row).
        images: the file name of each frame, for a folder of images; empty for a video.
        labels: the class of each target, in the order of the targets; one label serves all that follow it.
        stride: frames from one row of a target to the next while it is followed: where its next row is further on, it
            was not followed in between. None for a live source, whose rows are as far apart as they came.
    """

    name: str
    size: tuple[int, int]
    fps: float
    count: int | None = None
    images: Sequence[str] = ()
    labels: Sequence[str] = (UNNAMED,)
    stride: int | None = 1

    def label(self, target: int) -> str:
        """The class of a target, counted from 1."""
        return self.labels[min(target, len(self.labels)) - 1]

    def classes(self) -> list[str]:
        """The different classes, in the order in which they first come."""
        return list(dict.fromkeys(self.labels))

    def columns(self) -> tuple[str, ...]:
        """The columns of csv, and the keys of json and jsonl: with the class at the end, unless none was named."""
        return COLUMNS if self.classes() == [UNNAMED] else (*COLUMNS, "label")

    def image(self, frame: int) -> str:
        """The file name of a frame; of a video's, what tools that cut it into images would call it."""
        known = frame < len(self.images)
        return self.images[frame] if known else f"{PurePosixPath(self.name).stem}_{frame:06d}.jpg"

    def writable(self) -> Clip:
        """The same with escapes for what names may hold and files of text may not: half characters, control codes."""
        images, labels = ([_writable(text) for text in texts] for texts in (self.images, self.labels))
        return replace(self, name=_writable(self.name), images=images, labels=labels)

    def length(self, rows: Sequence[BoxRow]) -> int:
        """The number of its frames, or where it is not known, of those up to the last row."""
        return max(self.count or 0, rows[-1].frame + 1 if rows else 0)

    def stop(self, row: BoxRow, after: BoxRow | None, length: int) -> int | None:
        """The frame from which on a target has no rows, given one row and the next; None where it has or the clip ends.

        Programs that draw a box on until the next one have to be told of that frame.
        """
        frame = row.frame + (self.stride or 1)
        known = length if after is None else after.frame if self.stride is not None else frame
        return frame if frame < known else None


def format_of(path: str | Path, kind: str | None = None) -> str:
    """The format of a file: `kind`, or the one that its suffix stands for.

    Raises:
        InputError: an unknown format, a suffix that stands for none, or a zip file of a format that is one file.
    """
    if kind is not None:
        if kind not in FORMATS:
            raise InputError(f"unknown format '{kind}'{did_you_mean(kind, FORMATS)} Known: {', '.join(FORMATS)}")
        if kind != "yolo" and Path(path).suffix.lower() == ".zip":
            raise InputError(
                f"a .zip file of boxes is in the format yolo; {kind} is one file: give '{path}' another suffix"
            )
        return kind
    found = _SUFFIXES.get(Path(path).suffix.lower())
    if found is None:
        raise InputError(
            f"boxes are written as {', '.join(_SUFFIXES)}, or as --format says ({', '.join(FORMATS)}); got '{path}'"
        )
    return found


def check_images(images: Sequence[str], kind: str) -> None:
    """Refuse frames whose boxes a format would write into one file: yolo's, which are named like the image.

    Raises:
        InputError: two images that differ in their suffix alone.
    """
    seen: dict[str, str] = {}
    for name in images if kind == "yolo" else ():
        if (other := seen.setdefault(PurePosixPath(name).stem, name)) != name:
            raise InputError(
                f"the format yolo has one file of boxes for '{other}' and '{name}': give the images different names"
            )


def _txt_line(row: BoxRow, clip: Clip) -> str:
    return ",".join(map(_number, row.box))


def _txt(rows: Sequence[BoxRow], clip: Clip) -> str:
    """One target's lines, of nan for the frames between two rows in which it was not followed."""
    gaps = [0] * len(rows)
    if (stride := clip.stride) is not None:
        gaps[1:] = [max(0, (row.frame - before.frame) // stride - 1) for before, row in pairwise(rows)]
    if (missing := sum(gaps)) > _MOST_MISSING:
        raise InputError(f"txt has a line for each frame, {missing} of them without a box here; choose another format")
    return "".join("nan,nan,nan,nan\n" * gap + f"{_txt_line(row, clip)}\n" for gap, row in zip(gaps, rows, strict=True))


def _csv_line(row: BoxRow, clip: Clip) -> str:
    numbers = map(_number, (row.frame, row.target, *row.box, row.score, row.presence))
    line = io.StringIO()
    cells = (*numbers, row.status, clip.label(row.target))
    csv.writer(line, lineterminator="").writerow(cells[: len(clip.columns())])
    return line.getvalue()


def _json_line(row: BoxRow, clip: Clip) -> str:
    numbers = map(_rounded, (*row.box, row.score, row.presence))
    values = (row.frame, row.target, *numbers, row.status, clip.label(row.target))
    return json.dumps(dict(zip(clip.columns(), values, strict=False)))


def _mot_line(row: BoxRow, clip: Clip) -> str | None:
    """Frames and pixels count from 1 (Leal-Taixe et al., MOTChallenge 2015, section 3.3); the lost have no row."""
    if row.status == "lost":
        return None
    x, y, w, h = row.box
    return ",".join(map(_number, (row.frame + 1, row.target, x + 1, y + 1, w, h, row.presence, -1, -1, -1)))


LINES: dict[str, Callable[[BoxRow, Clip], str | None]] = {
    "txt": _txt_line,
    "csv": _csv_line,
    "json": _json_line,
    "jsonl": _json_line,
    "mot": _mot_line,
}
"""The line of a row in each of the tables; None for a row that the table leaves out."""


def _coco(rows: Sequence[BoxRow], clip: Clip) -> str:
    """COCO's instances with `videos`, `frame_id` and `track_id`; the lost have no annotation."""
    width, height = clip.size
    classes = clip.classes()
    frames = sorted({row.frame for row in rows})
    numbers = {frame: n for n, frame in enumerate(frames, 1)}
    seen = [row for row in rows if row.status != "lost"]
    table = {
        "videos": [{"id": 1, "name": clip.name, "file_name": clip.name, "width": width, "height": height}],
        "images": [
            {
                "id": numbers[frame],
                "file_name": clip.image(frame),
                "width": width,
                "height": height,
                "video_id": 1,
                "frame_id": frame,
            }
            for frame in frames
        ],
        "categories": [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(classes, 1)],
        "annotations": [
            {
                "id": n,
                "image_id": numbers[row.frame],
                "category_id": classes.index(clip.label(row.target)) + 1,
                "bbox": [_rounded(value) for value in row.box],
                "area": _rounded(row.box[2] * row.box[3]),
                "iscrowd": 0,
                "segmentation": [],
                "track_id": row.target,
                "attributes": {"track_id": row.target},  # where CVAT and datumaro look for it
                "score": _rounded(row.presence),
            }
            for n, row in enumerate(seen, 1)
        ],
    }
    return json.dumps(table, indent=1) + "\n"


def _cvat(rows: Sequence[BoxRow], clip: Clip) -> str:
    """CVAT for video 1.1: a track for each target, a key frame for each row, `outside="1"` where it is lost.

    CVAT draws a box on until the next key frame, and moves it there, so one outside follows a row after which a target
    has none for a while, or none until the clip ends.
    """
    length = clip.length(rows)
    root = ET.Element("annotations")
    _text(root, "version", "1.1")
    task = ET.SubElement(ET.SubElement(root, "meta"), "task")
    for name, value in (
        ("name", clip.name),
        ("size", length),
        ("mode", "interpolation"),
        ("start_frame", 0),
        ("stop_frame", max(0, length - 1)),
    ):
        _text(task, name, str(value))
    labels = ET.SubElement(task, "labels")
    for name in clip.classes():
        label = ET.SubElement(labels, "label")
        _text(label, "name", name)
        _text(label, "type", "rectangle")
        ET.SubElement(label, "attributes")
    size = ET.SubElement(task, "original_size")
    _text(size, "width", str(clip.size[0]))
    _text(size, "height", str(clip.size[1]))
    _text(task, "source", clip.name)
    for target, own in _by_target(rows).items():
        track = ET.SubElement(root, "track", id=str(target - 1), label=clip.label(target), source="auto")
        for row, after in zip_longest(own, own[1:]):
            _cvat_box(track, row.frame, row.box, row.status == "lost")
            if row.status != "lost" and (stop := clip.stop(row, after, length)) is not None:
                _cvat_box(track, stop, row.box, True)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _cvat_box(track: ET.Element, frame: int, box: Sequence[float], outside: bool) -> None:
    x, y, w, h = (float(value) for value in box)
    attributes = {"frame": str(frame), "keyframe": "1", "outside": "1" if outside else "0", "occluded": "0"}
    corners = {"xtl": _number(x), "ytl": _number(y), "xbr": _number(x + w), "ybr": _number(y + h), "z_order": "0"}
    ET.SubElement(track, "box", {**attributes, **corners})


def _labelstudio(rows: Sequence[BoxRow], clip: Clip) -> str:
    """Label Studio's tasks with one prediction: a `videorectangle` a target, in per cent of the frame, frames from 1.

    After an entry whose `enabled` is false Label Studio draws nothing until the next one: so ends a target that is
    lost, whose rows are left out, and one that has no rows for a while or until the clip ends. `from_name` and
    `to_name` are those of Label Studio's template for object tracking.
    """
    length = clip.length(rows)
    found = []
    for target, own in _by_target(rows).items():
        sequence = []
        for row, after in zip_longest(own, own[1:]):
            if (shares := _shares(row, clip)) is None:
                continue
            x, y, w, h = (round(100 * share, 6) for share in shares)
            sequence.append(
                {
                    "frame": row.frame + 1,
                    "time": round((row.frame + 1) / clip.fps, 6),
                    "enabled": clip.stop(row, after, length) is None
                    and (after is None or _shares(after, clip) is not None),
                    "rotation": 0,
                    "x": x,
                    "y": y,
                    "width": w,
                    "height": h,
                }
            )
        if not sequence:
            continue
        value = {
            "framesCount": length,
            "duration": round(length / clip.fps, 6),
            "sequence": sequence,
            "labels": [clip.label(target)],
        }
        found.append(
            {
                "id": f"target-{target}",
                "type": "videorectangle",
                "from_name": "box",
                "to_name": "video",
                "origin": "prediction",
                "score": _rounded(sum(row.presence for row in own) / len(own)),
                "value": value,
            }
        )
    score = sum(row.presence for row in rows) / len(rows) if rows else 0.0
    prediction = {"model_version": "siamtrack", "score": _rounded(score), "result": found}
    return json.dumps([{"data": {"video": clip.name}, "predictions": [prediction]}], indent=1) + "\n"


def _yolo(rows: Sequence[BoxRow], clip: Clip) -> dict[str, str]:
    """A text a frame below `labels/`, `class cx cy w h` as shares of the frame; `classes.txt` and `data.yaml`.

    A frame in which all targets are lost has an empty text.
    """
    classes = clip.classes()
    texts: dict[str, list[str]] = {}
    for row in rows:
        lines = texts.setdefault(f"labels/{PurePosixPath(clip.image(row.frame)).stem}.txt", [])
        if (shares := _shares(row, clip)) is not None:
            x, y, w, h = shares
            numbers = " ".join(f"{share:.6f}" for share in (x + w / 2, y + h / 2, w, h))
            lines.append(f"{classes.index(clip.label(row.target))} {numbers}")
    files = {name: "".join(f"{line}\n" for line in lines) for name, lines in texts.items()}
    files["classes.txt"] = "".join(f"{name}\n" for name in classes)
    names = "".join(f"  {n}: {_quoted(name)}\n" for n, name in enumerate(classes))
    files["data.yaml"] = f"path: .\ntrain: images\nval: images\nnames:\n{names}"
    return files


_DOCUMENTS: dict[str, Callable[[Sequence[BoxRow], Clip], str]] = {
    "coco": _coco,
    "cvat": _cvat,
    "labelstudio": _labelstudio,
}

FORMATS: Mapping[str, str] = {
    "csv": ".csv",
    "json": ".json",
    "jsonl": ".jsonl",
    "txt": ".txt",
    "mot": ".txt",
    "coco": ".json",
    "yolo": ".zip",
    "cvat": ".xml",
    "labelstudio": ".json",
}
"""The formats of boxes, and the suffix that a file of each usually has."""


def render_boxes(rows: Iterable[BoxRow], clip: Clip, kind: str) -> dict[str, str]:
    """Turn the boxes of a run into the texts of a format.

    Args:
        rows: in the order of the frames; a target's rows may begin and end anywhere.
        clip: what they belong to.
        kind: one of `FORMATS`.

    Returns:
        By file name: for yolo `labels/NAME.txt` of each frame, `classes.txt` and `data.yaml`; for txt with several
        targets `boxes-1.txt`, `boxes-2.txt`, ...; else one text, `boxes` with the format's suffix.

    Raises:
        InputError: an unknown format, txt for rows with millions of frames between them, or see `check_images`.
    """
    kind, rows, clip = format_of("", kind), list(rows), clip.writable()
    check_images(clip.images, kind)
    if kind == "yolo":
        return _yolo(rows, clip)
    name = f"boxes{FORMATS[kind]}"
    if kind in _DOCUMENTS:
        return {name: _DOCUMENTS[kind](rows, clip)}
    own = _by_target(rows)
    if kind == "txt":
        names = [f"boxes-{target}.txt" for target in own] if len(own) > 1 else [name]
        return dict(zip_longest(names, (_txt(some, clip) for some in own.values()), fillvalue=""))
    lines = [line for row in rows if (line := LINES[kind](row, clip)) is not None]
    if kind == "json":
        return {name: "[\n" + ",\n".join(lines) + JSON_END}
    return {name: "".join(f"{line}\n" for line in ([",".join(clip.columns())] if kind == "csv" else []) + lines)}


def pack_boxes(rows: Iterable[BoxRow], clip: Clip, kind: str) -> tuple[str, bytes]:
    """Turn the boxes of a run into one file: its usual name and its content; several texts become a zip file.

    Arguments and errors are those of `render_boxes`.
    """
    texts = render_boxes(rows, clip, kind)
    if kind != "yolo" and len(texts) == 1:
        name, text = next(iter(texts.items()))
        return name, text.encode()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in texts.items():
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)  # the same bytes for the same boxes
    return "boxes.zip", data.getvalue()


def _by_target(rows: Sequence[BoxRow]) -> dict[int, list[BoxRow]]:
    found: dict[int, list[BoxRow]] = {}
    for row in rows:
        found.setdefault(row.target, []).append(row)
    return dict(sorted(found.items()))


_NOT_IN_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no place for


def _writable(text: str) -> str:
    return _NOT_IN_TEXT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _quoted(text: str) -> str:
    """A text in YAML, which has JSON's escapes but for characters beyond 16 bits, and wants controls escaped."""
    shown = json.dumps(text, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", shown)


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _shares(row: BoxRow, clip: Clip) -> tuple[float, float, float, float] | None:
    """The part of a box inside the frame, x, y, w, h as shares of its sides; None of a lost target and of no area."""
    (width, height), (x, y, w, h) = clip.size, map(float, row.box)
    x0, y0, x1, y1 = max(0.0, x), max(0.0, y), min(float(width), x + w), min(float(height), y + h)
    if row.status == "lost" or x1 <= x0 or y1 <= y0:
        return None
    return x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height


def _rounded(value: float) -> float:
    return round(float(value), 4) + 0.0  # + 0.0 turns -0.0 into 0.0


def _number(value: Any) -> str:
    """At most four decimals, and none that say nothing: 12.5, 40."""
    return f"{_rounded(value):.4f}".rstrip("0").rstrip(".")
