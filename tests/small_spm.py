"""A small SPM network, crops for it and its answer to them: what the tests of its parts share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from references import embed, match
from siamtrack.models.families import Spm
from siamtrack.models.families.spm import SpmNet
from siamtrack.models.siamese import Candidates

SMALL: dict[str, Any] = {
    "backbone": "efficientnet_lite0", "levels": (3,), "fine_levels": (3, 4), "width": 16, "template_cells": 5,
    "correlations": ("depthwise", "search"), "squeeze": 8,
}  # fmt: skip


def build(**changes: Any) -> SpmNet:
    torch.manual_seed(0)
    return Spm(**(SMALL | changes)).build().eval()


def patches() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 95, 95, generator=rng) * 255, torch.rand(2, 3, 127, 127, generator=rng) * 255


def answer(net: SpmNet) -> Candidates:
    z, x = patches()
    with torch.inference_mode():
        return match(net, embed(net, z), x)
