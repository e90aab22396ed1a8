"""Our networks against the recorded ones, on crops of a real video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from references import REFERENCES, embed, reference_net, rgb, spread_error


@pytest.mark.parametrize("name", REFERENCES)
def test_features_and_outputs_agree_with_the_reference(shared: Path, golden: Path, name: str) -> None:
    reference, net = REFERENCES[name], reference_net(golden / "portable", name)
    with np.load(shared / "golden" / "networks" / f"{name}.npz") as recorded, torch.inference_mode():
        arrays = {key: torch.from_numpy(recorded[key]) for key in recorded.files if recorded[key].dtype.kind in "fu"}
        template = embed(net, rgb(arrays["template_crop"], reference))
        crops = {key.rsplit("_", 1)[1]: crop for key, crop in arrays.items() if key.startswith("search_crop")}
        errors: dict[str, float] = {}
        for level, z in enumerate(template):
            errors[f"zf{level}"] = spread_error(z, arrays["zf" if name == "siamfc" else f"zf{level}"])
        for frame, crop in crops.items():
            search = rgb(crop, reference)
            features = net.features(search, template=False)
            if frame == "1":
                for level, x in enumerate(features):
                    errors[f"xf{level}"] = spread_error(x, arrays["xf_1" if name == "siamfc" else f"xf{level}_1"])
            maps = net.head(tuple(z.expand(len(search), -1, -1, -1) for z in template), features)
            for key, ours in maps.items():
                # SiamCAR's distances were recorded after exp.
                shown = ours.exp() if (name, key) == ("siamcar_r50", "loc") else ours
                errors[f"{key}_{frame}"] = spread_error(shown, arrays[f"{key}_{frame}"])
    assert len(crops) == 3
    assert {key: error for key, error in errors.items() if not error <= 1e-4} == {}
