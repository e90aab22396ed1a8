"""Our networks against the recorded ones, on made inputs: numbers that travel with the project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from references import REFERENCES, embed, reference_net, rgb, spread_error


def made_crop(seed: int, count: int, size: int) -> Tensor:
    generator = np.random.Generator(np.random.PCG64(seed))
    coarse = torch.from_numpy(generator.integers(0, 256, (count, 3, 9, 9)).astype(np.float32))
    fine = torch.from_numpy(generator.integers(-20, 21, (count, 3, size, size)).astype(np.float32))
    smooth = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)
    return (smooth + fine).round().clamp(0, 255)


@pytest.mark.parametrize("name", REFERENCES)
def test_outputs_agree_with_the_reference(golden: Path, name: str) -> None:
    folder = golden / "portable"
    reference, net = REFERENCES[name], reference_net(folder, name)
    assert sum(p.numel() for p in net.parameters()) == reference.parameters
    size = json.loads((folder / f"{name}.json").read_text())["search"]
    count = 3 if name == "siamfc" else 1
    search = rgb(made_crop(2, count, size), reference)
    with torch.inference_mode():
        template = embed(net, rgb(made_crop(1, 1, 127), reference))
        maps = net.respond(tuple(z.expand(count, -1, -1, -1) for z in template), search)
    with np.load(folder / f"{name}.npz") as recorded:
        assert set(recorded.files) == set(maps)
        for key in recorded.files:
            theirs = torch.from_numpy(recorded[key])
            ours = maps[key].exp() if (name, key) == ("siamcar_r50", "loc") else maps[key]
            assert spread_error(ours, theirs) <= 1e-4, key
