"""Frozen search features: the same values, for any number of crops, and only where nothing is learnt."""

from __future__ import annotations

import pytest
import torch

from siamtrack.models.families import SiamCar, Spm
from siamtrack.models.frozen import freeze
from siamtrack.models.siamese import SiameseNet
from siamtrack.models.weights import fold_norms

LITE = {"backbone": "efficientnet_lite0", "width": 16}


def networks() -> list[SiameseNet]:
    torch.manual_seed(0)
    car = SiamCar(**LITE, levels=(3, 4), tower=1, light=True, template_cells=5)  # type: ignore[arg-type]
    spm = Spm(**LITE, levels=(3,), fine_levels=(2, 3), template_cells=5, squeeze=8, scale=4)  # type: ignore[arg-type]
    made = []
    for model in (car, spm):
        net = model.build()
        for norm in net.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):  # so that layers do not fade away
                norm.running_var.fill_(0.05)
        made.append(net)
    return made


@pytest.mark.parametrize("which", [0, 1])
def test_frozen_features_are_the_same_for_any_size_and_number(which: int) -> None:
    net = networks()[which]
    fold_norms(net)
    crops = [torch.rand(count, 3, side, side) * 255 for count, side in ((1, 95), (3, 95), (2, 111), (1, 95))]
    with torch.inference_mode():
        wanted = [net.features(crop, template=False) for crop in crops]
        freeze(net)
        found = [net.features(crop, template=False) for crop in crops]
    for ours, theirs in zip(found, wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            assert (a - b).abs().max() < 1e-4 * b.abs().max()
            assert b.abs().max() > 0.1


def test_bfloat16_is_near() -> None:
    net = fold_norms(networks()[0])
    crop = torch.rand(1, 3, 95, 95) * 255
    with torch.inference_mode():
        (wanted,) = net.features(crop, template=False)  # type: ignore[operator]
        (found,) = freeze(net, torch.bfloat16).features(crop, template=False)  # type: ignore[operator]
    assert found.dtype == torch.float32
    assert 1e-6 < (found - wanted).abs().max() / wanted.abs().max() < 0.05


def test_learning_does_not_see_the_frozen_graph() -> None:
    net = networks()[0]
    freeze(net.eval())
    crop = torch.rand(1, 3, 95, 95) * 255
    with torch.inference_mode():
        before = net.features(crop, template=False)[0].clone()
    assert net.features(crop, template=False)[0].requires_grad
    with torch.no_grad():
        net.train().backbone.conv_stem.weight.mul_(2)  # type: ignore[union-attr, operator]
        assert not torch.allclose(net.features(crop, template=False)[0], before)
