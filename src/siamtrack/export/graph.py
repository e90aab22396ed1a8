"""ONNX graphs as values, and how the graphs of several calls become one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Halves = Mapping[bytes, tuple[np.ndarray, np.ndarray]]
"""Float32 kernels, by their bytes, as a half-precision array and a factor that give them back."""

Types = Mapping[str, tuple[int, list[int | str]]]
"""ONNX's element type and shape, by name."""

OPSET = 18
_IR = 9


class Graph:
    """Nodes, in order, and constants, by name, of one traced call."""

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
            new.name = ""  # which would be a tenth of a small file
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

    def in_order(self) -> Graph:
        """The same graph, each node after those whose values it reads."""
        made = {name: i for i, node in enumerate(self.nodes) for name in node.output}
        needs = {i: {made[name] for name in reads(node) if name in made} for i, node in enumerate(self.nodes)}
        nodes = [self.nodes[i] for i in TopologicalSorter(needs).static_order()]
        return Graph(nodes, self.constants, self.inputs, self.outputs)

    def without_unused(self) -> Graph:
        """The same graph without nodes and constants that no output needs."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(reads(node))
        constants = {name: value for name, value in self.constants.items() if name in needed}
        return Graph(kept[::-1], constants, self.inputs, self.outputs)


def reads(node: NodeProto) -> set[str]:
    """Names that a node reads, also those that its bodies take from around them."""
    found = set(node.input)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                found |= reads(inner)
    return found


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


def joined(begin: Graph, step: Graph, single: Graph | None, types: Types, store: SharedConstants) -> onnx.ModelProto:
    """One model of two calls: `begin` where there are boxes to begin with, else `step`.

    Args:
        begin: from `frame` and `boxes`.
        step: from `frame` and the state; its outputs have the names and the order of `begin`'s.
        single: the same step for one target, whose sizes are all known before; None if there is none.
        types: element type and shape of every input and output, by name.
        store: keeps the constants.
    """
    inputs = ["frame", "boxes", *(name for name in step.inputs if name != "frame")]
    shown = [types[name] for name in begin.outputs]
    if single is not None:
        step = _by_number(single, step, types, shown, inputs, store)
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


def _by_number(
    single: Graph,
    step: Graph,
    types: Types,
    shown: Sequence[tuple[int, list[int | str]]],
    outside: Sequence[str],
    store: SharedConstants,
) -> Graph:
    """`single` for one target, `step` for several.

    With one target every size but the frame's is a constant, and runtimes plan the network once.
    """
    # A runtime knows the sizes of what comes in only where the graph says them.
    state = [name for name in single.inputs if name != "frame"]
    alone = single.renamed("of.", ["frame"])
    sizes = {f"of.{name}.size": np.array([1, *types[name][1][1:]]) for name in state}
    shaped = [helper.make_node("Reshape", [name, f"of.{name}.size"], [f"of.{name}"]) for name in state]
    alone = Graph([*shaped, *alone.nodes], {**alone.constants, **sizes}, [], alone.outputs)
    choice = helper.make_node(
        "If", ["alone"], list(step.outputs),
        then_branch=branch(alone, "one", outside, shown, store), else_branch=branch(step, "all", outside, shown, store),
    )  # fmt: skip
    nodes = [
        helper.make_node("Shape", [state[0]], ["count"], start=0, end=1),
        helper.make_node("Equal", ["count", "one.target"], ["alone.row"]),
        helper.make_node("Squeeze", ["alone.row"], ["alone"]),
        choice,
    ]
    return Graph(nodes, {"one.target": np.array([1])}, step.inputs, step.outputs)


def branch(
    graph: Graph,
    name: str,
    outside: Iterable[str],
    types: Sequence[tuple[int, list[int | str]]],
    store: SharedConstants,
) -> onnx.GraphProto:
    """A graph as a branch: its names begin with the branch's, but for those `outside`; `types` are the outputs'."""
    own = graph.renamed(f"{name}/", [*outside, *store.names.values()])
    nodes, constants = store.placed(own)
    outputs = [helper.make_tensor_value_info(o, *kind) for o, kind in zip(own.outputs, types, strict=True)]
    return helper.make_graph([*nodes, *own.nodes], name, [], outputs, constants)


class SharedConstants:
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
