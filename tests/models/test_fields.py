"""Every field of SiamFC, SiamRPN, SiamRPN++ and SiamCAR: what it changes in the graph or in the output.

SA-Siam's and SPM's have files of their own, and fields of tracking are in `tests/tracking`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from references import embed, match
from siamtrack.config import Train, load_preset
from siamtrack.models.correlation import cross
from siamtrack.models.families import Family, SiamCar, SiamFc, SiamRpn, SiamRpnPlusPlus
from siamtrack.models.families.siamcar import SidesCoder
from siamtrack.models.siamese import Candidates, Maps, SiameseNet
from siamtrack.training.parameters import make_optimiser, prepare, set_rates, unfreeze_backbone

LITE: dict[str, Any] = {"backbone": "efficientnet_lite0"}


def shapes(model: Family, template: int = 127, search: int = 255) -> tuple[Maps, Candidates]:
    """Raw maps and candidates of a network whose tensors have shapes alone."""
    with torch.device("meta"), torch.inference_mode():
        net = model.build().eval()
        z, x = torch.empty(1, 3, template, template), torch.empty(1, 3, search, search)
        assert isinstance(net, SiameseNet)
        return net.respond(embed(net, z), x), match(net, embed(net, z), x)


def small(model: Family) -> SiameseNet:
    torch.manual_seed(0)
    net = model.build()
    assert isinstance(net, SiameseNet)
    return net.eval()


def crops(template: int = 95, search: int = 127) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    z, x = (torch.rand(1, 3, side, side, generator=rng) * 255 for side in (template, search))
    return z, x


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# ------------------------------------------------------------------------------------------------ SiamFC
def test_siamfc_has_17_by_17_cells_enlarged_16_times() -> None:
    maps, found = shapes(load_preset("siamfc").model)
    assert maps["response"].shape == (1, 1, 17, 17)
    assert found.response_size == 17 * 16 and found.centres.shape == (1, 272**2, 2) and found.sizes is None
    assert shapes(SiamFc(enlarge=1))[1].response_size == 17


def test_siamfc_s_gain_bias_level_and_width() -> None:
    model = SiamFc(**LITE, level=3, width=8, enlarge=1, gain=0.5)
    z, x = crops()
    with torch.inference_mode():
        plain = small(model).respond(embed(small(model), z), x)["response"]
        other = replace(model, gain=1.0, bias=2.0)
        assert torch.allclose(small(other).respond(embed(small(other), z), x)["response"], 2 * plain + 2, rtol=1e-4)
    assert not list(small(model).head.parameters())
    learned = small(replace(model, learned=True)).head.named_parameters()
    assert {name: p.item() for name, p in learned} == {"gain": 0.5, "bias": 0.0}
    assert small(replace(model, level=4)).neck.levels[0][0].in_channels == 112
    assert embed(small(replace(model, width=16)), z)[0].shape[1] == 16
    assert embed(small(replace(model, width=0)), z)[0].shape[1] == 40


# ----------------------------------------------------------------------------------------------- SiamRPN
@pytest.mark.parametrize(
    ("change", "anchors", "cells"),
    [
        ({}, 5, 17),
        ({"ratios": (0.5, 1, 2)}, 3, 17),
        ({"level": 4}, 5, 17),
        ({"correlation": "depthwise"}, 5, 17),
        ({**LITE, "level": 4, "width": 16, "correlations": ("search",)}, 5, 9),
    ],
)
def test_siamrpn_s_fields_change_its_maps(change: dict[str, Any], anchors: int, cells: int) -> None:
    maps, found = shapes(SiamRpn(**change))
    assert maps["cls"].shape == (1, 2 * anchors, cells, cells) and maps["loc"].shape == (1, 4 * anchors, cells, cells)
    assert found.scores.shape == (1, anchors * cells**2)


def test_siamrpn_s_levels_and_anchor_scale() -> None:
    with torch.device("meta"):
        assert SiamRpn(level=4).build().head.cls[0].search.in_channels == 384
        assert SiamRpn(level=5).build().head.cls[0].search.in_channels == 256
    sides = [SiamRpn(**LITE, level=3, width=8, scale=scale).build().coder.shapes() for scale in (4, 8)]  # type: ignore[attr-defined]
    assert torch.equal(2 * sides[0], sides[1])


# --------------------------------------------------------------------------------------------- SiamRPN++
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations((3, 4, 5), size)]


@pytest.mark.parametrize("levels", SUBSETS)
def test_any_subset_of_levels(levels: tuple[int, ...]) -> None:
    """Each has a neck and heads of its own, and weights where there are several; all of them reach the answer."""
    net = small(SiamRpnPlusPlus(backbone="resnet18", levels=levels, width=8))
    assert [neck[0].in_channels for neck in net.neck.levels] == [{3: 128, 4: 256, 5: 512}[level] for level in levels]
    assert len(net.head.cls) == len(net.head.loc) == len(levels)
    assert (net.head.cls_weight is None) == (len(levels) == 1)
    features = tuple(torch.rand(1, neck[0].in_channels, 15, 15) for neck in net.neck.levels)
    wide = tuple(torch.rand(1, x.shape[1], 31, 31, requires_grad=True) for x in features)
    maps = net.head(net.neck(features, True), net.neck(wide, False))
    gradients = torch.autograd.grad(maps["cls"].square().sum(), wide)
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)


@pytest.mark.parametrize(
    ("backbone", "cells"),
    [
        ("alexnet", 17),
        ("resnet18", 25),
        ("resnet34", 25),
        ("resnet50", 25),
        ("mobilenetv2", 25),
        ("mobilenetv2_140", 25),
    ],
)
def test_siamrpnpp_s_backbones(backbone: str, cells: int) -> None:
    """Section 4.3, table 1: each with all three levels at stride 8."""
    model = SiamRpnPlusPlus(backbone=backbone, width=32)
    maps, _ = shapes(model)
    assert maps["cls"].shape == (1, 10, cells, cells) and maps["loc"].shape == (1, 20, cells, cells)
    with torch.device("meta"):
        net = model.build()
    assert len(net.neck.levels) == len(net.head.cls) == 3 and net.coder.stride == 8


def test_up_or_depthwise_correlation_of_siamrpnpp() -> None:
    model = SiamRpnPlusPlus(backbone="resnet18", width=8)
    up, deep = (small(replace(model, correlation=kind)) for kind in ("up", "depthwise"))
    assert count(up.backbone) == count(deep.backbone) and count(up.neck) == count(deep.neck)
    # One kernel of all channels for each output, against one for each channel.
    assert up.head.cls[0].template.out_channels == 10 * 8 and deep.head.cls[0].template[0].out_channels == 8
    for net in (up, deep):
        z, x = torch.rand(1, 8, 7, 7), torch.rand(1, 8, 31, 31)
        assert net.head((z,) * 3, (x,) * 3)["cls"].shape == (1, 10, 25, 25)


def test_weighted_fusion_or_the_mean() -> None:
    model = SiamRpnPlusPlus(backbone="resnet18", width=8)
    weighted, mean = small(model), small(replace(model, fusion="mean"))
    assert mean.head.cls_weight is None and mean.head.loc_weight is None
    z, x = (tuple(torch.rand(1, 8, n, n) for _ in range(3)) for n in (7, 31))
    with torch.inference_mode():
        branches = torch.stack([branch(a, b) for branch, a, b in zip(mean.head.loc, z, x, strict=True)])
        assert torch.allclose(mean.head(z, x)["loc"], branches.mean(0), atol=1e-5)
        weighted.head.cls_weight.copy_(torch.tensor([30.0, 0.0, 0.0]))
        assert torch.allclose(weighted.head(z, x)["cls"], weighted.head.cls[0](z[0], x[0]), atol=1e-5)
        assert torch.allclose(weighted.head(z, x)["loc"], branches.mean(0), atol=1e-5)  # has weights of its own
        weighted.head.loc_weight.copy_(torch.tensor([2.0, 0.0, -1.0]))
        assert not torch.allclose(weighted.head(z, x)["loc"], branches.mean(0), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "learns"),
    [
        ({"unfreeze_at": 1.0}, False),
        ({"backbone_rate": 0.0}, False),
        ({"unfreeze_at": 0.0}, True),
        ({"unfreeze_at": 0.0, "frozen_stages": 9}, False),
    ],
)
def test_a_backbone_is_fine_tuned_or_frozen(change: dict[str, Any], learns: bool) -> None:
    cfg = Train(**({"steps": 10, "lr": 0.1, "optimiser": "sgd", "backbone_norm": True, "warmup": 0.0} | change))
    net = SiamRpnPlusPlus(backbone="mobilenetv2", levels=(3,), width=8).build()
    prepare(net, cfg)
    optimiser = make_optimiser(net, cfg)
    unfreeze_backbone(net, cfg, 5)
    set_rates(optimiser, cfg, 5)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    z, x = crops()
    maps = net.respond(embed(net, z), x)
    (maps["cls"].square().mean() + maps["loc"].square().mean()).backward()
    optimiser.step()
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("backbone.") for name in moved) == learns
    assert any(name.startswith("neck.") for name in moved) and any(name.startswith("head.") for name in moved)


def test_the_long_term_variant_looks_at_831_pixels() -> None:
    """Anchors and window are those of the larger map: 97 cells."""
    preset = load_preset("siamrpn_r50_lt")
    assert preset.track.lost_search == 831
    with torch.device("meta"), torch.inference_mode():
        net = preset.model.build().eval()
        found = match(net, embed(net, torch.empty(1, 3, 127, 127)), torch.empty(1, 3, 831, 831))
    assert found.scores.shape == (1, 5 * 97**2) and found.grid_positions.shape == (5 * 97**2, 2)


# ----------------------------------------------------------------------------------------------- SiamCAR
@pytest.mark.parametrize(
    ("backbone", "cells", "channels"),
    [("resnet50", 25, (512, 1024, 2048)), ("resnet34", 25, (128, 256, 512)), ("alexnet", 17, (384, 384, 256))],
)
def test_siamcar_s_backbones(backbone: str, cells: int, channels: tuple[int, ...]) -> None:
    """Section 4.2: stride 8 and all three levels, each correlated apart."""
    model = SiamCar(backbone=backbone)
    maps, found = shapes(model)
    assert {name: tuple(m.shape) for name, m in maps.items()} == {
        "cls": (1, 2, cells, cells), "cen": (1, 1, cells, cells), "loc": (1, 4, cells, cells),
    }  # fmt: skip
    assert found.response_size == cells and found.stride == 8
    with torch.device("meta"):
        net = model.build()
    assert tuple(level[0].in_channels for level in net.neck.levels) == channels
    assert net.head.fusion.merge.in_channels == 3 * 256


@pytest.mark.parametrize("levels", [(3,), (5,), (3, 4, 5)])
def test_levels_of_a_backbone_without_padding_lie_on_each_other(levels: tuple[int, ...]) -> None:
    """What was at one place of both crops is at the middle of the response: 6 cells of an even map, not 7."""
    net = small(SiamRpnPlusPlus(backbone="alexnet", levels=levels, width=8))
    cells = {3: (10, 26), 4: (8, 24), 5: (6, 22)}
    maps: dict[bool, tuple[Tensor, ...]] = {}
    for template in (True, False):
        features = []
        for level, projected in zip(levels, net.neck.levels, strict=True):
            side = cells[level][not template]
            features.append(torch.zeros(1, projected[0].in_channels, side, side))
            features[-1][..., side // 2 - 1 : side // 2 + 1, side // 2 - 1 : side // 2 + 1] = 1
        ground = net.neck(tuple(torch.zeros_like(x) for x in features), template)
        maps[template] = tuple(a - b for a, b in zip(net.neck(tuple(features), template), ground, strict=True))
    for z, x in zip(maps[True], maps[False], strict=True):
        response = cross(z, x)[0, 0]
        assert response.shape == (17, 17) if len(levels) > 1 or levels == (5,) else (21, 21)
        middle = response.shape[-1] // 2
        assert int(response.argmax()) == middle * response.shape[-1] + middle


def test_siamcar_s_fields_change_the_graph() -> None:
    base: dict[str, Any] = {**LITE, "levels": (3, 4), "width": 32, "light": True, "tower": 1}
    plain = small(SiamCar(**base))
    assert plain.head.fusion.merge.in_channels == 32
    wide = small(SiamCar(**base, correlations=("depthwise", "pixelwise", "search")))
    assert wide.head.fusion.merge.in_channels == 32 + 49 + 32
    assert (
        small(SiamCar(**(base | {"template_cells": 5}), correlations=("pixelwise",))).head.fusion.merge.in_channels
        == 25
    )
    assert len(small(SiamCar(**(base | {"tower": 3}))).head.cls_tower) == 3 * len(plain.head.cls_tower)
    assert len(small(SiamCar(**(base | {"levels": (3,)}))).neck.levels) == 1 and len(plain.neck.levels) == 2
    heavy = SiamCar(backbone="resnet18", levels=(3,), width=32, tower=1).build()
    assert {type(m) for m in heavy.head.cls_tower} == {nn.Conv2d, nn.GroupNorm, nn.ReLU}
    assert nn.GroupNorm not in {type(m) for m in plain.head.cls_tower}
    assert shapes(SiamCar(**(base | {"levels": (4,)})))[1].stride == 16


def test_an_untrained_siamcar_predicts_its_unit() -> None:
    z, x = crops()
    for unit in (10.0, 40.0):
        net = small(SiamCar(**LITE, levels=(3,), width=32, light=True, tower=1, unit=unit))
        with torch.inference_mode():
            found = match(net, embed(net, z), x)
        assert found.sizes is not None and torch.allclose(found.sizes, torch.tensor(2 * unit), rtol=0.1)


def test_centreness_decides_among_cells_of_one_class() -> None:
    """SiamCAR, section 3.2: cells off the centre score less; they are still read out apart from it."""
    cen = torch.full((1, 1, 5, 5), -2.0)
    cen[0, 0, 1, 3] = 3.0
    maps = {
        "cls": torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 5, 5),
        "cen": cen,
        "loc": torch.zeros(1, 4, 5, 5),
    }
    found = SidesCoder(8.0).decode(maps, 127)
    assert found.classes is not None and found.quality is not None
    assert int(found.scores.argmax()) == 1 * 5 + 3
    assert torch.allclose(found.scores, found.classes * cen.flatten(1).sigmoid())
    assert torch.allclose(found.classes, torch.tensor(2.0).sigmoid()) and torch.equal(found.quality, cen.flatten(1))
