"""The recorded reference networks: their weights, made again from a recipe, and our networks like them."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from siamtrack.config import load_preset
from siamtrack.models.families import Family
from siamtrack.models.importing import import_state_dict
from siamtrack.models.siamese import Candidates, Matcher, SiameseNet, Template


@dataclass(frozen=True)
class Reference:
    """One recorded network: whose it is, our preset of it, and how many parameters it has."""

    source: str
    preset: str
    parameters: int
    bgr: bool = True

    @property
    def model(self) -> Family:
        """Our configuration of the network."""
        return load_preset(self.preset).model


REFERENCES = {
    "pysot_siamrpn_r50_l234_dwxcorr": Reference("pysot", "siamrpn_r50", 53_950_624),
    "pysot_siamrpn_mobilev2_l234_dwxcorr": Reference("pysot", "siamrpn_mobilev2", 11_150_446),
    "pysot_siamrpn_alex_dwxcorr": Reference("pysot", "siamrpn_alex", 6_251_102),
    "siamcar_r50": Reference("siamcar", "siamcar_r50", 51_384_903),
    "siamfc": Reference("siamfc-pytorch", "siamfc", 2_336_320, bgr=False),
}


def kernel(name: str, shape: list[int], scale: float) -> Tensor:
    """The recipe of the reference data's README."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    deviation = np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy((generator.standard_normal(shape) * deviation).astype(np.float32) * np.float32(scale))


def reference_state(folder: Path, name: str) -> dict[str, Tensor]:
    """The reference's state dict, under its own names."""
    recipe = json.loads((folder / f"{name}.json").read_text())["kernels"]
    with np.load(folder / f"{name}.small.npz") as small:
        state = {key: torch.from_numpy(small[key]) for key in small.files}
    return state | {key: kernel(key, spec["shape"], spec["scale"]) for key, spec in recipe.items()}


@lru_cache(maxsize=8)
def reference_net(folder: Path, name: str) -> SiameseNet:
    """Our network of the reference's configuration and weights; tests share it and leave it as it is."""
    reference = REFERENCES[name]
    net = reference.model.build()
    import_state_dict(reference_state(folder, name), reference.source, net)
    return net.eval()


def rgb(crop: Tensor, reference: Reference) -> Tensor:
    """A recorded crop in the order that our networks take."""
    return crop.float().flip(1) if reference.bgr else crop.float()


def spread_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference over the recorded output's standard deviation."""
    return float((ours - theirs).abs().max() / theirs.std())


def embed(net: Matcher, patch: Tensor) -> Template:
    """Template features of square targets that are half as large as the crop."""
    return net.embed(patch, _halves(patch))


def match(net: Matcher, template: Template, patch: Tensor) -> Candidates:
    """Candidates for square targets that were last seen a quarter as large as the crop."""
    return net.match(template, patch, _halves(patch) / 2)


def _halves(patch: Tensor) -> Tensor:
    return torch.full((len(patch), 2), patch.shape[-1] / 2, device=patch.device)
