"""Each paper preset's first steps at its own batch, accumulated in parts so that they fit on a machine of 24 GB."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import pytest
import torch
from torch import nn

from siamtrack.config import load_preset
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.pairs import generator
from siamtrack.data.resident import ResidentSet
from siamtrack.training.loop import build_network
from siamtrack.training.parameters import (
    clip_gradients,
    make_optimiser,
    set_rates,
    settings_in_force,
    unfreeze_backbone,
)
from training_toys import write_shard

# Pairs that are learned from at once; the gradients of the parts of a batch are added.
PART = {"siamfc": 8, "sa_siam": 8, "sa_siam_paper": 8, "siamrpn": 8, "dasiamrpn": 8, "spm": 8, "spm_paper": 8}
NAMES = (
    "siamfc", "sa_siam", "sa_siam_paper", "siamrpn", "dasiamrpn", "spm", "spm_paper", "siamrpn_r50",
    "siamrpn_r50_paper", "siamcar_r50", "siamcar_r50_paper", "siamban_r50",
)  # fmt: skip


def first_steps(
    name: str,
    crops: ResidentSet,
    steps: int,
    batch: int = 0,
    settings: Mapping[str, object] = MappingProxyType({}),
    frozen: bool = False,
) -> list[tuple[float, float]]:
    """The loss and the gradient's norm before clipping of each step; a batch of 0 is the preset's own.

    BatchNorm takes its statistics over a part, as it does on one of the authors' GPUs. With `frozen`, what a ResNet
    learns at first is as in the preset: its heads alone. Its weights are random here, its norms fitted to crops.
    """
    # ImageNet weights change what is learned, not whether the arithmetic holds: random ones are the harder case.
    preset = load_preset(name, {"train.from_scratch": "all", **settings})
    cfg, part = load_preset(name).train if frozen else settings_in_force(preset.train), PART.get(name, 4)
    part = min(part, batch) if batch else part
    torch.manual_seed(0)
    net = build_network(preset, torch.device("cpu"))
    pairs = ResidentPairs(crops, preset.crops, preset.data)
    if frozen:
        drawn, _ = pairs.draw(4, cfg.seed, 0, steps)
        fit_norms(net.backbone, net.normalise(drawn.search))
        net.backbone.requires_grad_(False)
    optimiser = make_optimiser(net, cfg)
    unfreeze_backbone(net, cfg, 0)
    if frozen:
        vars(net.backbone)["forward"] = frozen_graph(net.backbone, drawn.search)
    found = []
    for step in range(steps):
        set_rates(optimiser, cfg, step)
        optimiser.zero_grad(set_to_none=True)
        total, parts = 0.0, -(-(batch or cfg.batch) // part)
        for number in range(parts):
            drawn, _ = pairs.draw(part, cfg.seed, number, step)
            loss = preset.model.loss(net, drawn, [generator(cfg.seed, number, step)])["total"] / parts
            loss.backward()
            total += float(loss.detach())
        norm = clip_gradients(net, cfg.clip)
        optimiser.step()
        found.append((total, norm))
    assert all(bool(torch.isfinite(value).all()) for value in net.state_dict().values() if value.is_floating_point())
    return found


def fit_norms(backbone: nn.Module, crops: torch.Tensor) -> None:
    """Give BatchNorm the statistics of B crops, as ImageNet's training gave it those of photos."""
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = None
        layer.reset_running_stats()
    backbone.train()
    with torch.no_grad():
        backbone(crops)
    backbone.eval()


def frozen_graph(backbone: nn.Module, crops: torch.Tensor) -> torch.jit.ScriptModule:
    """A backbone that learns nothing, for crops of any size: its values to float32's last digits in 0.7 of the time."""
    trace = torch.jit.trace(backbone.eval(), crops[:1], check_trace=False)
    return torch.jit.optimize_for_inference(torch.jit.freeze(trace))


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> ResidentSet:
    return ResidentSet.load(write_shard(tmp_path_factory.mktemp("first") / "data", tracks=8, frames=3))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_first_twenty_steps_at_the_presets_own_batch_are_finite(name: str, crops: ResidentSet) -> None:
    found = first_steps(name, crops, 20, frozen="r50" in name)
    print(name, " ".join(f"{loss:.3g}/{norm:.3g}" for loss, norm in found))
    assert all(math.isfinite(loss) and math.isfinite(norm) and norm > 0 for loss, norm in found)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_steps_of_a_small_batch_are_finite(name: str, crops: ResidentSet) -> None:
    if "r50" in name:
        # Seconds a pair: smaller search regions, and one step.
        found = first_steps(name, crops, 1, batch=2, settings={"crops.search": 191, "data.search.shift": 32})
    else:
        found = first_steps(name, crops, 2, batch=4 if "spm" in name else 2)
    assert all(math.isfinite(loss) and 0 < norm < 2e3 for loss, norm in found)
