from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from references import embed
from siamtrack.geometry.boxes import box_iou, cxcywh_to_xyxy
from siamtrack.models.families import SiamRpnPlusPlus
from siamtrack.models.families.siamfc import PointCoder
from siamtrack.models.heads import AnchorCoder, rpn_loss

sides = st.floats(10, 200)
places = st.floats(40, 215)


@settings(max_examples=40, deadline=None)
@given(cx=places, cy=places, w=sides, h=sides, size=st.sampled_from([255, 287]))
def test_what_is_encoded_is_decoded(cx: float, cy: float, w: float, h: float, size: int) -> None:
    coder = AnchorCoder()
    cells = 25
    box = cxcywh_to_xyxy(torch.tensor([[cx, cy, w, h]]))
    targets = coder.encode(box, torch.tensor([True]), cells, size, torch.Generator().manual_seed(0))
    found = coder.decode({"cls": torch.zeros(1, 10, cells, cells), "loc": targets.deltas.flatten(1, 2)}, size)
    assert found.sizes is not None
    decoded = cxcywh_to_xyxy(torch.cat([found.centres, found.sizes], -1))
    assert torch.allclose(decoded, box[:, None].expand_as(decoded), atol=0.05)
    assert torch.allclose(found.scores, torch.tensor(0.5))
    # Every positive anchor overlaps, every negative one does not, and the two never meet.
    overlap = box_iou(cxcywh_to_xyxy(coder.anchors(cells, size)), box)
    labels = targets.labels.flatten()
    assert (overlap[labels == 1] > 0.6).all()
    assert (overlap[labels == 0] < 0.3).all()
    assert int((labels == 1).sum()) <= 16
    assert int((labels == 0).sum()) == 48
    assert float(targets.weights.sum()) == pytest.approx(1 if (labels == 1).any() else 0)


def test_sampling_draws_evenly_and_by_the_generator() -> None:
    coder = AnchorCoder(high=0.4)
    boxes = torch.tensor([[95.5, 95.5, 159.5, 159.5]])
    present = torch.tensor([True])
    eligible = coder.overlaps(boxes, 25, 255)[0] > 0.4
    seen = torch.zeros(3125)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        seen += coder.encode(boxes, present, 25, 255, generator).labels.flatten() == 1
    assert int(seen.sum()) == 200 * 16
    assert not seen[~eligible].any()
    expected = 200 * 16 / int(eligible.sum())
    assert (seen[eligible] > expected / 2).all() and (seen[eligible] < expected * 2).all()
    first, second = (coder.encode(boxes, present, 25, 255, torch.Generator().manual_seed(7)).labels for _ in range(2))
    assert torch.equal(first, second)


def test_a_batch_mixes_positive_and_negative_pairs() -> None:
    boxes = torch.tensor([[95.5, 95.5, 159.5, 159.5], [0, 0, 40, 40.0]])
    coder = AnchorCoder()
    targets = coder.encode(boxes, torch.tensor([True, False]), 25, 255, torch.Generator().manual_seed(1))
    assert (targets.labels[0] == 1).any()
    assert not (targets.labels[1] == 1).any()
    rows, columns = (targets.labels[1] == 0).any(0).nonzero(as_tuple=True)
    assert max(rows.max(), columns.max()) <= 5


def test_wild_predictions_stay_finite() -> None:
    maps = {"cls": torch.full((1, 10, 5, 5), 1e4), "loc": torch.full((1, 20, 5, 5), 1e4)}
    found = AnchorCoder().decode(maps, 255)
    assert found.sizes is not None
    assert torch.isfinite(found.sizes).all() and torch.isfinite(found.scores).all()
    assert float(found.sizes.max()) <= 55 * 104


def test_the_better_anchor_gives_the_candidate() -> None:
    """Logits of anchor 2 in one cell come out as the candidate at that cell, with that anchor's size."""
    cls = torch.zeros(1, 2, 5, 25, 25)
    cls[0, 1, 2, 3, 20] = 5
    found = AnchorCoder().decode({"cls": cls.flatten(1, 2), "loc": torch.zeros(1, 20, 25, 25)}, 255)
    best = int(found.scores.argmax())
    assert found.sizes is not None
    assert found.sizes[0, best].tolist() == [64, 64]
    assert found.centres[0, best].tolist() == [127.5 + 8 * (20 - 12), 127.5 + 8 * (3 - 12)]
    assert found.grid_positions[best].tolist() == pytest.approx([(20 - 12) / 12, (3 - 12) / 12])


@pytest.mark.parametrize(
    ("change", "heads", "anchors"),
    [
        ({"backbone": "efficientnet_lite0", "levels": (3, 4)}, 1, 5),  # the neck merges levels of two strides
        ({"width": (16, 32, 8)}, 3, 5),
        ({"ratios": (0.5, 1, 2)}, 3, 3),
    ],
)
def test_siamrpnpp_fields_change_the_graph(change: dict[str, Any], heads: int, anchors: int) -> None:
    with torch.device("meta"), torch.inference_mode():
        net = SiamRpnPlusPlus(**({"backbone": "resnet18", "width": 16} | change)).build().eval()
        maps = net.respond(embed(net, torch.empty(1, 3, 127, 127)), torch.empty(1, 3, 255, 255))
    assert len(net.neck.levels) == len(change.get("levels", (3, 4, 5))) and len(net.head.cls) == heads
    assert maps["cls"].shape == (1, 2 * anchors, 25, 25)
    assert maps["loc"].shape == (1, 4 * anchors, 25, 25)


def test_a_gradient_step_lowers_the_loss() -> None:
    torch.manual_seed(0)
    net = SiamRpnPlusPlus(backbone="resnet18", levels=(3,), width=16).build()
    z, x = torch.rand(2, 3, 127, 127) * 255, torch.rand(2, 3, 255, 255) * 255
    boxes = torch.tensor([[95.5, 95.5, 159.5, 159.5], [40, 60, 120, 100.0]])
    coder = net.coder
    assert isinstance(coder, AnchorCoder)
    targets = coder.encode(boxes, torch.tensor([True, True]), 25, 255, torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(4):
        terms = rpn_loss(net.respond(embed(net, z), x), targets)
        loss = terms["cls"] + terms["loc"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


# ---------------------------------------------------------------------------------------- SiamFC's coder
def test_a_peak_of_the_response_is_found_at_its_place() -> None:
    response = torch.full((1, 1, 17, 17), -1.0)
    response[0, 0, 3, 12] = 1
    found = PointCoder(8.0, 16).decode({"response": response}, 255)
    assert found.sizes is None and found.response_size == 272
    centre = found.centres[0, int(found.scores.argmax())]
    assert torch.allclose(centre, torch.tensor([127.5 + 8 * 4, 127.5 - 8 * 5]), atol=0.5)


def test_several_sizes_of_anchors_have_all_ratios_each() -> None:
    coder, parts = AnchorCoder(stride=16, scale=(3, 5)), [AnchorCoder(stride=16, scale=scale) for scale in (3, 5)]
    assert coder.count == 10 and torch.equal(coder.shapes(), torch.cat([part.shapes() for part in parts]))
    box, present = torch.tensor([[100.0, 90.0, 178.0, 172.0]]), torch.tensor([True])
    assert float(coder.overlaps(box, 9, 255).max()) == max(float(part.overlaps(box, 9, 255).max()) for part in parts)
    targets = coder.encode(box, present, 9, 255)
    place = (targets.labels[0] == 1).nonzero()[0]
    maps = {"cls": torch.zeros(1, 20, 9, 9), "loc": torch.zeros(1, 4, 10, 9, 9)}
    maps["cls"].view(1, 2, 10, 9, 9)[(0, 1, *place.tolist())] = 9.0
    maps["loc"][0] = targets.deltas[0]
    found = coder.decode({"cls": maps["cls"], "loc": maps["loc"].view(1, 40, 9, 9)}, 255)
    best = int(found.scores.argmax())
    assert torch.allclose(found.centres[0, best], torch.tensor([139.0, 131.0]), atol=1e-3)
    assert found.sizes is not None and torch.allclose(found.sizes[0, best], torch.tensor([78.0, 82.0]), atol=1e-2)
