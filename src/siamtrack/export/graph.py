"""Traced modules as ONNX graphs: what a graph says in another way than PyTorch, and how two calls become one file.

Two operations of a trace have no ONNX operator, for they differ from target to target: `siamtrack::Cut`, which reads
a part of the frame of another size for each, and `siamtrack::Correlate`, a convolution with kernels of each one's own.
Both become a `Scan` over the targets.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.geometry.crop import resample, sampling

Halves = Mapping[bytes, tuple[np.ndarray, np.ndarray]]
"""Float32 kernels, by their bytes, as a half-precision array and a factor that give them back."""

Types = Mapping[str, tuple[int, list[int | str]]]
"""ONNX's element type and shape, by name."""

OPSET = 18
_IR = 9

_INPLACE = {
    torch.ops.aten.hardtanh_.default: torch.ops.aten.hardtanh.default,
    torch.ops.aten.relu_.default: torch.ops.aten.relu.default,
    torch.ops.aten.div_.Tensor: torch.ops.aten.div.Tensor,
}
"""Activations that overwrite their input, and the same ones that do not."""


class Graph:
    """Nodes and constants of one traced call.

    Attributes:
        nodes: in order.
        constants: arrays by name.
        inputs: names.
        outputs: names.
    """

    def __init__(
        self, nodes: list[NodeProto], constants: dict[str, np.ndarray], inputs: list[str], outputs: list[str]
    ) -> None:
        self.nodes = nodes
        self.constants = constants
        self.inputs = inputs
        self.outputs = outputs

    def producer(self, name: str) -> NodeProto | None:
        """The node that gives a value; None for inputs and constants."""
        return next((node for node in self.nodes if name in node.output), None)

    def renamed(self, prefix: str, kept: Iterable[str]) -> Graph:
        """The same graph with `prefix` before all names but `kept`."""
        keep = {*kept, ""}

        def name(old: str) -> str:
            return old if old in keep else prefix + old

        def renew(node: NodeProto) -> NodeProto:
            new = NodeProto()
            new.CopyFrom(node)
            new.name = prefix + node.output[0]
            new.input[:] = [name(value) for value in node.input]
            new.output[:] = [name(value) for value in node.output]
            for attribute in new.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    inner = attribute.g
                    nodes = [renew(n) for n in inner.node]
                    del inner.node[:]
                    inner.node.extend(nodes)
                    for value in (*inner.input, *inner.output, *inner.initializer):
                        value.name = name(value.name)
            return new

        return Graph(
            [renew(node) for node in self.nodes],
            {name(key): value for key, value in self.constants.items()},
            [name(value) for value in self.inputs],
            [name(value) for value in self.outputs],
        )

    def without_unused(self) -> Graph:
        """The same graph without nodes and constants that no output needs."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(_reads(node))
        constants = {name: value for name, value in self.constants.items() if name in needed}
        return Graph(kept[::-1], constants, self.inputs, self.outputs)


def _reads(node: NodeProto) -> set[str]:
    """Names that a node reads, also those that its bodies take from around them."""
    found = set(node.input)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                found |= _reads(inner)
    return found


def traced(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], dynamic: Mapping[str, Sequence[int]]
) -> Graph:
    """Trace a module, and write it as a graph of ONNX's own operators.

    Args:
        module: its `forward` takes the inputs one by one.
        inputs: examples by name; a size that may change is above 1.
        outputs: names.
        dynamic: the dimensions of inputs, by name, that may change.

    Raises:
        ConfigError: the module does what an ONNX graph cannot; the message has PyTorch's reason.
    """
    graph = read_graph(_traced_raw(module, inputs, dynamic), list(inputs), list(outputs))
    return _padded(_expanded(graph)).without_unused()


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


def read_graph(model: onnx.ModelProto, inputs: list[str], outputs: list[str]) -> Graph:
    """A model's graph, its inputs and outputs under these names."""
    source = model.graph
    names = {v.name: name for v, name in zip(source.input, inputs, strict=True)}
    constants = {t.name: numpy_helper.to_array(t) for t in source.initializer}
    nodes = []
    for node in source.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            continue
        new = NodeProto()
        new.CopyFrom(node)
        for i, value in enumerate(node.input):
            new.input[i] = names.get(value, value)
        del new.metadata_props[:]
        new.doc_string = ""
        nodes.append(new)
    for value, name in zip(source.output, outputs, strict=True):
        if value.name == name:
            continue
        nodes.append(helper.make_node("Identity", [names.get(value.name, value.name)], [name]))
    return Graph(nodes, constants, inputs, outputs)


def _expanded(graph: Graph) -> Graph:
    """The two operations that ONNX does not have, as loops over the targets."""
    out: list[NodeProto] = []
    bodies: dict[tuple[int, int], tuple[Graph, Graph]] = {}
    for node in graph.nodes:
        if node.op_type == "Cut":
            kind = _attribute(node, "size"), _attribute(node, "whole")
            if kind not in bodies:
                bodies[kind] = _cut_graphs(*kind)
            out += _cut_loop(graph, node, *bodies[kind])
        elif node.op_type == "Correlate":
            out.append(_correlate_loop(node))
        else:
            out.append(node)
    return Graph(out, graph.constants, graph.inputs, graph.outputs)


def _attribute(node: NodeProto, name: str) -> int:
    return next(int(a.i) for a in node.attribute if a.name == name)


class _Sampling(nn.Module):
    def __init__(self, size: int, whole: bool) -> None:
        super().__init__()
        self.size, self.whole = size, whole

    def forward(self, frame: Tensor, low: Tensor, side: Tensor) -> tuple[Tensor, ...]:
        return sampling((frame.shape[0], frame.shape[1]), low, side, self.size, self.whole)


class _Resample(nn.Module):
    def forward(self, part: Tensor, places: Tensor, shares: Tensor, colour: Tensor) -> Tensor:
        return resample(part, places, shares, colour)


def _cut_graphs(size: int, whole: int) -> tuple[Graph, Graph]:
    """`sampling` in a frame, and `resample` of a part of it, for crops of `size` pixels."""
    part = torch.zeros(9, 7, 3, dtype=torch.uint8)
    square = {"frame": part, "low": torch.ones(2), "side": torch.tensor(3.0)}
    located = traced(_Sampling(size, bool(whole)), square, ["bounds", "places", "shares"], {"frame": (0, 1)})
    places, shares = torch.ones(4, size, dtype=torch.long), torch.zeros(2, size)
    pixels = {"part": part, "places": places, "shares": shares, "colour": torch.zeros(3, dtype=torch.uint8)}
    return located, traced(_Resample(), pixels, ["crop"], {"part": (0, 1)})


def _cut_loop(graph: Graph, node: NodeProto, located: Graph, resampled: Graph) -> list[NodeProto]:
    """A Loop over the regions: slice a part of the frame (H, W, 3), and resample it.

    A Scan would do, but its body may not use the frame in OpenVINO.
    """
    turned = graph.producer(node.input[0])
    assert turned is not None and turned.op_type == "Transpose", "a crop is cut from the frame itself"
    frame, size = turned.input[0], _attribute(node, "size")
    prefix = f"{node.output[0]}/"
    given = dict(zip(("low", "side", "colour"), node.input[1:], strict=True))
    shared = {"frame", "low", "side", "colour", "bounds", "places", "shares", "part", "crop"}
    parts = [located.renamed("at.", shared), resampled.renamed("of.", shared)]
    body = Graph(
        [
            *(helper.make_node("Gather", [f"all.{name}", "i"], [name]) for name in given),
            *parts[0].nodes,
            helper.make_node("Split", ["bounds"], ["first", "last"], axis=0, num_outputs=2),
            helper.make_node("Slice", ["frame", "first", "last", "axes"], ["part"]),
            *parts[1].nodes,
            helper.make_node("Identity", ["going"], ["goes"]),
        ],
        {**parts[0].constants, **parts[1].constants, "axes": np.array([0, 1])}, [], [],
    ).renamed(prefix, ())  # fmt: skip
    outside = {f"{prefix}all.{name}": outer for name, outer in given.items()} | {f"{prefix}frame": frame}
    for inner in body.nodes:
        inner.input[:] = [outside.get(name, name) for name in inner.input]
    nodes, constants = body.nodes, body.constants
    loop = helper.make_graph(
        nodes, "cut",
        [
            helper.make_tensor_value_info(f"{prefix}i", TensorProto.INT64, []),
            helper.make_tensor_value_info(f"{prefix}going", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info(f"{prefix}goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info(f"{prefix}crop", TensorProto.FLOAT, [3, size, size]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return [
        helper.make_node("Shape", [given["low"]], [f"{prefix}shape"], start=0, end=1),
        helper.make_node("Squeeze", [f"{prefix}shape"], [f"{prefix}count"]),
        helper.make_node("Loop", [f"{prefix}count", ""], list(node.output), node.name, body=loop),
    ]


def _correlate_loop(node: NodeProto) -> NodeProto:
    """A Scan over the targets: a convolution of each one's map with its own kernels."""
    nodes = [
        helper.make_node("Unsqueeze", ["map", "first"], ["maps"]),
        helper.make_node("Conv", ["maps", "kernels"], ["responses"], group=_attribute(node, "groups")),
        helper.make_node("Squeeze", ["responses", "first"], ["response"]),
    ]
    kernels, maps, response = (_shape(node, name) for name in ("kernels", "map", "response"))
    inputs = [
        helper.make_tensor_value_info("kernels", TensorProto.FLOAT, kernels),
        helper.make_tensor_value_info("map", TensorProto.FLOAT, maps),
    ]
    return _scan(node, list(node.input), nodes, {"first": np.array([0])}, inputs, ("response", response))


def _shape(node: NodeProto, name: str) -> list[int]:
    return next(list(a.ints) for a in node.attribute if a.name == name)


def _scan(
    node: NodeProto,
    inputs: list[str],
    nodes: list[NodeProto],
    constants: Mapping[str, np.ndarray],
    given: list[onnx.ValueInfoProto],
    result: tuple[str, list[int]],
) -> NodeProto:
    """A loop over the first dimension of `inputs`, each seen by the body as `given`, to a stack of the `result`."""
    prefix, outside = f"{node.output[0]}/", set().union(*(_reads(n) for n in nodes))
    outside -= {*constants, *(v.name for v in given), *(output for n in nodes for output in n.output)}
    own = Graph(nodes, dict(constants), [v.name for v in given], [result[0]]).renamed(prefix, outside)
    for value in given:
        value.name = prefix + value.name
    body = helper.make_graph(
        own.nodes, node.op_type, given, [helper.make_tensor_value_info(own.outputs[0], TensorProto.FLOAT, result[1])],
        [numpy_helper.from_array(value, name) for name, value in own.constants.items()],
    )  # fmt: skip
    return helper.make_node("Scan", inputs, list(node.output), node.name, body=body, num_scan_inputs=len(inputs))


def _padded(graph: Graph) -> Graph:
    """Convolutions whose first outputs are dropped, as with one-sided padding: the padding says it better."""
    uses: dict[str, int] = {}
    for node in graph.nodes:
        for name in _reads(node):
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


def joined(begin: Graph, step: Graph, types: Types, store: Store) -> onnx.ModelProto:
    """One model of two calls: `begin` where there are boxes to begin with, else `step`.

    Args:
        begin: from `frame` and `boxes`.
        step: from `frame` and the state; its outputs have the names and the order of `begin`'s.
        types: element type and shape of every input and output, by name.
        store: keeps the constants.
    """
    inputs = ["frame", "boxes", *(name for name in step.inputs if name != "frame")]
    shown = [types[name] for name in begin.outputs]
    branches = {
        "then_branch": branch(begin, "then", inputs, shown, store),
        "else_branch": branch(step, "else", inputs, shown, store),
    }
    zero = numpy_helper.from_array(np.array(0), "zero")
    nodes = [
        helper.make_node("Shape", ["boxes"], ["boxes.shape"]),
        helper.make_node("Gather", ["boxes.shape", "zero"], ["boxes.count"], axis=0),
        helper.make_node("Greater", ["boxes.count", "zero"], ["begins"]),
        helper.make_node("If", ["begins"], list(begin.outputs), **branches),
    ]
    graph = helper.make_graph(
        nodes, "siamtrack",
        [helper.make_tensor_value_info(name, *types[name]) for name in inputs],
        [helper.make_tensor_value_info(name, *types[name]) for name in begin.outputs],
        [zero, *store.shared],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR)


def branch(
    graph: Graph, name: str, outside: Iterable[str], types: Sequence[tuple[int, list[int | str]]], store: Store
) -> onnx.GraphProto:
    """A graph as a branch: its names begin with the branch's, but for those `outside`; `types` are the outputs'."""
    own = graph.renamed(f"{name}/", [*outside, *store.names.values()])
    nodes, constants = store.placed(own)
    outputs = [helper.make_tensor_value_info(o, *kind) for o, kind in zip(own.outputs, types, strict=True)]
    return helper.make_graph([*nodes, *own.nodes], name, [], outputs, constants)


class Store:
    """Constants of several branches: large ones are kept once, around the branches.

    A branch reads such a constant through an operation of its own: runtimes fold it when they load the file, and then
    see a constant of the branch, which they can rearrange for the processor.

    Args:
        halves: which constants are stored in half precision.
        rounded: store the others in half precision too, rounded.
    """

    _LARGE = 1024

    def __init__(self, halves: Halves, rounded: bool = False) -> None:
        self.halves = halves
        self.rounded = rounded
        self.shared: list[TensorProto] = []
        self.names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def placed(self, graph: Graph) -> tuple[list[NodeProto], list[TensorProto]]:
        """The nodes that bring the shared constants into a branch, and its own small constants."""
        nodes, own = [], []
        for name, value in graph.constants.items():
            if value.size < self._LARGE or value.dtype != np.float32:
                own.append(numpy_helper.from_array(value, name))
                continue
            half = self.halves.get(value.tobytes())
            if half is None and self.rounded and np.abs(value).max() < np.finfo(np.float16).max:
                half = value.astype(np.float16), np.ones(1, np.float32)
            if half is None:
                nodes.append(helper.make_node("Identity", [self._shared(value)], [name]))
                continue
            kernel, factor = half
            plain = bool(np.all(factor == 1))
            wide = name if plain else f"{name}.wide"
            nodes.append(
                helper.make_node("Cast", [self._shared(kernel.reshape(value.shape))], [wide], to=TensorProto.FLOAT)
            )
            if not plain:
                own.append(numpy_helper.from_array(factor, f"{name}.factor"))
                nodes.append(helper.make_node("Mul", [wide, f"{name}.factor"], [name]))
        return nodes, own

    def _shared(self, value: np.ndarray) -> str:
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self.names:
            self.names[key] = f"weights.{len(self.shared)}"
            self.shared.append(numpy_helper.from_array(value, self.names[key]))
        return self.names[key]


def standalone(graph: Graph, types: Types) -> onnx.ModelProto:
    """A model of one call."""
    proto = helper.make_graph(
        graph.nodes, "call",
        [helper.make_tensor_value_info(name, *types[name]) for name in graph.inputs],
        [helper.make_tensor_value_info(name, *types[name]) for name in graph.outputs],
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )  # fmt: skip
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR)
