"""What SPM's stages learn from: samples, the four terms, and generalized training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from references import embed, match
from siamtrack.config import load_preset
from siamtrack.geometry.boxes import box_iou, cxcywh_to_xyxy, xyxy_to_cxcywh
from siamtrack.models.families import SiamCar, spm
from siamtrack.models.families.spm import FineSamples, Spm, SpmNet, fine_loss, fine_samples, refine_boxes
from siamtrack.models.heads import AnchorCoder, AnchorTargets, anchor_terms
from siamtrack.models.losses import Terms, TrainingBatch
from siamtrack.training.failure import pick
from small_spm import SMALL, build, patches


# ---------------------------------------------------------------------------------------------- the loss
def test_samples_are_half_positive() -> None:
    rng = torch.Generator().manual_seed(0)
    corner = torch.rand(2, 500, 2, generator=rng) * 150
    boxes = torch.cat([corner, corner + 20 + 60 * torch.rand(2, 500, 2, generator=rng)], -1)
    truth = torch.tensor([[60.0, 60, 120, 130], [30, 30, 90, 90]])
    proposals, scores = xyxy_to_cxcywh(boxes), torch.rand(2, 500, generator=rng)
    samples = fine_samples(proposals, scores, truth, torch.tensor([True, False]), rng)
    assert samples.boxes.shape == (2, 48, 4)
    assert samples.positive.sum(1).tolist() == [24, 0] and samples.used.sum(1).tolist() == [48, 24]
    overlap = box_iou(cxcywh_to_xyxy(samples.boxes), truth[:, None])
    assert (overlap[samples.positive] >= 0.5).all()
    assert (overlap[0][samples.used[0] & ~samples.positive[0]] < 0.5).all()
    # Negatives are among the best scored proposals.
    floor = scores[0].topk(256).values[-1]
    negatives = samples.boxes[0][samples.used[0] & ~samples.positive[0]]
    rows = (proposals[0][:, None] == negatives[None]).all(-1).nonzero()[:, 0]
    assert len(rows) == 24 and (scores[0][rows] >= floor).all()
    assert torch.allclose(refine_boxes(samples.boxes, samples.offsets)[0], torch.tensor([90.0, 95, 60, 70]), atol=1e-3)


def test_the_loss_sees_the_right_samples() -> None:
    rng = torch.Generator().manual_seed(0)
    truth = torch.tensor([[60.0, 60, 120, 130]])
    corner = torch.rand(1, 300, 2, generator=rng) * 150
    boxes = torch.cat([corner, corner + 40], -1)
    samples = fine_samples(xyxy_to_cxcywh(boxes), torch.rand(1, 300, generator=rng), truth, torch.tensor([True]), rng)
    right = torch.stack([~samples.positive, samples.positive], -1).float() * 20
    terms = fine_loss(right, samples.offsets, samples)
    assert float(terms["fine_cls"]) < 1e-6 and float(terms["fine_loc"]) == 0
    terms = fine_loss(-right, samples.offsets + 1.5, samples)
    assert float(terms["fine_cls"]) > 10
    assert float(terms["fine_loc"]) == pytest.approx(4.0)  # four times 1.5 - 0.5


# ---------------------------------------------------------------------------------- generalized training
def batch(alike: list[bool] | None) -> TrainingBatch:
    """Two pairs: one of one object, one whose template shows another object."""
    z, x = patches()
    boxes = torch.tensor([[40.0, 40, 90, 90], [30, 45, 90, 95]])
    inner = torch.tensor([[25.0, 25, 70, 70]] * 2)
    return TrainingBatch(
        z, x, boxes, torch.tensor([True, False]), inner, None if alike is None else torch.tensor(alike)
    )


def loss(net: SpmNet, given: TrainingBatch, seed: int = 0, **changes: Any) -> Terms:
    """SPM's loss of a batch, as its configuration has it."""
    return Spm(**(SMALL | {"loss_weights": (1.0, 1.0, 2.0, 2.0)} | changes)).loss(
        net, given, [torch.Generator().manual_seed(seed)]
    )


@pytest.mark.parametrize(
    "change, coarse", [({"scale": 6}, ["cls", "loc"]), ({"coarse": "sides"}, ["cls", "cen", "loc"])]
)
def test_both_stages_teach_the_backbone(change: dict[str, Any], coarse: list[str]) -> None:
    """End to end: each of the terms has a gradient in the features that both stages share."""
    net = build(**change).train()
    terms = loss(net, batch(None), **change)
    assert list(terms) == [*coarse, "fine_cls", "fine_loc", "total"]
    weights = {"cls": 1, "cen": 1, "loc": 1, "fine_cls": 2, "fine_loc": 2}
    torch.testing.assert_close(terms["total"], sum(weights[name] * terms[name] for name in [*terms][:-1]))
    stem = net.backbone.conv_stem.weight
    for name in [*terms][:-1]:
        (gradient,) = torch.autograd.grad(terms[name], stem, retain_graph=True)
        assert float(gradient.abs().max()) > 0, name


def test_sides_are_siamcar_s() -> None:
    """Without a fine stage, and with the same weights, the coarse stage proposes and learns as SiamCAR's light form."""
    shared = {"backbone": "efficientnet_lite0", "levels": (3, 4), "width": 16, "correlations": ("depthwise", "search")}
    car = SiamCar(**shared, tower=1, light=True, template_cells=5, unit=20.0, loss_weights=(1.5, 1.5, 3.0))
    both = Spm(**shared, coarse="sides", fine="none", tower=1, template_cells=5, unit=20.0, loss_weights=(1.5, 3, 1, 1))
    torch.manual_seed(0)
    theirs = car.build().eval()
    state = {
        name.replace("neck.", "neck.coarse.").replace("head.", "head.coarse."): t
        for name, t in theirs.state_dict().items()
    }
    own = both.build().eval()
    own.load_state_dict(state)
    z, x = patches()
    with torch.inference_mode():
        found, expected = (match(net, embed(net, z), x) for net in (own, theirs))
    assert torch.equal(found.centres, expected.centres) and torch.equal(found.scores, expected.scores)
    losses = [family.loss(net, batch(None), [torch.Generator()]) for family, net in ((both, own), (car, theirs))]
    assert losses[0] == losses[1] and list(losses[0]) == ["cls", "cen", "loc", "total"]


def test_a_pair_of_one_category_is_positive_for_the_coarse_stage_alone() -> None:
    """Its coarse targets have positives, its fine ones have none; without generalized training both have none."""
    net = build(scale=6).train()
    calls: dict[str, Tensor] = {}
    encode, compare = AnchorCoder.encode, spm.fine_samples

    def seen_by_coarse(self: AnchorCoder, boxes: Tensor, present: Tensor, *rest: Any) -> AnchorTargets:
        targets = encode(self, boxes, present, *rest)
        calls["coarse"] = (targets.labels == 1).flatten(1).any(1)
        return targets

    def seen_by_fine(*arguments: Any) -> FineSamples:
        samples = compare(*arguments)
        calls["fine"] = samples.positive.any(1)
        return samples

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AnchorCoder, "encode", seen_by_coarse)
        patch.setattr(spm, "fine_samples", seen_by_fine)
        for alike, coarse in (([True, True], [True, True]), ([True, False], [True, False]), (None, [True, False])):
            loss(net, batch(alike))
            assert calls["coarse"].tolist() == coarse
            assert calls["fine"].tolist() == [True, False]


def test_generalized_training_teaches_the_two_stages_opposite_things() -> None:
    """A few steps on two objects of one category: the coarse stage comes to take them for one, the fine one not."""
    scores = {}
    for same in (True, False):
        net = build(scale=6).train()
        given = batch([True, same])
        given = pick(given, slice(1, 2))
        optimiser = torch.optim.Adam(net.head.parameters(), 3e-3)
        for step in range(12):
            terms = loss(net, given, step)
            optimiser.zero_grad()
            terms["total"].backward()
            optimiser.step()
        with torch.inference_mode():
            template = net.embed(given.template, given.template_sizes)
            features = net.features(given.search, template=False)
            found = net.coder.decode(net.head(template, features), 127)
            logits, _ = net.head.fine(template[1], net.pool(features[1:], given.boxes[:, None], 127))
        near = net.coder.overlaps(given.boxes, 11, 127)[0] > 0.6
        scores[same] = float(found.scores[0][near].mean()), float(logits.softmax(-1)[0, 0, 1])
    print("coarse and fine scores of another object:", scores)
    assert scores[True][0] > 0.6 and scores[False][0] < 0.4
    assert scores[True][1] < 0.4 and scores[False][1] < 0.4


def test_the_published_network_s_first_steps_are_finite() -> None:
    """AlexNet with random weights and up-channel correlation: proposals of any size come out of it."""
    preset = load_preset("spm_paper")  # of a template of 127 pixels
    torch.manual_seed(0)
    net = preset.model.build().train()
    rng = torch.Generator().manual_seed(0)
    crops = [torch.rand(2, 3, side, side, generator=rng) * 255 for side in (127, 271)]
    inner = torch.tensor([[30.0, 40, 95, 80]] * 2)
    given = TrainingBatch(*crops, inner + 72, torch.tensor([True, False]), inner)
    optimiser = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)
    for step in range(3):
        terms = preset.model.loss(net, given, [torch.Generator().manual_seed(step)])
        optimiser.zero_grad()
        terms["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), preset.train.clip)
        assert all(torch.isfinite(term) for term in terms.values()) and torch.isfinite(norm), step
        optimiser.step()


@pytest.mark.parametrize("log_size", [-1e4, -30.0, 30.0, 1e4])
def test_proposals_without_extent_leave_the_loss_finite(log_size: float) -> None:
    """Whatever sizes an untrained coarse stage predicts."""
    net = build(scale=6).train()
    with torch.no_grad():
        net.head.coarse.loc.bias.view(4, -1)[2:] = log_size
    terms = loss(net, batch(None))
    assert all(torch.isfinite(term) for term in terms.values())
    terms["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_the_template_s_box_is_pooled_where_it_lies() -> None:
    """Training jitters the template crop: its box is not in the middle, and the features are those of the box."""
    net = build().eval()
    given, seen = batch(None), []
    net.head.fine.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        loss(net, replace(given, template_boxes=given.template_boxes + 15))
        moved = net.embed_boxes(given.template, given.template_boxes + 15)[1]
        centred = net.embed(given.template, given.template_sizes)[1]
    assert torch.equal(seen[0], moved) and not torch.allclose(moved, centred)


def test_an_ablation_is_trained_with_the_weights_of_the_terms_that_it_has() -> None:
    preset = load_preset("spm_lite0", {"model.fine": "none"})
    net = preset.model.build()
    terms = preset.model.loss(net, batch(None), [torch.Generator().manual_seed(0)])
    assert list(terms) == ["cls", "loc", "total"]
    assert float(terms["total"].detach()) == pytest.approx(
        float((terms["cls"] + 1.2 * terms["loc"]).detach()), rel=1e-5
    )
    for change, names in (({"branches": "semantic"}, ["semantic"]), ({"joint": True}, ["cls"])):
        wide = load_preset("sasiam_lite0", {f"model.{key}": value for key, value in change.items()})
        crops = torch.rand(2, 3, 255, 255, generator=torch.Generator().manual_seed(0)) * 255
        inner = torch.tensor([[100.0, 100, 150, 150]] * 2)
        pair = TrainingBatch(crops, crops, inner, torch.tensor([True, True]), inner)
        assert list(wide.model.loss(wide.model.build(), pair, [])) == [*names, "total"]


def test_the_gain_scales_the_up_channel_correlation_and_the_first_gradients() -> None:
    norms = {}
    for gain in (1.0, 0.001):
        preset = load_preset("siamrpn", {"model.correlation_gain": gain})
        torch.manual_seed(0)
        net = preset.model.build().train()
        rng = torch.Generator().manual_seed(0)
        crops = [torch.rand(2, 3, side, side, generator=rng) * 255 for side in (127, 255)]
        inner = torch.tensor([[30.0, 40, 95, 80]] * 2)
        given = TrainingBatch(*crops, inner + 64, torch.tensor([True, True]), inner)
        preset.model.loss(net, given, [torch.Generator().manual_seed(0)])["total"].backward()
        norms[gain] = float(torch.nn.utils.clip_grad_norm_(net.parameters(), 1e9))
    print("norm of the first gradient with and without the gain:", norms)
    assert norms[0.001] < 50 < norms[1.0]


def test_objects_of_the_category_beside_the_target_are_targets_of_the_coarse_stage() -> None:
    """Figure 3: their anchors are positive and lead to them; those of other categories stay background."""
    coder = AnchorCoder(positives=1000, samples=8000)
    box = torch.tensor([[96.0, 96, 160, 160]])
    others = torch.tensor([[[8.0, 96, 72, 160], [160, 10, 220, 70]]]), torch.tensor([[True, False]])
    given = TrainingBatch(
        torch.zeros(1), torch.zeros(1, 3, 255, 255), box, torch.tensor([True]), box, torch.tensor([True]), *others
    )
    maps = {"cls": torch.zeros(1, 10, 25, 25), "loc": torch.zeros(1, 20, 25, 25)}
    seen: list[AnchorTargets] = []
    encode = AnchorCoder.encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AnchorCoder, "encode", lambda *a: seen.append(encode(*a)) or seen[-1])
        for batch_, alike in ((given, True), (given, False), (replace(given, others_alike=~others[1]), True)):
            anchor_terms(maps, coder, batch_, [torch.Generator().manual_seed(0)], False, alike)
    both, own, beside = ((t.labels == 1).flatten(1)[0] for t in seen)
    anchors = coder.anchors(25, 255)
    assert own.any() and (both & own).sum() == own.sum()
    extra = both & ~own
    overlap = box_iou(cxcywh_to_xyxy(anchors), others[0][:, :1])[0]
    assert torch.equal(extra, (overlap > 0.6) & ~own)
    assert (anchors[beside & ~own][:, :2] - torch.tensor([190.0, 40])).abs().amax() < 40
    found = coder.decode({"cls": maps["cls"], "loc": seen[0].deltas.flatten(1, 2)}, 255)
    decoded = cxcywh_to_xyxy(torch.cat([found.centres, found.sizes], -1))[0]
    assert torch.allclose(decoded[extra], others[0][0, 0].expand(int(extra.sum()), 4), atol=1e-2)
    assert torch.allclose(decoded[own], box.expand(int(own.sum()), 4), atol=1e-2)
    assert not ((seen[0].labels == 0).flatten(1)[0] & (overlap >= 0.3)).any()
