"""The distance of anchors' offsets: L1 as in PySOT, or smooth L1 as in the papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from siamtrack.config import load_preset
from siamtrack.models.heads.anchors import AnchorTargets
from siamtrack.training import objective as objectives
from siamtrack.training.rpn_loss import rpn_loss


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
    smooth = {name: load_preset(name).train.smooth_l1 for name in ("siamrpn", "dasiamrpn", "spm", "siamrpn_alex")}
    assert smooth == {"siamrpn": True, "dasiamrpn": True, "spm": True, "siamrpn_alex": False}
    seen: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "_OBJECTIVES", {torch.nn.Identity: lambda *args: seen.append(args[-1]) or {}})
        net = torch.nn.Module()
        net.head = torch.nn.Identity()
        with pytest.raises(RuntimeError):  # no terms to add up
            objectives.objective(net, None, (), [], True)  # type: ignore[arg-type]
    assert seen == [True]
