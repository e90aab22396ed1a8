"""Files that are no exports, or bad ones, and frames of wrong types: one clear line each."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_exports import made_export, note
from onnx import TensorProto, helper, numpy_helper

import siamtrack
from siamtrack.errors import InputError, SiamtrackError

FRAME = np.zeros((60, 80, 3), np.uint8)
BOX = (10.0, 12.0, 20.0, 16.0)
Change = Callable[[onnx.ModelProto], None]
NODE = helper.make_node


def graph_changed(change: Change) -> Callable[[Path], Path]:
    """What writes the mover with another graph."""

    def write(path: Path) -> Path:
        model = onnx.load(made_export(path, note()))
        change(model)
        path.write_bytes(model.SerializeToString())
        return path

    return write


def note_changed(**changes: Any) -> Callable[[Path], Path]:
    return lambda path: made_export(path, note(**changes))


def bytes_changed(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        made_export(path, note())
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def output_through(name: str, *nodes: Any) -> Change:
    """Put nodes, from `NAME.before` to NAME, behind one of the graph's outputs."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for i, output in enumerate(node.output):
                if output == name:
                    node.output[i] = f"{name}.before"
            for i, given in enumerate(node.input):
                if given == name:
                    node.input[i] = f"{name}.before"
        model.graph.node.extend(nodes)
        for value in model.graph.output:
            if value.name == name:
                value.type.tensor_type.ClearField("shape")

    return change


def constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, numpy_helper.from_array(value, name)])


def outside_data(place: str) -> Change:
    """A constant that lies in another file."""

    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "shift")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", place), ("offset", "0"), ("length", "16")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return change


def three_numbers(model: onnx.ModelProto) -> None:
    for name, value in (("zero1", [0]), ("three1", [3]), ("one1", [1])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    output_through("tracked", NODE("Slice", ["tracked.before", "zero1", "three1", "one1"], ["tracked"]))(model)


def huge(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "shift")
    del tensor.dims[:]
    tensor.dims.extend([2**40, 2**20])


def negative(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "shift")
    del tensor.dims[:]
    tensor.dims.extend([-1, 4])


def foreign(path: Path) -> Path:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "net",
        [info("x", TensorProto.FLOAT, [1, 3, 8, 8])], [info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


def described_foreign(path: Path) -> Path:
    """Another network with siamtrack's description."""
    model = onnx.load(foreign(path))
    helper.set_model_props(model, {"siamtrack": json.dumps(note())})
    path.write_bytes(model.SerializeToString())
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def packed(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", b"x" * 100)
    return path


def written(data: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return write


def description(text: str) -> Callable[[Path], Path]:
    def change(model: onnx.ModelProto) -> None:
        helper.set_model_props(model, {"siamtrack": text})

    return graph_changed(change)


KINDS: dict[str, Callable[[Path], Path]] = {
    "cut at a tenth": bytes_changed(lambda data: data[: len(data) // 10]),
    "cut before its end": bytes_changed(lambda data: data[:-40]),
    "some bits": bytes_changed(lambda data: bytes(b ^ (4 * (i % 100 == 50)) for i, b in enumerate(data))),
    "empty": written(b""),
    "text": written(b"a text\n" * 50),
    "a zip file": packed,
    "gzip": bytes_changed(gzip.compress),
    "a folder": folder,
    "a picture": written(b"\x89PNG\r\n\x1a\n" + bytes(200)),
    "zeros": written(bytes(4096)),
    "a foreign network": foreign,
    "a foreign network with a description": described_foreign,
    "no JSON": description("not json"),
    "JSON of another kind": description("[1, 2]"),
    "JSON nested deep": description("[" * 100_000),
    "a name on two lines": note_changed(name="a\nb\x1b[31m", format=7),
    "a later format": note_changed(format=2),
    "huge state": note_changed(state={"boxes": {"type": "float32", "shape": [None, 2**30, 2**30]}}),
    "state of text": note_changed(state={"boxes": {"type": "object", "shape": [None, 4]}}),
    "state that is not there": note_changed(state={"other": {"type": "float32", "shape": [None, 4]}}),
    "state of another shape": note_changed(
        state={"boxes": {"type": "float32", "shape": [None, 5]}, "frames": {"type": "int64", "shape": [None]}}
    ),
    "state of another type": note_changed(
        state={"boxes": {"type": "float64", "shape": [None, 4]}, "frames": {"type": "int64", "shape": [None]}}
    ),
    "operators of the future": graph_changed(lambda m: setattr(m.opset_import[0], "version", 999)),
    "format of the future": graph_changed(lambda m: setattr(m, "ir_version", 999)),
    "operators of a stranger": graph_changed(lambda m: setattr(m.graph.node[0], "domain", "com.strange")),
    "an unknown operator": graph_changed(lambda m: setattr(m.graph.node[0], "op_type", "Trackify")),
    "a constant of 2^60 numbers": graph_changed(huge),
    "a constant of -4 numbers": graph_changed(negative),
    "data in /etc/passwd": graph_changed(outside_data("/etc/passwd")),
    "data in ../../etc/passwd": graph_changed(outside_data("../../../../../../etc/passwd")),
    "data in a file that is not there": graph_changed(outside_data("weights.bin")),
    "boxes that are no numbers": graph_changed(lambda m: constant(m, "shift", np.full((1, 4), np.nan, np.float32))),
    "boxes of three numbers": graph_changed(three_numbers),
    "scores of another shape": graph_changed(
        output_through("scores", NODE("Unsqueeze", ["scores.before", "first"], ["scores"]))
    ),
    "a graph that stops with an error": graph_changed(
        lambda m: constant(m, "shift", np.zeros((3, 7), np.float32))
    ),
}  # fmt: skip


@pytest.mark.parametrize("runtime", ["onnxruntime"])
@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_are_told_in_one_line(kind: str, runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(runtime)
    path = KINDS[kind](tmp_path / "model.onnx")
    with pytest.raises(SiamtrackError) as caught:
        tracker = siamtrack.load(path, engine=runtime, threads=1)
        tracker.init(FRAME, BOX)
        tracker.update(FRAME)
    said = str(caught.value)
    assert "\n" not in said and said.isprintable() and str(path) in said and len(said) < 600, said
    assert "root:" not in said  # nothing of /etc/passwd
    assert "ONNXRuntimeError" not in said and ".cc:" not in said and ".cpp:" not in said, said
    print(f"{kind}: {said}")


@pytest.mark.parametrize("runtime", ["onnxruntime"])
def test_wrong_frames_are_told_in_one_line(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(runtime)
    tracker = siamtrack.load(made_export(tmp_path / "mover.onnx", note()), engine=runtime, threads=1)
    wrong: list[Any] = [
        None, 3, "frame.png", b"bytes", [[1, 2]], object(), FRAME.tolist(), FRAME[..., 0], FRAME[None],
        FRAME.transpose(2, 0, 1), FRAME[..., :2], np.zeros((60, 80, 4), np.uint8), FRAME.astype(np.float32),
        FRAME.astype(np.int16), FRAME.astype(np.uint16), FRAME.astype(bool), FRAME.astype(object), FRAME[:0],
        FRAME[:, :0], np.zeros((), np.uint8), np.zeros(3, np.uint8),
    ]  # fmt: skip
    for frame in wrong:
        with pytest.raises(InputError) as caught:
            tracker.init(frame, BOX)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    # The same pixels in other pieces of memory are as good.
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
    locked = whole[::2, ::2].copy()
    locked.flags.writeable = False
    for frame in (whole[::2, ::2], whole[::-2, ::2], locked, np.asfortranarray(locked)):
        tracker.init(frame, BOX)
        assert tracker.update(frame).box.w > 0
