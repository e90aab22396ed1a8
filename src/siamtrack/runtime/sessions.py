"""Exported files opened in ONNX Runtime or OpenVINO, whose packages are imported when they are first wanted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from siamtrack.errors import ConfigError, WeightsError, look_up
from siamtrack.runtime.engine import (
    Arrays,
    GraphEngine,
    check_graph,
    check_threads,
    import_runtime,
    installed_runtimes,
    runtimes_words,
)
from siamtrack.runtime.guard import Bounds, Guard
from siamtrack.runtime.metadata import Exported, read_exported

_THREADS = 4
"""By default, in ONNX Runtime: small networks gain nothing by more, and on two cores, where two would do for a program
alone, four keep half as much speed again beside other programs (benchmarks/busy.py)."""


def open_exported(
    path: str | Path, runtime: str | None = None, device: str = "cpu", threads: int | None = None
) -> GraphEngine:
    """Open an exported tracker.

    Args:
        path: an .onnx file, or OpenVINO's .xml with its .bin beside it.
        runtime: "onnxruntime" or "openvino"; None for the first of `installed_runtimes` that reads it, but OpenVINO
            for files of the precision bfloat16, which it alone computes in.
        device: "cpu", or "cuda" for ONNX Runtime's builds that have it.
        threads: of the processor that one call may use; None for 4 in ONNX Runtime, OpenVINO's own choice there.

    Raises:
        WeightsError: a file that is missing, damaged, foreign or of a later format.
        ConfigError: a runtime or device that is not there, or that does not read the file; too many threads.
    """
    check_threads(threads)
    exported = read_exported(path)
    if runtime is None:
        able = [name for name in installed_runtimes() if _reads(name, exported.path, device)]
        if exported.precision == "bfloat16":
            able.sort(key="openvino".__ne__)
        runtime = able[0] if able else "openvino" if exported.path.suffix == ".xml" else "onnxruntime"
    opened = look_up({"onnxruntime": _open_onnxruntime, "openvino": _open_openvino}, runtime, "engine")
    if not _reads(runtime, exported.path, "cpu"):
        raise ConfigError(f"{runtime} reads .onnx files; got {exported.path}: give engine 'openvino'")
    return opened(exported, device, threads)


def _reads(runtime: str, path: Path, device: str) -> bool:
    return device == "cpu" if runtime == "openvino" else path.suffix != ".xml"


def _open_onnxruntime(exported: Exported, device: str, threads: int | None) -> GraphEngine:
    ort: Any = import_runtime("onnxruntime", exported.path)
    providers: list[Any] = ["CPUExecutionProvider"]
    kind, _, number = str(device).partition(":")
    if str(device) != "cpu":
        there = "CUDAExecutionProvider" in ort.get_available_providers()
        if kind != "cuda" or not (number or "0").isdecimal() or not there:
            raise ConfigError(f"the device '{device}' is not available here in onnxruntime; use 'cpu'")
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(number or 0)}))
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what fails is raised, and told in one line
    options.inter_op_num_threads = 1
    # A number of our own: by default ONNX Runtime ties each thread to a core, even where other programs keep it busy.
    options.intra_op_num_threads = threads or (_THREADS if (os.cpu_count() or 1) > 1 else 1)
    # Work is dealt out in small pieces, so that nobody waits long for a thread that the system has put aside.
    options.add_session_config_entry("session.dynamic_block_base", "4")
    # Threads that wait sleep: spinning ones would take the processor from the decoder and from other programs.
    active = os.environ.get("OMP_WAIT_POLICY", "").upper() == "ACTIVE"
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if active else "0")
    guard = Guard()
    try:
        session = guard.run(
            lambda: ort.InferenceSession(str(exported.path), options, providers=providers),
            lambda: options.set_load_cancellation_flag(True),
            _to_open(exported),
        )
    except Exception as error:  # its kinds of error share no base but this
        raise _damaged(exported, error) from None
    names = [output.name for output in session.get_outputs()]
    check_graph(exported, [entry.name for entry in session.get_inputs()], names)

    def run(inputs: Arrays) -> dict[str, Any]:
        call = ort.RunOptions()
        found = guard.run(
            lambda: session.run(names, dict(inputs), call),
            lambda: setattr(call, "terminate", True),
            _to_run(exported, inputs),
            _sizes(inputs),
        )
        return dict(zip(names, found, strict=True))

    return GraphEngine("onnxruntime", exported, run)


def _open_openvino(exported: Exported, device: str, threads: int | None) -> GraphEngine:
    ov: Any = import_runtime("openvino", exported.path)
    if str(device) != "cpu":
        raise ConfigError(f"the device '{device}' is not available here in openvino; use 'cpu'")
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads

    def compiled() -> list[Any]:
        """In float32 and, for files of that precision, in bfloat16."""
        core = ov.Core()
        model = core.read_model(str(exported.path))
        # Left alone, OpenVINO computes a float32 file in bfloat16 where the processor can.
        hints = ["f32", "bf16"] if exported.precision == "bfloat16" else ["f32"]
        return [core.compile_model(model, "CPU", {**config, "INFERENCE_PRECISION_HINT": hint}) for hint in hints]

    guard = Guard()
    try:
        models = guard.run(compiled, lambda: None, _to_open(exported))
    except (RuntimeError, UnicodeDecodeError) as error:  # UnicodeDecodeError: its message shows bytes of the file
        raise _damaged(exported, error) from None
    names = [output.get_any_name() for output in models[0].outputs]
    check_graph(exported, [entry.get_any_name() for entry in models[0].inputs], names)
    idle: list[list[Any]] = [[] for _ in models]  # requests, each of which serves one call at a time

    def run(inputs: Arrays) -> dict[str, Any]:
        # bfloat16 is for steps of one target, whose sizes are fixed: where sizes change, OpenVINO's templates are wrong
        # in it after some hundred calls.
        state = [value for name, value in inputs.items() if name.startswith("state.")]
        alone = len(inputs["boxes"]) == 0 and all(len(value) == 1 for value in state)
        which = -1 if alone else 0
        try:
            request = idle[which].pop()
        except IndexError:
            request = models[which].create_infer_request()
        found = guard.run(
            lambda: request.infer(dict(inputs), share_inputs=True),
            request.cancel,
            _to_run(exported, inputs),
            _sizes(inputs),
        )
        idle[which].append(request)
        return {name: found[index] for index, name in enumerate(names)}

    return GraphEngine("openvino", exported, run)


def _to_open(exported: Exported) -> Bounds:
    """What opening a file may take: several times what exports take, of which the largest has 230 MB."""
    return Bounds(seconds=12 + exported.size / 2e7, memory=min((1 << 30) + 5 * exported.size, 3 << 30))


def _to_run(exported: Exported, inputs: Arrays) -> Bounds:
    """What a call may take: several times what exports of that size take for such a frame, and as many targets."""
    targets = max(len(value) for name, value in inputs.items() if name != "frame")
    seconds = 8 + 4 * targets + exported.size / 2e7
    return Bounds(seconds, memory=(1 << 30) + 5 * inputs["frame"].nbytes + (40 << 20) * targets)


def _sizes(inputs: Arrays) -> tuple[int, ...]:
    """Pixels of the frame and rows of all others, which decide what a call takes."""
    return tuple(value.size if name == "frame" else len(value) for name, value in inputs.items())


def _damaged(exported: Exported, error: Exception) -> WeightsError:
    return WeightsError(f"{exported.path} is damaged, or its graph is not understood here: {runtimes_words(error)}")
