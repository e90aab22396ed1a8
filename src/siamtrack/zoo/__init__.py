"""Models by name or file, loaded as trackers; torch is imported only for those that run in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from siamtrack.arguments import checked
from siamtrack.errors import ConfigError, missing_torch, unknown_name
from siamtrack.presets import DEFAULT_MODEL, check_name, packaged_export
from siamtrack.runtime.engine import check_threads
from siamtrack.runtime.metadata import EXPORT_SUFFIXES
from siamtrack.runtime.sessions import open_exported
from siamtrack.tracking.interface import Engine
from siamtrack.tracking.tracker import Colour, MultiTracker, Tracker
from siamtrack.zoo.hub import HUB, fetch_model

if TYPE_CHECKING:
    import torch

    from siamtrack.config import Preset

EngineName = Literal["auto", "onnxruntime", "openvino", "torch"]
"""What runs a model."""
PrecisionName = Literal["float32", "bfloat16"]
"""What a network's search features are computed in."""


def load(
    model: str | Path = DEFAULT_MODEL,
    device: torch.device | str = "cpu",
    preset: str | Path | Preset | None = None,
    settings: Mapping[str, Any] | None = None,
    engine: EngineName | str = "auto",
    threads: int | None = None,
    colour: Colour = "rgb",
    precision: PrecisionName | str = "float32",
) -> Tracker:
    """Load a tracker of one target.

    Args:
        model: a packaged model's name, a `.safetensors` file that siamtrack wrote, or a file that `siamtrack export`
            made (.onnx, or OpenVINO's .xml); or `hf:owner/name`, a model of the Hugging Face Hub.
        device: "cpu" or "cuda".
        preset: a preset, its name or its `.toml` file, whose settings replace those stored with the weights.
        settings: values by dotted key, as `{"track.window": 0.3}`, over those of the preset; keys of the sections
            model, crops and track.
        engine: what runs it. "auto" runs exported files in ONNX Runtime (.xml in OpenVINO), shipped models too
            unless `preset`, `settings` or a GPU ask for the network; all others run in "torch".
        threads: of the processor that a frame may use; None for the engine's own choice. Torch has one number for the
            whole program.
        colour: "rgb", or "bgr" for OpenCV's frames, also grey and BGRA ones.
        precision: "bfloat16" computes the search features in it, in torch; see docs/deploy.md for what that costs.
            Exported files have a precision of their own.

    Raises:
        ConfigError: an unknown name (the nearest is offered), setting, engine or device, an engine that is not
            installed or does not run the model, or a preset of another family.
        WeightsError: no weights for that name, a file that is corrupt or foreign, or settings that do not fit it.
    """
    return Tracker(open_engine(model, device, preset, settings, engine, threads, precision), colour)


def load_multi(
    model: str | Path = DEFAULT_MODEL,
    device: torch.device | str = "cpu",
    preset: str | Path | Preset | None = None,
    settings: Mapping[str, Any] | None = None,
    engine: EngineName | str = "auto",
    threads: int | None = None,
    colour: Colour = "rgb",
    precision: PrecisionName | str = "float32",
) -> MultiTracker:
    """Load a tracker of several targets; arguments and errors are those of `load`."""
    return MultiTracker(open_engine(model, device, preset, settings, engine, threads, precision), colour)


@checked
def open_engine(
    model: str | Path = DEFAULT_MODEL,
    device: torch.device | str = "cpu",
    preset: str | Path | Preset | None = None,
    settings: Mapping[str, Any] | None = None,
    engine: EngineName | str = "auto",
    threads: int | None = None,
    precision: PrecisionName | str = "float32",
) -> Engine[Any]:
    """Load what trackers run on, to share it among several; arguments and errors are those of `load`."""
    if not (isinstance(preset, str | Path | None) or is_dataclass(preset)):
        raise ConfigError(f"preset: expected a name, a path or a Preset; got {type(preset).__name__}")
    if engine not in get_args(EngineName):
        raise unknown_name("engine", str(engine), get_args(EngineName))
    if precision not in get_args(PrecisionName):
        raise ConfigError(f"precision: expected {' or '.join(get_args(PrecisionName))}; got '{precision}'")
    check_threads(threads)
    if str(model).startswith(HUB):
        model = fetch_model(str(model))
    changed = preset is not None or bool(settings) or precision != "float32"
    if Path(model).suffix in EXPORT_SUFFIXES:
        if engine == "torch":
            raise ConfigError(f"torch does not run exported files, as {model}; give weights, or another engine")
        if changed:
            raise ConfigError(f"the settings of {model} are fixed; export its weights anew with other ones")
        return open_exported(model, None if engine == "auto" else engine, str(device), threads)
    if Path(model).suffix != ".safetensors":
        check_name(model)  # an unknown name is told before torch is missed
    shipped = None if changed else packaged_export(str(model))
    if shipped and (engine in ("onnxruntime", "openvino") or (engine == "auto" and str(device) == "cpu")):
        return open_exported(shipped, None if engine == "auto" else engine, str(device), threads)
    if engine in ("onnxruntime", "openvino"):
        changes = " with these settings" if changed else ""
        raise ConfigError(f"{engine} runs exported files; make one of '{model}'{changes} with `siamtrack export`")
    try:
        import torch

        from siamtrack.zoo.networks import open_network
    except ModuleNotFoundError as error:
        if changed:
            why = " with other settings than its own"
        else:
            why = " in torch" if shipped else ", a model that is not exported,"
        raise missing_torch(f"'{model}'{why}", error) from None
    if threads:
        torch.set_num_threads(threads)
    return open_network(model, device, preset, settings, torch.bfloat16 if precision == "bfloat16" else torch.float32)
