"""PyTorch modules as ONNX graphs, with what a graph says in another way than PyTorch.

Two operations of a trace have no ONNX operator, for they differ from target to target: `siamtrack::Cut`, which reads
a part of the frame of another size for each, and `siamtrack::Correlate`, a convolution with kernels of each one's own.
Both become a loop over the targets; where their number is fixed and small, they are written out for each.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, get_args

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.export.graph import OPSET, Graph, read_graph, reads
from siamtrack.geometry.crop import Region, Rounding, resample, sampling, squares

_FEW = 3
"""Regions or targets up to this number are written out one by one: one target, and the scales of a search pyramid."""

_INPLACE = {
    torch.ops.aten.hardtanh_.default: torch.ops.aten.hardtanh.default,
    torch.ops.aten.relu_.default: torch.ops.aten.relu.default,
    torch.ops.aten.div_.Tensor: torch.ops.aten.div.Tensor,
}
"""Activations that overwrite their input, and the same ones that do not."""


def traced(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Sequence[int]],
    apart: bool = False,
) -> Graph:
    """Trace a module, and write it as a graph of ONNX's own operators.

    Args:
        module: its `forward` takes the inputs one by one.
        inputs: examples by name; a size that may change is above 1.
        outputs: names.
        dynamic: the dimensions of inputs, by name, that may change.
        apart: crops are made in branches of their own. Runtimes that compute in bfloat16 do so all around the network,
            where pixels would be cut from beside their places, but not in branches without convolutions.

    Raises:
        ConfigError: the module does what an ONNX graph cannot; the message has PyTorch's reason.
    """
    graph = read_graph(_traced_raw(module, inputs, dynamic), list(inputs), list(outputs))
    return _padded(_expanded(graph, apart)).without_unused()


def _traced_raw(
    module: nn.Module, inputs: Mapping[str, Tensor], dynamic: Mapping[str, Sequence[int]]
) -> onnx.ModelProto:
    """What PyTorch's exporter writes."""
    shapes = tuple(dict.fromkeys(dynamic.get(name, ()), torch.export.Dim.DYNAMIC) for name in inputs)
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(_Call(module), tuple(inputs.values()), dynamic_shapes=(shapes,), strict=False)
            # What overwrites a slice would become a scatter.
            for node in program.graph.nodes:
                node.target = _INPLACE.get(node.target, node.target)
            program.graph_module.recompile()
            written = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"this model cannot be exported: {reason[:300]}") from error
    assert written is not None
    return written.model_proto


class _Call(nn.Module):
    """A module whose inputs are one list, which is how their dynamic sizes are told apart."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log and the warnings of PyTorch's exporter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _expanded(graph: Graph, apart: bool) -> Graph:
    """The two operations that ONNX does not have: written out for few targets, as loops over any number of them."""
    out: list[NodeProto] = []
    constants = dict(graph.constants)
    for node in graph.nodes:
        few = node.op_type in ("Cut", "Correlate") and 0 < _attribute(node, "count") <= _FEW
        if node.op_type == "Cut":
            turned = graph.producer(node.input[0])
            assert turned is not None and turned.op_type == "Transpose", "a crop is cut from the frame itself"
            one = _cut_one(_attribute(node, "size"), _rounding(node))
            if not few:
                out += _cut_loop(turned.input[0], node, one)
                continue
            each = _cut_each(turned.input[0], node, one)
            if apart:
                out += _always(turned.input[0], node, each)
            else:
                out += each.nodes
                constants |= each.constants
        elif node.op_type == "Correlate" and few:
            each = _correlate_each(node)
            out += each.nodes
            constants |= each.constants
        elif node.op_type == "Correlate":
            out.append(_correlate_loop(node))
        else:
            out.append(node)
    return Graph(out, constants, graph.inputs, graph.outputs)


def _attribute(node: NodeProto, name: str) -> int:
    return next(int(a.i) for a in node.attribute if a.name == name)


def _rounding(node: NodeProto) -> Rounding:
    said = next(a.s.decode() for a in node.attribute if a.name == "rounding")
    return next(rule for rule in get_args(Rounding) if rule == said)


class _Sampling(nn.Module):
    """`squares` and `sampling` of one region of a frame of `limits` (2,) height and width."""

    def __init__(self, size: int, rounding: Rounding) -> None:
        super().__init__()
        self.size, self.rounding = size, rounding

    def forward(self, limits: Tensor, centre: Tensor, side: Tensor, fill: Tensor) -> tuple[Tensor, ...]:
        low, sides, colour = squares(Region(centre[None], side[None]), fill[None], self.rounding)
        return *sampling(limits, low[0], sides[0], self.size, self.rounding != "none"), colour[0]


class _Resample(nn.Module):
    def forward(self, part: Tensor, places: Tensor, shares: Tensor, colour: Tensor) -> Tensor:
        return resample(part, places, shares, colour)


_REGION = ("centre", "side", "fill")
"""What differs from region to region, in the order of a `Cut`'s inputs after the frame."""


@lru_cache
def _cut_one(size: int, rounding: Rounding) -> Graph:
    """From a `frame` and one region's `centre`, `side` and `fill` to its `crop` of `size` pixels.

    Kept, for both kinds of steps cut alike and a trace takes seconds: copy its nodes before changing them.
    """
    limits, part = torch.tensor([9, 7]), torch.zeros(9, 7, 3, dtype=torch.uint8)
    region = {"limits": limits, "centre": torch.ones(2), "side": torch.tensor(3.0), "fill": torch.ones(3)}
    found = ["bounds", "places", "shares", "colour"]
    located = traced(_Sampling(size, rounding), region, found, {})
    places, shares = torch.ones(2, 2, size, dtype=torch.long), torch.zeros(2, size)
    pixels = {"part": part, "places": places, "shares": shares, "colour": torch.zeros(3, dtype=torch.uint8)}
    resampled = traced(_Resample(), pixels, ["crop"], {"part": (0, 1)})
    shared = {*region, *found, "part", "crop"}
    parts = [located.renamed("at.", shared), resampled.renamed("of.", shared)]
    nodes = [
        helper.make_node("Shape", ["frame"], ["limits"], start=0, end=2),
        *parts[0].nodes,
        helper.make_node("Split", ["bounds"], ["first", "last"], axis=0, num_outputs=2),
        helper.make_node("Slice", ["frame", "first", "last", "axes"], ["part"]),
        *parts[1].nodes,
    ]
    constants = {**parts[0].constants, **parts[1].constants, "axes": np.array([0, 1])}
    return Graph(nodes, constants, ["frame", *_REGION], ["crop"])


def _body(node: NodeProto, frame: str, graph: Graph) -> Graph:
    """A graph with names that begin with the node's, but for the frame and the node's inputs as `all.NAME`."""
    prefix = f"{node.output[0]}/"
    own = graph.renamed(prefix, ())
    outside = dict(zip([f"{prefix}all.{name}" for name in _REGION], node.input[1:], strict=True))
    outside[f"{prefix}frame"] = frame
    for inner in own.nodes:
        inner.input[:] = [outside.get(name, name) for name in inner.input]
    return own


def _cut_each(frame: str, node: NodeProto, one: Graph) -> Graph:
    """The crops of a fixed number of regions, one after the other."""
    count = _attribute(node, "count")
    nodes: list[NodeProto] = []
    constants: dict[str, np.ndarray] = {"axis": np.array([0])}
    for i in range(count):
        own = one.renamed(f"{i}.", ["frame"])
        constants |= {**own.constants, f"{i}.row": np.array(i)}
        nodes += [helper.make_node("Gather", [f"all.{name}", f"{i}.row"], [f"{i}.{name}"]) for name in _REGION]
        nodes += [*own.nodes, helper.make_node("Unsqueeze", [f"{i}.crop", "axis"], [f"{i}.crops"])]
    nodes.append(helper.make_node("Concat", [f"{i}.crops" for i in range(count)], ["crops"], axis=0))
    each = _body(node, frame, Graph(nodes, constants, [], []))
    each.nodes[-1].output[0] = node.output[0]
    return each


def _always(frame: str, node: NodeProto, each: Graph) -> list[NodeProto]:
    """The crops in a branch that is taken with every frame."""
    size, count, prefix = _attribute(node, "size"), _attribute(node, "count"), f"{node.output[0]}/"
    each.nodes[-1].output[0] = f"{prefix}crops"
    shape = numpy_helper.from_array(np.array([count, 3, size, size]), f"{prefix}shape")
    shown, never = (
        helper.make_tensor_value_info(f"{prefix}{name}", TensorProto.FLOAT, [count, 3, size, size])
        for name in ("crops", "never")
    )
    tensors = [numpy_helper.from_array(value, name) for name, value in each.constants.items()]
    blank = [helper.make_node("ConstantOfShape", [shape.name], [never.name])]
    choice = helper.make_node(
        "If", [f"{prefix}any"], list(node.output), node.name,
        then_branch=helper.make_graph(each.nodes, "cut", [], [shown], tensors),
        else_branch=helper.make_graph(blank, "blank", [], [never], [shape]),
    )  # fmt: skip
    return [
        helper.make_node("Size", [frame], [f"{prefix}pixels"]),
        helper.make_node("Cast", [f"{prefix}pixels"], [f"{prefix}any"], to=TensorProto.BOOL),
        choice,
    ]


def _cut_loop(frame: str, node: NodeProto, one: Graph) -> list[NodeProto]:
    """A Loop over any number of regions. A Scan would do, but its body may not use the frame in OpenVINO."""
    size, prefix = _attribute(node, "size"), f"{node.output[0]}/"
    rows = [helper.make_node("Gather", [f"all.{name}", "i"], [name]) for name in _REGION]
    going = helper.make_node("Identity", ["going"], ["goes"])
    body = _body(node, frame, Graph([*rows, *one.nodes, going], one.constants, [], []))
    loop = helper.make_graph(
        body.nodes, "cut",
        [
            helper.make_tensor_value_info(f"{prefix}i", TensorProto.INT64, []),
            helper.make_tensor_value_info(f"{prefix}going", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info(f"{prefix}goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info(f"{prefix}crop", TensorProto.FLOAT, [3, size, size]),
        ],
        [numpy_helper.from_array(value, name) for name, value in body.constants.items()],
    )  # fmt: skip
    return [
        helper.make_node("Shape", [node.input[2]], [f"{prefix}shape"], start=0, end=1),
        helper.make_node("Squeeze", [f"{prefix}shape"], [f"{prefix}count"]),
        helper.make_node("Loop", [f"{prefix}count", ""], list(node.output), node.name, body=loop),
    ]


def _correlate_each(node: NodeProto) -> Graph:
    """The correlations of a fixed number of targets, one after the other."""
    prefix, count = f"{node.output[0]}/", _attribute(node, "count")
    kernels, maps = ([f"{prefix}{name}.{i}" for i in range(count)] for name in ("kernels", "maps"))
    responses = [f"{prefix}response.{i}" for i in range(count)]
    shape = f"{prefix}kernels.shape"
    nodes = [
        helper.make_node("Split", [node.input[0]], [f"{name}.row" for name in kernels], axis=0, num_outputs=count),
        helper.make_node("Split", [node.input[1]], maps, axis=0, num_outputs=count),
        *(helper.make_node("Reshape", [f"{name}.row", shape], [name]) for name in kernels),
        *(
            helper.make_node("Conv", [x, z], [y], y, group=_attribute(node, "groups"))
            for x, z, y in zip(maps, kernels, responses, strict=True)
        ),
        helper.make_node("Concat", responses, list(node.output), axis=0),
    ]
    return Graph(nodes, {shape: np.array(_shape(node, "kernels"))}, [], [])


def _correlate_loop(node: NodeProto) -> NodeProto:
    """A Scan over the targets: a convolution of each one's map with its own kernels."""
    prefix = f"{node.output[0]}/"
    kernels, maps, response = (
        helper.make_tensor_value_info(f"{prefix}{name}", TensorProto.FLOAT, _shape(node, name))
        for name in ("kernels", "map", "response")
    )
    nodes = [
        helper.make_node("Unsqueeze", ["map", "first"], ["maps"]),
        helper.make_node("Conv", ["maps", "kernels"], ["responses"], group=_attribute(node, "groups")),
        helper.make_node("Squeeze", ["responses", "first"], ["response"]),
    ]
    own = Graph(nodes, {"first": np.array([0])}, [], []).renamed(prefix, ())
    body = helper.make_graph(
        own.nodes, node.op_type, [kernels, maps], [response],
        [numpy_helper.from_array(value, name) for name, value in own.constants.items()],
    )  # fmt: skip
    return helper.make_node("Scan", node.input, list(node.output), node.name, body=body, num_scan_inputs=2)


def _shape(node: NodeProto, name: str) -> list[int]:
    return next(list(a.ints) for a in node.attribute if a.name == name)


def _padded(graph: Graph) -> Graph:
    """Convolutions whose first outputs are dropped, as with one-sided padding: the padding says it better."""
    uses: dict[str, int] = {}
    for node in graph.nodes:
        for name in reads(node):
            uses[name] = uses.get(name, 0) + 1
    sources = {output: node for node in graph.nodes for output in node.output}
    dropped: dict[str, str] = {}
    out = []
    for node in graph.nodes:
        conv = sources.get(dropped.get(node.input[0], node.input[0])) if node.op_type == "Slice" else None
        if conv is not None and conv.op_type == "Conv" and uses[conv.output[0]] == 1:
            starts, ends, axes = (graph.constants.get(name) for name in node.input[1:4])
            pads = next((a.ints for a in conv.attribute if a.name == "pads"), None)
            strides = next((list(a.ints) for a in conv.attribute if a.name == "strides"), [1, 1])
            if starts is not None and ends is not None and axes is not None and pads is not None:
                moved = list(pads)
                for axis, start in zip(axes.tolist(), starts.tolist(), strict=True):
                    moved[axis % 4 - 2] -= start * strides[axis % 4 - 2]
                if min(moved) >= 0 and np.all(ends > 1 << 30) and np.all(axes % 4 >= 2):
                    pads[:] = moved
                    uses[conv.output[0]] = uses[node.output[0]]
                    dropped[node.output[0]] = dropped.get(node.input[0], node.input[0])
                    continue
        for i, name in enumerate(node.input):
            if name in dropped:
                node.input[i] = dropped[name]
        out.append(node)
    return Graph(out, graph.constants, graph.inputs, graph.outputs)
