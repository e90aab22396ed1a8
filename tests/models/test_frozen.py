"""Frozen search features: the same values, for any number of crops, and only where nothing is learnt."""

from __future__ import annotations

import torch

from siamtrack.models.families import SiamCar
from siamtrack.models.frozen import freeze
from siamtrack.models.siamese import SiameseNet
from siamtrack.zoo.networks import open_network


def shipped() -> SiameseNet:
    """A small network with weights that were learnt."""
    net = open_network("siamcar_pico").net
    assert isinstance(net, SiameseNet)
    return net


def test_frozen_features_are_the_same_for_any_size_and_number() -> None:
    net = shipped()
    crops = [torch.rand(count, 3, side, side) * 255 for count, side in ((1, 127), (3, 127), (2, 95), (1, 127))]
    with torch.inference_mode():
        found = [net.features(crop, template=False) for crop in crops]
        net.quick = None
        wanted = [net.features(crop, template=False) for crop in crops]
    for ours, theirs in zip(found, wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            assert (a - b).abs().max() < 1e-4 * b.abs().max()


def test_bfloat16_is_near() -> None:
    net = shipped()
    crop = torch.rand(1, 3, 127, 127) * 255
    with torch.inference_mode():
        (wanted,) = net.features(crop, template=False)
        freeze(net, torch.bfloat16)
        (found,) = net.features(crop, template=False)
    assert found.dtype == torch.float32
    assert 1e-4 < (found - wanted).abs().max() / wanted.abs().max() < 0.1


def test_learning_does_not_see_the_frozen_graph() -> None:
    net = SiamCar(backbone="efficientnet_lite0", width=16, levels=(3,), tower=1, light=True).build()
    freeze(net.eval())
    crop = torch.rand(1, 3, 95, 95) * 255
    with torch.inference_mode():
        before = net.features(crop, template=False)[0].clone()
    assert net.features(crop, template=False)[0].requires_grad
    with torch.no_grad():
        net.train()
        net.neck.get_submodule("levels.0.0").weight.mul_(2)  # type: ignore[union-attr, operator]
        assert not torch.allclose(net.features(crop, template=False)[0], before)
