"""The exported models that ship: the same boxes as their weights give in torch, from a file of the right size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import siamtrack
from footage import FIRST_BOX, SECOND_BOX, moving_patches
from siamtrack.presets import packaged_export, packaged_weights, preset_names
from siamtrack.zoo import open_engine

SHIPPED = [name for name in preset_names() if packaged_export(name)]


def test_the_models_that_ship_as_weights_ship_exported_too() -> None:
    assert [name for name in preset_names() if packaged_weights(name)] == SHIPPED
    sizes = [path.stat().st_size for name in SHIPPED if (path := packaged_export(name))]
    assert 0 < sum(sizes) < 31e6


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", SHIPPED)
def test_an_exported_model_follows_as_its_weights_do(name: str, runtime: str) -> None:
    pytest.importorskip(runtime)
    frames, _ = moving_patches(10)
    trackers = [siamtrack.load_multi(name, engine=engine, threads=1) for engine in ("torch", runtime)]
    for tracker in trackers:
        tracker.init(frames[0], [FIRST_BOX, SECOND_BOX])
    for number, frame in enumerate(frames[1:], 1):
        torchs, ours = (tracker.update(frame) for tracker in trackers)
        found, expected = ([result.box for result in results] for results in (ours, torchs))
        np.testing.assert_allclose(found, expected, atol=0.05, err_msg=f"frame {number}")
        assert [result.status for result in ours] == [result.status for result in torchs]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", [(1080, 1920), (2160, 3840)])
def test_the_mean_colour_of_a_large_frame_is_exact(runtime: str, size: tuple[int, int]) -> None:
    pytest.importorskip(runtime)
    engine = open_engine("siamcar_pico", engine=runtime, threads=1)
    for colour in ((200, 120, 255), (255, 255, 255), (0, 1, 254)):
        frame = np.full((*size, 3), colour, np.uint8)
        state = engine.start(frame, [(10, 10, 50, 50)])
        np.testing.assert_allclose(state.tensors["fill"], [colour], atol=1e-3)


def test_a_shipped_model_is_exported_without_torch(tmp_path: Path) -> None:
    out = tmp_path / "made.onnx"
    code = "import sys; from siamtrack.apps.cli.main import run\ntry: run()\nfinally: assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, "export", "siamcar_pico", "--out", str(out)], check=True)
    path = packaged_export("siamcar_pico")
    assert path is not None and out.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_what_ships_is_what_an_export_writes(tmp_path: Path) -> None:
    from siamtrack.export import export_model

    path = packaged_export("siamcar_pico")
    assert path is not None and export_model("siamcar_pico").SerializeToString() == path.read_bytes()


def test_states_of_more_targets_than_one_call_takes_share_what_a_step_does_not_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many states are kept where a page goes back and forth, and templates are most of one."""
    monkeypatch.setattr("siamtrack.runtime.engine._AT_ONCE", 2)
    frames, _ = moving_patches(2)
    engine = siamtrack.load("siamcar_pico", engine="onnxruntime").engine
    first = engine.start(frames[0], [FIRST_BOX, SECOND_BOX, FIRST_BOX])
    second = engine.step(frames[1], first)
    shared = {name for name, value in second.tensors.items() if value is first.tensors[name]}
    assert shared >= {"fill"} and any(name.startswith("template.") for name in shared)
