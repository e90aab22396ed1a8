"""SiamBAN: labels, boxes, fusion of the levels and loss, against independent computations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from references import embed, match
from siamtrack.config import load_preset
from siamtrack.errors import ConfigError
from siamtrack.geometry.boxes import box_iou, cxcywh_to_xyxy
from siamtrack.models.families.siamban import BanHead, EllipseCoder, EllipseTargets, SiamBan, ban_loss
from siamtrack.models.losses import TrainingBatch

CELLS, SIZE = 25, 255
YES, NO = torch.tensor([True]), torch.tensor([False])


def test_the_published_geometry() -> None:
    """Template 127 cut to 7 x 7 cells, search 255, three levels, a map of 25 x 25."""
    with torch.device("meta"), torch.inference_mode():
        net = load_preset("siamban_r50").model.build().eval()
        template = embed(net, torch.empty(1, 3, 127, 127))
        maps = net.respond(template, torch.empty(1, 3, SIZE, SIZE))
    assert [tuple(level.shape) for level in template] == [(1, 256, 7, 7)] * 3
    assert {name: tuple(value.shape) for name, value in maps.items()} == {"cls": (1, 2, 25, 25), "loc": (1, 4, 25, 25)}


@settings(max_examples=40, deadline=None)
@given(cx=st.floats(60, 195), cy=st.floats(60, 195), w=st.floats(8, 120), h=st.floats(8, 120))
def test_labels_are_the_two_ellipses(cx: float, cy: float, w: float, h: float) -> None:
    """Cell by cell, by the equations of the paper: half axes w/4, h/4 and w/2, h/2."""
    box = cxcywh_to_xyxy(torch.tensor([[cx, cy, w, h]]))
    coder = EllipseCoder(8.0, positives=CELLS**2, samples=2 * CELLS**2)  # nothing is left out by the draw
    labels = coder.encode(box, YES, CELLS, SIZE, torch.Generator().manual_seed(0)).labels[0].reshape(CELLS, CELLS)
    for row in range(CELLS):
        for column in range(CELLS):
            x, y = (SIZE / 2 + (i - CELLS // 2) * 8 for i in (column, row))
            inner = ((x - cx) / (w / 4)) ** 2 + ((y - cy) / (h / 4)) ** 2
            outer = ((x - cx) / (w / 2)) ** 2 + ((y - cy) / (h / 2)) ** 2
            if min(abs(inner - 1), abs(outer - 1)) > 1e-4:
                assert labels[row, column] == (1 if inner < 1 else 0 if outer > 1 else -1)


def test_few_cells_are_drawn_and_by_the_generator() -> None:
    box, coder = torch.tensor([[60.0, 60, 220, 200]]), EllipseCoder(8.0)
    first, again, other = (
        coder.encode(box, YES, CELLS, SIZE, torch.Generator().manual_seed(s)).labels for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert int((first == 1).sum()) == 16 and int((first == 0).sum()) == 48
    negative = coder.encode(box, NO, CELLS, SIZE, torch.Generator().manual_seed(1)).labels
    assert int((negative == 0).sum()) == 16 and not (negative == 1).any()
    assert (coder.ellipse(box, CELLS, SIZE, 0.5)[negative == 0] < 1).all()


def test_what_is_encoded_is_decoded() -> None:
    box, coder = torch.tensor([[70.0, 80, 190, 170]]), EllipseCoder(8.0)
    targets = coder.encode(box, YES, CELLS, SIZE)
    inside = (targets.sides > 0).all(-1)[0]
    loc = targets.sides.clamp(min=1e-3).log().transpose(1, 2).reshape(1, 4, CELLS, CELLS)
    found = coder.decode({"cls": torch.zeros(1, 2, CELLS, CELLS), "loc": loc}, SIZE)
    assert found.sizes is not None and found.response_size == CELLS
    decoded = cxcywh_to_xyxy(torch.cat([found.centres, found.sizes], -1))[0, inside]
    assert torch.allclose(decoded, box.expand_as(decoded), atol=1e-3) and len(decoded) > 50
    assert torch.allclose(found.scores, torch.tensor(0.5))


def test_the_levels_sides_are_fused_after_their_exponential() -> None:
    torch.manual_seed(0)
    head = BanHead(8, 3, "weighted", 2.0).eval()
    z, x = (tuple(torch.rand(1, 8, side, side) for _ in range(3)) for side in (7, 31))
    with torch.inference_mode():
        head.loc_weight.copy_(torch.tensor([0.3, -0.2, 1.0]))
        head.loc_scale.copy_(torch.tensor([1.5, 0.5, -1.0]))
        maps = head(z, x)
        sides = [(s * branch(a, b)).exp() for s, branch, a, b in zip(head.loc_scale, head.loc, z, x, strict=True)]
        wanted = sum(w * side for w, side in zip(head.loc_weight.softmax(0), sides, strict=True))
        assert torch.allclose(maps["loc"].exp(), 2 * wanted, rtol=1e-4)
        cls = torch.stack([branch(a, b) for branch, a, b in zip(head.cls, z, x, strict=True)]).mean(0)
        assert torch.allclose(maps["cls"], cls, atol=1e-6)
        single = BanHead(8, 1, "weighted", 1.0).eval()
        assert torch.allclose(single(z[:1], x[:1])["loc"], single.loc[0](z[0], x[0]), atol=1e-4)
    assert "loc_weight" not in (state := BanHead(8, 3, "mean", 1.0).state_dict()) and "loc_scale" in state


def test_the_loss_is_one_minus_the_overlap_of_the_positive_cells() -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.tensor([[40.0, 50.0]] * 4)
    labels = torch.tensor([[1, 1, 0, -1]])
    true, guessed = (5 + 20 * torch.rand(1, 4, 4, generator=rng) for _ in range(2))
    maps = {"cls": torch.randn(1, 2, 2, 2, generator=rng), "loc": guessed.log().transpose(1, 2).reshape(1, 4, 2, 2)}
    terms = ban_loss(maps, EllipseTargets(labels, true))
    boxes = [torch.cat([points - side[0, :, :2], points + side[0, :, 2:]], 1) for side in (true, guessed)]
    areas = [(b[:, 2:] - b[:, :2]).prod(1) for b in boxes]
    overlap = box_iou(*boxes)
    inter = overlap / (1 + overlap) * (areas[0] + areas[1])
    expected = 1 - (inter + 1) / (areas[0] + areas[1] - inter + 1)
    assert float(terms["loc"]) == pytest.approx(float(expected[:2].mean()), rel=1e-5)
    surprise = -maps["cls"].flatten(2).log_softmax(1)[0]
    expected_cls = (surprise[1, :2].mean() + surprise[0, 2]) / 2
    assert float(terms["cls"]) == pytest.approx(float(expected_cls), rel=1e-5)
    nothing = ban_loss(maps, EllipseTargets(torch.zeros(1, 4, dtype=torch.long), true))
    assert float(nothing["loc"]) == 0 and math.isfinite(float(nothing["cls"]))


def test_fields_change_the_graph() -> None:
    with torch.device("meta"):
        assert SiamBan(backbone="resnet18", width=16, levels=(3, 5)).build().head.cls_weight.shape == (2,)
        light = SiamBan(backbone="efficientnet_lite0", levels=(3, 4), width=16, correlations=("search",)).build()
    assert light.head.cls.out_channels == 2 and light.head.loc.out_channels == 4
    with pytest.raises(ConfigError, match="merged level"):
        SiamBan(backbone="resnet18", width=16, correlations=("search",)).build()


def test_a_few_steps_bring_the_box_to_the_target() -> None:
    """On one pair of crops: the best candidate comes to overlap the target, and the loss falls."""
    torch.manual_seed(0)
    model = SiamBan(backbone="mobilenetv2", levels=(3,), width=16, unit=16.0)
    net = model.build()
    rng = torch.Generator().manual_seed(0)
    z, x = (torch.rand(1, 3, side, side, generator=rng) * 255 for side in (63, 127))
    box = torch.tensor([[52.0, 40, 92, 72]])
    batch = TrainingBatch(z, x, box, YES, torch.tensor([[12.0, 16, 52, 48]]))
    optimiser, losses = torch.optim.Adam(net.head.parameters(), 1e-2), []
    for step in range(25):
        terms = model.loss(net, batch, [torch.Generator().manual_seed(step)])
        optimiser.zero_grad()
        terms["total"].backward()
        optimiser.step()
        losses.append(float(terms["total"].detach()))
    with torch.inference_mode():
        found = match(net, embed(net, z), x)
    assert found.sizes is not None
    best = int(found.scores.argmax())
    guess = cxcywh_to_xyxy(torch.cat([found.centres, found.sizes], -1))[:, best]
    assert losses[-1] < losses[0] / 2 and float(box_iou(guess, box)) > 0.6
