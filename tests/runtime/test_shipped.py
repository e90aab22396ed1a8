"""The exported models that ship: the same boxes as their weights give in torch, from a file of the right size."""

from __future__ import annotations

import numpy as np
import pytest

import siamtrack
from footage import FIRST_BOX, SECOND_BOX, moving_patches
from siamtrack.presets import preset_names
from siamtrack.zoo.packaged import packaged_export, packaged_weights

SHIPPED = [name for name in preset_names() if packaged_export(name)]


def test_the_models_that_ship_as_weights_ship_exported_too() -> None:
    assert [name for name in preset_names() if packaged_weights(name)] == SHIPPED
    sizes = [path.stat().st_size for name in SHIPPED if (path := packaged_export(name))]
    assert 0 < sum(sizes) < 22e6


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
