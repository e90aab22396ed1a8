"""SA-Siam's branches are trained apart: where each begins, and how gradients are clipped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from siamtrack.config import load_preset
from siamtrack.errors import ConfigError
from siamtrack.models.backbones import build_backbone
from siamtrack.models.families import SaSiam
from siamtrack.training.loop import build_network
from siamtrack.training.parameters import clip_gradients

CPU = torch.device("cpu")


def test_a_network_that_is_never_trained_needs_weights() -> None:
    with pytest.raises(ConfigError, match=r"never trains.*alexnet_relu.*backbone_weights=FILE"):
        build_network(load_preset("sa_siam"), CPU)
    build_network(load_preset("sa_siam", {"train.from_scratch": "all"}), CPU)
    with pytest.raises(ConfigError, match="give one of the two"):
        build_network(load_preset("siamfc", {"train.backbone_weights": "alexnet.pth"}), CPU)


def test_the_semantic_branch_takes_the_file_and_the_appearance_branch_none(tmp_path: Path) -> None:
    """PySOT's names for AlexNet, for which its authors publish ImageNet weights."""
    torch.manual_seed(5)
    stored = {
        key.replace("conv", "layer", 1): value for key, value in build_backbone("alexnet", (5,)).state_dict().items()
    }
    torch.save(stored, tmp_path / "alexnet.pth")
    preset = load_preset("sa_siam", {"train.backbone_weights": str(tmp_path / "alexnet.pth")})
    net = build_network(preset, CPU)
    semantic, appearance = net.backbone.semantic, net.backbone.appearance
    assert torch.equal(semantic.net.conv5[0].weight, stored["layer5.0.weight"])
    torch.manual_seed(preset.train.seed)
    assert torch.equal(appearance.conv1[0].weight, preset.model.build().backbone.appearance.conv1[0].weight)


def test_a_branch_with_large_gradients_does_not_shrink_those_of_the_other() -> None:
    small = {"backbone": "efficientnet_lite0", "level": 3, "width": 8, "semantic_backbone": "efficientnet_lite0"}
    apart, joint = (
        SaSiam(**small, semantic_levels=(3, 4), fused=8, template_cells=5, joint=joint).build()
        for joint in (False, True)
    )
    for net in (apart, joint):
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                parameter.grad = torch.full_like(parameter, 100.0 if "semantic" in name else 1e-6)
        before = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        total = torch.stack([grad.norm() for grad in before.values()]).norm()
        assert clip_gradients(net, 1.0) == pytest.approx(float(total), rel=1e-5)
        after = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        kept = all(torch.equal(after[name], before[name]) for name in after if "semantic" not in name)
        assert kept == (net is apart)
        large = torch.stack([grad.norm() for name, grad in after.items() if "semantic" in name]).norm()
        assert float(large) == pytest.approx(1.0, rel=1e-3)
