"""The torch engine with its network called in other ways: the same boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from footage import FIRST_BOX, SECOND_BOX, moving_patches
from siamtrack.errors import ConfigError
from siamtrack.tracking.accelerate import Mode, accelerated
from siamtrack.tracking.torch_engine import TorchEngine
from siamtrack.zoo.networks import open_network


def tracked(engine: TorchEngine, boxes: list[tuple[float, ...]]) -> np.ndarray:
    frames = moving_patches(6)[0]
    state = engine.start(frames[0], boxes)
    found = []
    for frame in frames[1:]:
        state = engine.step(frame, state)
        found.append(state.boxes.numpy())
    return np.array(found)


def test_bfloat16_is_near() -> None:
    plain, low = (
        tracked(accelerated(open_network("siamcar_pico", precision=precision)), [FIRST_BOX])
        for precision in (torch.float32, torch.bfloat16)
    )
    np.testing.assert_array_equal(plain, tracked(open_network("siamcar_pico"), [FIRST_BOX]))
    assert 0 < np.abs(low - plain).max() < 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", ["eager", "graphs", "compiled"])
@pytest.mark.parametrize("model", ["siamcar_pico", "siamrpn_lite0", "siamfc_lite0"])
def test_on_a_gpu_every_mode_gives_the_boxes_of_the_cpu(mode: Mode, model: str) -> None:
    engine = accelerated(open_network(model, "cuda"), mode)
    for boxes in ([FIRST_BOX], [FIRST_BOX, SECOND_BOX], [SECOND_BOX]):
        np.testing.assert_allclose(tracked(engine, boxes), tracked(open_network(model), boxes), atol=0.5)


def test_what_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="CUDA graphs need a GPU"):
        accelerated(open_network("siamcar_pico"), "graphs")
    with pytest.raises(ConfigError, match="networks of one stage"):
        accelerated(open_network("spm_lite0"), "compiled")
