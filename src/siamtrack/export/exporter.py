"""A model as one ONNX file: frames in, boxes out, with all that a host needs to know in its metadata."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file
from torch import nn

from siamtrack import __version__
from siamtrack.arguments import checked
from siamtrack.config import Preset, preset_to_json
from siamtrack.errors import ConfigError
from siamtrack.export.graph import Halves, SharedConstants, joined
from siamtrack.export.longterm import longterm_step, search_sizes
from siamtrack.export.modules import Begin, Step, state_tensors
from siamtrack.export.quantise import quantised
from siamtrack.export.trace import traced
from siamtrack.io import whole_file
from siamtrack.models.siamese import Matcher
from siamtrack.presets import weights_licence
from siamtrack.runtime.engine import import_runtime
from siamtrack.runtime.metadata import EXPORT_FORMAT, EXPORT_KEY, Precision
from siamtrack.tracking.state import start
from siamtrack.zoo.networks import find_model, open_network

_CALIBRATION_FRAMES = 65
_EXAMPLES = ((30.0, 40.0, 50.0, 60.0), (100.0, 100.0, 30.0, 40.0), (150.0, 100.0, 60.0, 40.0))


@checked
def export_model(
    model: str | Path,
    preset: str | Path | Preset | None = None,
    settings: Mapping[str, Any] | None = None,
    precision: Precision = "float32",
    calibration: Iterable[np.ndarray] | None = None,
) -> onnx.ModelProto:
    """A model by name or file as an ONNX model that is the whole tracker; arguments and errors as `siamtrack.load`.

    `precision` and `calibration` are those of `export_network`.

    Raises:
        ConfigError: the model does what an ONNX graph cannot.
    """
    engine, path = open_network(model, "cpu", preset, settings), find_model(model)[1]
    halves = _halves(engine.net, path)
    return export_network(engine.net, engine.preset, halves, precision, calibration, weights_licence(path))


def _halves(net: Matcher, path: Path) -> Halves:
    """Kernels of a network whose norms are folded, as the half-precision kernels of its file and their factors.

    By the kernel's own bytes. Half precision of the folded kernels would be a second rounding, which moves boxes.
    """
    found: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    stored = load_file(path)
    for name, value in net.named_parameters() if isinstance(net, nn.Module) else ():
        kernel = stored.get(name)
        if kernel is None or kernel.dtype != torch.float16 or kernel.shape != value.shape:
            continue
        wide, folded = kernel.float(), value.detach().float()
        for dims in ((*range(1, wide.ndim),), (0, *range(2, wide.ndim))):
            factor = (folded * wide).sum(dims, keepdim=True) / wide.square().sum(dims, keepdim=True).clamp(min=1e-30)
            if torch.allclose(wide * factor, folded, rtol=1e-5, atol=1e-12):
                found[folded.contiguous().numpy().tobytes()] = (kernel.numpy(), factor.numpy())
                break
    return found


@checked
def export_network(
    net: Matcher,
    preset: Preset,
    halves: Halves | None = None,
    precision: Precision = "float32",
    calibration: Iterable[np.ndarray] | None = None,
    licence: str = "",
) -> onnx.ModelProto:
    """The whole tracker as an ONNX model.

    Args:
        net: the network, on the CPU and in evaluation mode.
        preset: its preset.
        halves: kernels as half-precision ones and factors, by their float32 bytes, which make the file smaller.
        precision: of the network's computation, where the runtime has it: "float16" rounds all kernels to half
            precision, "bfloat16" is computed by OpenVINO, "int8" needs a calibration.
        calibration: frames, RGB uint8 (H, W, 3) of one size, that look like those to be tracked in; the first
            65 are used.
        licence: of the weights, as an SPDX identifier; "" where it is not known.

    Raises:
        ConfigError: the model does what an ONNX graph cannot, or int8 without frames.
    """
    if (precision == "int8") != (calibration is not None):
        raise ConfigError("the precision int8, and only it, needs frames to calibrate with")
    frame = torch.randint(0, 256, (240, 320, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor(_EXAMPLES)
    state = {n: v.clone() for n, v in state_tensors(start(net, preset, frame.numpy(), boxes), preset).items()}
    outputs = ["tracked", "scores", "presence", *(f"next.{name}" for name in state)]
    shapes: dict[str, list[int | str]] = {"boxes": ["N", 4], "tracked": ["T", 4], "scores": ["T"], "presence": ["T"]}
    for name, value in state.items():
        shapes |= {f"state.{name}": ["M", *value.shape[1:]], f"next.{name}": ["T", *value.shape[1:]]}
    types = {name: (int(TensorProto.FLOAT), shape) for name, shape in shapes.items()}
    types["frame"] = (int(TensorProto.UINT8), ["H", "W", 3])
    begin = traced(Begin(net, preset), {"frame": frame, "boxes": boxes}, outputs, {"frame": (0, 1), "boxes": (0,)})
    given = {"frame": frame, **{f"state.{name}": value for name, value in state.items()}}
    dynamic = {name: (0, 1) if name == "frame" else (0,) for name in given}
    steps = {
        size: traced(Step(net, preset, tuple(state), size), given, outputs, dynamic) for size in search_sizes(preset)
    }
    store = SharedConstants(halves or {}, precision == "float16")
    seen = None if calibration is None else list(islice(calibration, _CALIBRATION_FRAMES))
    if len(steps) > 1:
        if seen is not None:  # the wide search for lost targets is rare, and stays as it is
            steps[min(steps)] = quantised(begin, steps[min(steps)], types, seen, 4)
        model = joined(begin, longterm_step(preset, steps, types, store), None, types, store)
    else:
        (step,) = steps.values()
        # The same for one target: what is traced with one row is of fixed size.
        first = {name: value if name == "frame" else value[:1].clone() for name, value in given.items()}
        one = Step(net, preset, tuple(state), preset.crops.search)
        single = traced(one, first, outputs, {"frame": (0, 1)}, apart=precision == "bfloat16")
        if seen is not None:
            step, single = (quantised(begin, each, types, seen, count) for each, count in ((step, 4), (single, 1)))
        model = joined(begin, step, single, types, store)
    model.producer_name, model.producer_version = "siamtrack", __version__
    helper.set_model_props(model, {EXPORT_KEY: json.dumps(_note(preset, shapes, tuple(state), precision, licence))})
    return model


def _note(
    preset: Preset, shapes: dict[str, list[int | str]], state: tuple[str, ...], precision: str, licence: str
) -> dict[str, object]:
    """What a host needs to know of the file."""
    described = {
        "frame": "RGB, uint8 (H, W, 3); the same size during a run",
        "boxes": "x, y, w, h in frame pixels of new targets (N, 4): with rows, the call begins with them; with none, "
        "it is a step from the state",
    }
    answers = {
        "tracked": "x, y, w, h in frame pixels (T, 4)",
        "scores": "the network's own scores in [0, 1]",
        "presence": "in [0, 1]: below 1/3 lost, below 2/3 uncertain, else tracking",
    }
    return {
        "format": EXPORT_FORMAT,
        "version": __version__,
        "name": preset.name,
        "description": preset.description,
        "licence": licence,
        "preset": json.loads(preset_to_json(preset)),
        "precision": precision,
        "inputs": described | {f"state.{name}": f"next.{name} of the call before; no rows to begin" for name in state},
        "outputs": answers | {f"next.{name}": f"to be given as state.{name}" for name in state},
        "state": {name: {"type": "float32", "shape": [None, *shapes[f"state.{name}"][1:]]} for name in state},
    }


def write_openvino(model: onnx.ModelProto, path: Path, half: bool) -> None:
    """Write a model as OpenVINO's `path` (.xml) and the .bin beside it, with the same metadata in `rt_info`.

    `half` stores kernels in half precision.

    Raises:
        ConfigError: OpenVINO is not installed.
    """
    openvino: Any = import_runtime("openvino", path)
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "model.onnx"), Path(folder, "made.xml")
        onnx.save(model, source)
        converted = openvino.Core().read_model(str(source))
        for entry in model.metadata_props:
            converted.set_rt_info(entry.value, entry.key)
        openvino.save_model(converted, str(made), compress_to_fp16=half)
        with whole_file(path) as graph, whole_file(path.with_suffix(".bin")) as weights:
            weights.write_bytes(made.with_suffix(".bin").read_bytes())
            graph.write_bytes(made.read_bytes())
            path.unlink(missing_ok=True)  # were it killed now, an older graph would be read with the newer weights
