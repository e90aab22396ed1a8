"""The distance of anchors' offsets: L1 as in PySOT, or smooth L1 as in the papers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from siamtrack.config import load_preset
from siamtrack.models.families import SiamRpn, SiamRpnPlusPlus, Spm
from siamtrack.models.heads import AnchorTargets, rpn_loss
from siamtrack.models.losses import TrainingBatch


def test_offsets_are_compared_as_the_setting_says() -> None:
    """One positive anchor in each of two pairs, whose four offsets are wrong by 0.2, 0.4, 1.5 and 3."""
    labels = torch.zeros(2, 5, 3, 3, dtype=torch.long)
    labels[:, 1, 2, 0] = 1
    weights = (labels == 1).float()
    loc = torch.zeros(2, 4, 5, 3, 3)
    loc[:, :, 1, 2, 0] = torch.tensor([0.2, -0.4, 1.5, -3.0])
    maps = {"cls": torch.zeros(2, 10, 3, 3), "loc": loc.reshape(2, 20, 3, 3)}
    targets = AnchorTargets(labels, torch.zeros(2, 4, 5, 3, 3), weights)
    assert float(rpn_loss(maps, targets)["loc"]) == pytest.approx(0.2 + 0.4 + 1.5 + 3)
    assert float(rpn_loss(maps, targets, smooth=True)["loc"]) == pytest.approx(0.02 + 0.08 + 1.0 + 2.5)


def test_the_papers_presets_are_smooth_and_pysots_are_not() -> None:
    smooth = {name: load_preset(name).model.smooth_l1 for name in ("siamrpn", "dasiamrpn", "spm", "siamrpn_alex")}
    assert smooth == {"siamrpn": True, "dasiamrpn": True, "spm": True, "siamrpn_alex": False}


@pytest.mark.parametrize("family", [SiamRpn, SiamRpnPlusPlus, Spm])
def test_each_family_s_setting_reaches_its_loss(family: Any) -> None:
    """Offsets that are wrong by more than 1 cost half a pixel less each by smooth L1."""
    levels: dict[str, Any] = {"level": 3} if family is SiamRpn else {"levels": (3, 4)}
    model = family(backbone="mobilenetv2", width=16, scale=4, **levels)
    torch.manual_seed(0)
    net = model.build()
    rng = torch.Generator().manual_seed(0)
    crops = [torch.rand(2, 3, side, side, generator=rng) * 255 for side in (63, 127)]
    boxes, present = torch.tensor([[48.0, 48, 80, 80]] * 2), torch.ones(2, dtype=torch.bool)
    batch = TrainingBatch(crops[0], crops[1], boxes, present, boxes - 32)
    loc = [
        float(replace(model, smooth_l1=smooth).loss(net, batch, [torch.Generator().manual_seed(0)])["loc"].detach())
        for smooth in (False, True)
    ]
    assert 0 < loc[1] < loc[0]
