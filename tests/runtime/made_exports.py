"""A small exported tracker without a network: boxes move by a constant, scores sink from frame to frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHIFT = (3.0, 2.0, 1.0, 0.5)
SINK = 0.25


def note(**changes: Any) -> dict[str, Any]:
    """The metadata of `made_export`."""
    preset = {"name": "mover", "model": {"family": "siamcar", "backbone": "none"}, "published": [], "description": "d"}
    return {
        "format": 1, "version": "0.1.0", "name": "mover", "description": "moves", "licence": "Apache-2.0",
        "preset": preset, "precision": "float32", "inputs": {}, "outputs": {},
        "state": {
            "boxes": {"type": "float32", "shape": [None, 4]},
            "frames": {"type": "int64", "shape": [None]},
        },
        **changes,
    }  # fmt: skip


def _branch(name: str, nodes: list[Any], outputs: list[Any]) -> Any:
    return helper.make_graph(nodes, name, [], outputs)


def made_export(path: Path, metadata: dict[str, Any] | None = None) -> Path:
    """Write the file; score and presence are 1 - 0.25 frames, at least 0, and the frame's mean is not looked at."""
    info = helper.make_tensor_value_info
    constants = {
        "shift": np.array([SHIFT], np.float32), "sink": np.float32(SINK), "one": np.float32(1), "zero": np.float32(0),
        "step": np.array([1], np.int64), "none": np.array([0], np.int64), "first": np.array([0], np.int64),
    }  # fmt: skip
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    node = helper.make_node
    begin = [
        node("Identity", ["boxes"], ["b_tracked"]),
        node("Shape", ["boxes"], ["b_shape"], start=0, end=1),
        node("Expand", ["one", "b_shape"], ["b_scores"]),
        node("Expand", ["none", "b_shape"], ["b_frames"]),
    ]
    move = [
        node("Add", ["state.boxes", "shift"], ["s_tracked"]),
        node("Add", ["state.frames", "step"], ["s_frames"]),
        node("Cast", ["s_frames"], ["s_count"], to=TensorProto.FLOAT),
        node("Mul", ["s_count", "sink"], ["s_sunk"]),
        node("Sub", ["one", "s_sunk"], ["s_left"]),
        node("Max", ["s_left", "zero"], ["s_scores"]),
    ]
    outs = [("tracked", TensorProto.FLOAT, 2), ("scores", TensorProto.FLOAT, 1), ("frames", TensorProto.INT64, 1)]

    def outputs(prefix: str) -> list[Any]:
        return [info(f"{prefix}_{name}", kind, [f"N{prefix}", 4][:rank]) for name, kind, rank in outs]

    nodes = [
        node("Shape", ["boxes"], ["rows"], start=0, end=1),
        node("Greater", ["rows", "first"], ["begins_"]),
        node("Squeeze", ["begins_"], ["begins"]),
        node(
            "If", ["begins"], ["tracked", "scores", "next.frames"],
            then_branch=_branch("begin", begin, outputs("b")), else_branch=_branch("move", move, outputs("s")),
        ),
        node("Identity", ["tracked"], ["next.boxes"]),
        node("Identity", ["scores"], ["presence"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "mover",
        [
            info("frame", TensorProto.UINT8, ["H", "W", 3]), info("boxes", TensorProto.FLOAT, ["N", 4]),
            info("state.boxes", TensorProto.FLOAT, ["M", 4]), info("state.frames", TensorProto.INT64, ["M"]),
        ],
        [
            info("tracked", TensorProto.FLOAT, ["K", 4]), info("scores", TensorProto.FLOAT, ["K"]),
            info("presence", TensorProto.FLOAT, ["K"]), info("next.boxes", TensorProto.FLOAT, ["K", 4]),
            info("next.frames", TensorProto.INT64, ["K"]),
        ],
        initial,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata is not None:
        helper.set_model_props(model, {"siamtrack": json.dumps(metadata)})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
