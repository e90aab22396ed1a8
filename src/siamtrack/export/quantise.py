"""int8: convolutions of a step with 8-bit kernels and activations, their ranges measured on frames (ONNX Runtime)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from siamtrack.errors import ConfigError
from siamtrack.export.graph import Graph, Types, read_graph, standalone
from siamtrack.runtime.engine import import_runtime

# Boxes are tracked from one frame to the next to see what the network's values are like; their sides are shares of
# the frame's shorter one.
_SHARES = (0.1, 0.4)
# What turns logits into scores and sides; the networks' own activations are none of these.
_DECODING = ("Exp", "Sigmoid", "Softmax")
# Quantised with the convolution before them: it then has their range, 0 to 6 of relu6, without what they cut off.
_ACTIVATIONS = ["Clip", "Relu"]
# Products that a value of a convolution sums: 27 in the first one of a small network, 9 in a depth-wise one, 147 in
# ResNet's first one, 363 in AlexNet's.
_PRODUCTS = 64


def quantised(begin: Graph, step: Graph, types: Types, frames: Iterable[np.ndarray], targets: int) -> Graph:
    """The step with 8-bit convolutions.

    Args:
        begin: makes the states of the targets.
        step: what is quantised; the loops in it are not.
        types: element type and shape of their inputs and outputs.
        frames: RGB uint8 (H, W, 3), in order.
        targets: number of boxes in each of them.

    Raises:
        ConfigError: fewer than two frames.
    """
    runtime: Any = import_runtime("onnxruntime", Path("int8.onnx"))
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    session = runtime.InferenceSession(standalone(begin, types).SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = _Reader(_feeds(session, begin.outputs, frames, targets))
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "step.onnx"), Path(folder, "int8.onnx")
        model = standalone(step, types)
        add_pre_process_metadata(model)  # else it logs advice to fold and infer what is folded and inferred
        onnx.save(model, before)
        quantize_static(
            before, after, feeds, quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv", *_ACTIVATIONS],
            per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            nodes_to_exclude=kept_in_float32(step),
        )  # fmt: skip
        # ONNX Runtime sorts the nodes by what they read themselves, not by what the bodies of their loops do.
        return read_graph(onnx.load(after), step.inputs, step.outputs).in_order()


def kept_in_float32(step: Graph) -> list[str]:
    """Names of the convolutions that stay in float32, in the order of the graph.

    Those whose maps are decoded, for their errors would be boxes' errors, also where a second stage follows; those
    that read maps of several kinds at once (correlations and features), which have no range in common; correlations,
    whose kernels are not known yet; and those before the first one that sums `_PRODUCTS` or more: they gain little by
    8 bits, and all that follows has their errors.
    """
    after: dict[str, bool] = {}  # by name of a value: a convolution follows
    decoded: dict[str, bool] = {}  # logits: they are decoded before a convolution follows
    for node in reversed(step.nodes):
        convolves = node.op_type in ("Conv", "Scan")
        follows = convolves or any(after.get(name, False) for name in node.output)
        decodes = node.op_type in _DECODING or (not convolves and any(decoded.get(name, False) for name in node.output))
        for name in node.input:
            after[name] = after.get(name, False) or follows
            decoded[name] = decoded.get(name, False) or decodes
    joined = {name for node in step.nodes if node.op_type == "Concat" for name in node.output}
    stay, small = [], True
    for node in (node for node in step.nodes if node.op_type == "Conv"):
        source, kernel = node.input[:2]
        known = step.constants.get(kernel)
        small = small and known is not None and known[0].size < _PRODUCTS
        decides = not after.get(node.output[0], False) or decoded.get(node.output[0], False)
        if small or known is None or source in joined or decides:
            stay.append(node.name)
    return stay


class _Reader:
    """Hands out inputs one by one, as ONNX Runtime's `CalibrationDataReader` does."""

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self.feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def _feeds(
    session: Any, names: list[str], frames: Iterable[np.ndarray], targets: int
) -> Iterator[dict[str, np.ndarray]]:
    """What a step gets: a frame, and the state of targets that were begun in the frame before."""
    rng, count = np.random.default_rng(0), 0
    for first, second in pairwise(frames):
        count += 1
        height, width = first.shape[:2]
        sides = rng.uniform(*_SHARES, (targets, 2)) * min(height, width)
        corners = rng.uniform(size=(targets, 2)) * (np.array([width, height]) - sides)
        boxes = np.concatenate([corners, sides], 1).astype(np.float32)
        found = dict(zip(names, session.run(names, {"frame": first, "boxes": boxes}), strict=True))
        state = {f"state.{k.removeprefix('next.')}": v for k, v in found.items() if k.startswith("next.")}
        yield {"frame": second, **state}
    if not count:
        raise ConfigError("int8 needs two frames or more to calibrate with")
