"""What an exported file says of itself, read without a runtime: files are data, and foreign ones are told in a line.

docs/deploy.md describes the format.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal
from xml.etree import ElementTree

from siamtrack.errors import WeightsError, reason

EXPORT_FORMAT = 1
"""The version of the graph's interface and of its metadata."""
EXPORT_KEY = "siamtrack"
"""The key of the metadata, in `metadata_props` of ONNX and `rt_info` of OpenVINO."""
EXPORT_SUFFIXES = (".onnx", ".xml")
Precision = Literal["float32", "float16", "bfloat16", "int8"]
"""What the network of an exported file computes with."""

_TYPES = ("float32", "float16", "float64", "int64", "int32", "uint8", "bool")
_PROPERTIES = 14  # the number of `metadata_props` in ONNX's ModelProto
_LONGEST = 16 * 2**20


@dataclass(frozen=True)
class Exported:
    """An exported tracker's metadata.

    Attributes:
        precision: "float32", "float16", "bfloat16" or "int8".
        preset: the resolved preset that it tracks with, as JSON tables.
        state: by name the type and shape of each state tensor without its leading dimension of targets.
        size: bytes of the file and, of OpenVINO's, of the one with the weights.
        licence: of the weights.
    """

    path: Path
    size: int
    name: str
    precision: str
    preset: dict[str, Any]
    state: dict[str, tuple[str, tuple[int, ...]]]
    licence: str = ""
    description: str = ""


def read_exported(path: str | Path) -> Exported:
    """Read the metadata of an .onnx or OpenVINO .xml file that siamtrack exported.

    Raises:
        WeightsError: no such file, another kind of file, a foreign or damaged one, or a later format.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no exported file {path}")
    try:
        if path.suffix == ".xml":
            text = _openvino_note(path)
        else:
            with path.open("rb") as file:
                text = _onnx_note(file, path.stat().st_size)
    except (ElementTree.ParseError, EOFError, ValueError, OverflowError) as error:
        kind = "OpenVINO" if path.suffix == ".xml" else "ONNX"
        raise WeightsError(f"{path} is not an {kind} file, or it is damaged: {reason(error)}") from None
    except OSError as error:
        raise WeightsError(f"{path}: {reason(error)}") from None
    if text is None:
        raise WeightsError(
            f"{path} is no tracker that siamtrack exported; make one with `siamtrack export MODEL --out {path.name}`"
        )
    return _checked(text, path)


def _checked(text: str, path: Path) -> Exported:
    try:
        note = json.loads(text)
        if note["format"] != EXPORT_FORMAT:
            raise WeightsError(
                f"{path} was exported in format {str(note['format'])[:20]}, and this version reads format "
                f"{EXPORT_FORMAT}: install a newer siamtrack, or export the model with this one"
            )
        state = {}
        for name, entry in note["state"].items():
            kind, shape = entry["type"], tuple(entry["shape"][1:])
            sides_fit = all(type(side) is int and 0 < side < 2**31 for side in shape) and prod(shape) < 2**31
            if kind not in _TYPES or not sides_fit:
                raise ValueError(f"state.{name} has type {kind} and shape {entry['shape']}")
            state[str(name)] = kind, shape
        if not isinstance(note["preset"], dict):
            raise ValueError("the preset is no table")
        return Exported(
            path, _size(path), str(note["name"]), str(note["precision"]), note["preset"], state,
            str(note.get("licence", "")), str(note.get("description", "")),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = reason(error)[:120]
        raise WeightsError(f"{path}: its description is damaged ({why}); export the model again") from None


def _size(path: Path) -> int:
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _openvino_note(path: Path) -> str | None:
    """The metadata in `rt_info`, where siamtrack puts it, or where OpenVINO keeps that of an ONNX file."""
    for _, element in ElementTree.iterparse(path):  # the graph comes first; its parts are dropped as they come
        if element.tag == "rt_info":
            for place in (EXPORT_KEY, f"framework/{EXPORT_KEY}"):
                found = element.find(place)
                if found is not None:
                    return found.get("value")
        elif element.tag not in (EXPORT_KEY, "framework"):
            element.clear()
    return None


def _onnx_note(file: BinaryIO, size: int) -> str | None:
    """The metadata of an ONNX file, which is skipped through field by field (protocol buffers, wire format)."""
    found = None
    for number, value in _fields(file, size, {_PROPERTIES}):
        if number == _PROPERTIES:
            pair = dict(_fields(io.BytesIO(value), len(value), {1, 2}))
            if pair.get(1) == EXPORT_KEY.encode():
                found = pair.get(2, b"").decode()
    return found


def _fields(file: BinaryIO, size: int, wanted: set[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the number and content of all fields of a message; content is read of those that are wanted."""
    while file.tell() < size:
        key = _varint(file)
        number, kind = key >> 3, key & 7
        if kind not in (0, 1, 2, 5) or number == 0:
            raise ValueError("its fields cannot be read")
        if kind == 0:
            _varint(file)
            continue
        length = _varint(file) if kind == 2 else 8 if kind == 1 else 4
        if file.tell() + length > size:
            raise EOFError("it is cut off")
        if number in wanted and kind == 2:
            if length > _LONGEST:
                raise ValueError("its metadata is too long")
            yield number, file.read(length)
        else:
            file.seek(length, io.SEEK_CUR)
            yield number, b""


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError("it is cut off")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("its fields cannot be read")
