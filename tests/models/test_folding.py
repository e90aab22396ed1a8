from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from references import embed
from siamtrack.config import load_preset
from siamtrack.models.weights import fold_norms


def scrambled(net: nn.Module) -> nn.Module:
    """BatchNorm statistics that differ from those of a fresh network: folding nothing would pass otherwise."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 2), (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.2, 0.2),
            ):  # fmt: skip
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return net.eval()


@pytest.mark.parametrize(
    "name", ["siamcar_lite0", "siamrpnpp_lite0", "siamrpn_alex", "siamrpn_mobilev2", "siamrpn_r50", "siamfc"]
)
def test_a_folded_network_answers_the_same_and_has_fewer_norms(name: str) -> None:
    net = scrambled(load_preset(name).model.build())
    folded = fold_norms(copy.deepcopy(net))
    size = load_preset(name).crops.search
    z, x = torch.rand(1, 3, 127, 127) * 255, torch.rand(1, 3, size, size) * 255
    with torch.inference_mode():
        one, other = net.respond(embed(net, z), x), folded.respond(embed(folded, z), x)  # type: ignore[operator]
    for key, value in one.items():
        assert float((value - other[key]).abs().max()) <= 1e-3 * float(value.std()), key

    def count(module: nn.Module) -> int:
        return sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())

    assert count(folded) == 0 < count(net)
