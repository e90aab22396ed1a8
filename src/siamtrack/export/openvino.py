"""The same graph in OpenVINO's own format: an .xml file and its .bin."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx

from siamtrack.io import whole_file
from siamtrack.runtime.engine import import_runtime


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
