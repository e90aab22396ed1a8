"""SPM: its proposals, its fine stage and its fusion, and every field's change in graph or output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from references import embed
from siamtrack.config import load_preset
from siamtrack.errors import ConfigError
from siamtrack.evaluation.trackers import TimedMatcher
from siamtrack.geometry.boxes import box_iou, nms
from siamtrack.models.families.spm import (
    CorrelationNetwork,
    RelationNetwork,
    Spm,
    box_offsets,
    centred,
    nearest_to,
    propose,
    refine_boxes,
)
from siamtrack.models.heads import LightRpnHead, RpnHead
from siamtrack.models.roi_align import roi_align
from siamtrack.tracking.state import TrackState, believed, search_sides
from small_spm import answer, build, patches


# ------------------------------------------------------------------------------------------- proposals
def greedy(boxes: Tensor, scores: Tensor, overlap: float) -> list[int]:
    """Suppression as everybody writes it."""
    left, kept = scores.argsort(descending=True).tolist(), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if float(box_iou(boxes[best], boxes[i])) <= overlap]
    return kept


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 30))
def test_suppression_is_the_greedy_one(seed: int, count: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    corner = torch.rand(2, count, 2, generator=rng) * 60
    boxes = torch.cat([corner, corner + 10 + 40 * torch.rand(2, count, 2, generator=rng)], -1)
    scores = torch.rand(2, count, generator=rng)
    wanted = min(6, count)
    found = nms(boxes, scores, wanted)
    for row in range(2):
        kept = greedy(boxes[row], scores[row], 0.5)[:wanted]
        assert found[row, : len(kept)].tolist() == kept
        assert len(set(found[row].tolist())) == wanted


def test_the_nearest_proposal_is_always_kept() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [50, 50, 60, 60], [80, 0, 90, 10], [51, 50, 61, 60], [30, 30, 70, 70]]])
    scores = torch.tensor([[0.9, 0.1, 0.8, 0.05, 0.7]])
    last = torch.tensor([[50.5, 50, 60.5, 60]])
    assert propose(boxes, scores, last, 3)[0].tolist() == [0, 2, 1]
    # Of those that overlap it by more than 0.8 the best scored one; else the one that overlaps it most.
    assert nearest_to(boxes, scores.flip(1), last).item() == 3
    assert nearest_to(boxes, scores, torch.tensor([[32.0, 30, 80, 80]])).item() == 4
    assert propose(boxes, scores, last, 1)[0].tolist() == [1]


def test_low_scores_are_low_against_the_best_of_the_others() -> None:
    """The nearest proposal is taken out first (section 4.3), so that its score does not make others low."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [50, 50, 60, 60], [80, 0, 90, 10], [20, 0, 30, 10]]])
    scores = torch.tensor([[0.05, 0.9, 0.04, 0.004]])
    last = boxes[:, 1]
    assert propose(boxes, scores, last, 4)[0].tolist() == [0, 2, 3, 1]
    assert propose(boxes, scores, last, 4, low=0.1)[0].tolist() == [0, 2, 1, 1]
    assert propose(boxes, scores, last, 1, low=0.1)[0].tolist() == [1]


def test_anchors_have_the_published_code_s_whole_sides() -> None:
    """generate_anchors in SPM's utils/rpn.py rounds to the nearest cell; the small models' anchors are PySOT's."""
    given = {name: load_preset(name).model.ratios for name in ("spm", "spm_paper", "spm_lite0")}
    ratios = (0.33, 0.5, 1, 2, 3)
    widths = [round((8**2 / ratio) ** 0.5) for ratio in ratios]
    whole = tuple((width, round(width * ratio)) for width, ratio in zip(widths, ratios, strict=True))
    assert given == {"spm": whole, "spm_paper": whole, "spm_lite0": ratios}
    nearest, down = (build(ratios=value).coder.shapes().tolist() for value in (whole, ratios))
    assert nearest == [[112, 40], [88, 48], [64, 64], [48, 96], [40, 120]]
    assert down == [[104, 32], [88, 40], [64, 64], [40, 80], [32, 96]]


# -------------------------------------------------------------------------------------- the two stages
def test_the_published_geometry() -> None:
    """Of 16 x 16 template cells the middle 6 x 6, of 34 x 34 search cells 24 x 24; 640 channels pooled to 6 x 6."""
    for name, side, kernel in (("spm_paper", 127, 1), ("spm", 271, 3)):
        preset = load_preset(name)
        assert preset.crops.template_side == side
        with torch.device("meta"), torch.inference_mode():
            net = preset.model.build().eval()
            features = net.backbone(torch.empty(1, 3, 127, 127))
            template = embed(net, torch.empty(1, 3, side, side))
            maps = net.respond(template, torch.empty(1, 3, 271, 271))
        assert [tuple(x.shape[1:]) for x in features] == [(256, 16, 16), (384, 16, 16), (256, 16, 16)]
        assert [tuple(t.shape[1:]) for t in template] == [(256, 6, 6), (640, 6, 6)]
        assert maps["cls"].shape == (1, 10, 19, 19)
        assert net.coder.shapes().shape == (5, 2)
        assert net.head.fine.compare.squeezing.kernel_size == (kernel, kernel)


def test_the_published_code_keeps_the_box_of_a_low_score() -> None:
    """A score below 0.2 leaves the box and the size of the next search region; the text knows no such limit."""
    preset = load_preset("spm")
    boxes = torch.tensor([[10.0, 10, 50, 50]] * 2)
    before = TrackState.fresh(boxes, (torch.zeros(2, 1),), torch.zeros(2, 3), (100, 100))
    before = replace(before, lost_for=torch.tensor([0, 3]))
    moved = replace(before, boxes=before.boxes + 5, scores=torch.tensor([0.19, 0.21]))
    after = believed(preset, before, moved)
    assert after.boxes[:, 0].tolist() == [10, 15] and after.lost.tolist() == [True, False]
    assert search_sides(preset, after).tolist() == [271, 271]
    assert load_preset("spm_paper").track.lost_search == 0


def test_offsets_lead_back() -> None:
    boxes = torch.tensor([[30.0, 40, 20, 50], [60, 60, 60, 60]])
    target = torch.tensor([[35.0, 38, 24, 45], [50, 70, 90, 30]])
    assert torch.allclose(refine_boxes(boxes, box_offsets(boxes, target)), target, atol=1e-4)


def test_fine_kinds() -> None:
    relation, correlation, none = (build(fine=kind) for kind in ("relation", "correlation", "none"))
    assert isinstance(relation.head.fine.compare, RelationNetwork)
    assert isinstance(correlation.head.fine.compare, CorrelationNetwork)
    assert none.head.fine is None and len(embed(none, patches()[0])) == 1
    cells = none.respond(embed(none, patches()[0]), patches()[1])["cls"].shape[-1]
    assert answer(none).scores.shape == (2, 5 * cells**2)
    assert answer(relation).scores.shape == answer(correlation).scores.shape == (2, 9)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"levels": (4, 3)}, r"ascending numbers.*got \(4, 3\)"),
        ({"fine_levels": (4, 3)}, r"ascending numbers.*got \(4, 3\)"),
        ({"levels": (3, 4), "width": 0}, "needs a width above 0"),
        ({"coarse": "sides", "correlations": ()}, 'coarse "sides" needs correlations'),
        ({"ratios": (100.0,)}, "ratio 100.0 has no extent at a stride of 8 pixels"),
    ],
)
def test_levels_and_anchors_that_do_not_fit_are_told(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(**given)


def test_fields_change_the_graph() -> None:
    assert answer(build(proposals=4)).scores.shape == (2, 4)
    assert len(build(fine_levels=(3,)).head.fine.norms) == 1
    assert build(fine_levels=(3, 4)).head.fine.compare.squeeze[0].in_channels == 2 * (40 + 112)
    assert isinstance(build().head.coarse, LightRpnHead)
    assert isinstance(build(correlations=(), correlation="depthwise").head.coarse, RpnHead)
    assert build(ratios=(0.5, 1, 2)).head.coarse.cls.out_channels == 6
    first, second = build(overlap=0.99), build(overlap=0.1)
    assert not torch.allclose(answer(first).centres, answer(second).centres)


def test_fusion_and_its_weights_change_the_output() -> None:
    """Series-parallel lies between the two stages: with all the weight on the fine one it is series."""
    series, both, fine, coarse = (
        answer(build(**change))
        for change in (
            {"fusion": "series"}, {"fusion": "series_parallel"}, {"cls_weight": 1.0, "box_weight": 1e9},
            {"cls_weight": 0.0, "box_weight": 0.0},
        )
    )  # fmt: skip
    assert torch.allclose(fine.scores, series.scores) and torch.allclose(fine.centres, series.centres, atol=1e-3)
    assert not torch.allclose(both.scores, series.scores) and not torch.allclose(both.centres, series.centres)
    assert torch.allclose(both.scores, (coarse.scores + series.scores) / 2)
    alone = answer(build(fine="none"))
    assert {round(s, 5) for s in coarse.scores[0].tolist()} <= {round(s, 5) for s in alone.scores[0].tolist()}


def test_the_comparison_changes_the_fine_answer_alone() -> None:
    relation, correlation = build(), build(fine="correlation")
    z, x = patches()
    with torch.inference_mode():
        maps = [net.respond(embed(net, z), x) for net in (relation, correlation)]
    assert torch.equal(maps[0]["cls"], maps[1]["cls"])
    assert not torch.allclose(answer(relation).scores, answer(correlation).scores)


def test_series_believes_the_fine_stage_alone() -> None:
    coarse, fine = torch.tensor([[0.8, 0.2]]), torch.tensor([[0.4, 0.9]])
    boxes, refined = torch.zeros(1, 2, 4), torch.ones(1, 2, 4)
    scores, out = Spm(fusion="series").fuse(coarse, fine, boxes, refined)
    assert torch.equal(scores, fine) and torch.equal(out, refined)
    # Equation 2: W_cls = 0.5; boxes weighted by the scores, the fine one three times (0.8 against 3 x 0.4).
    scores, out = Spm().fuse(coarse, fine, boxes, refined)
    assert torch.allclose(scores, torch.tensor([[0.6, 0.55]]))
    assert torch.allclose(out[0, 0], torch.tensor(1.2 / 2.0)) and torch.allclose(out[0, 1], torch.tensor(2.7 / 2.9))
    assert torch.equal(Spm(cls_weight=0.0).fuse(coarse, fine, boxes, refined)[0], coarse)


def test_the_target_s_size_is_seen() -> None:
    net = build()
    z, x = patches()
    wide, tall = torch.tensor([[60.0, 20.0]] * 2), torch.tensor([[20.0, 60.0]] * 2)
    with torch.inference_mode():
        templates = [net.embed(z, sizes) for sizes in (wide, tall)]
        assert torch.equal(templates[0][0], templates[1][0]) and not torch.allclose(templates[0][1], templates[1][1])
        found = net.match(templates[0], x, wide)
    places = found.centres / x.shape[-1] * 2 - 1
    assert torch.allclose(found.grid_positions, places.clamp(-1, 1))
    assert centred(wide, 100)[0].tolist() == [20, 40, 80, 60]
    timed = TimedMatcher(net, "cpu")
    with torch.inference_mode():
        again = timed.match(timed.embed(z, wide), x, wide)
    assert torch.equal(again.centres, found.centres) and timed.seconds > 0


def test_the_pooled_cells_lie_where_the_backbone_looks() -> None:
    """A map whose cells hold their own place in pixels gives the bins' places, if it is read where its cells lie."""
    first, stride, cells = 6.5, 8.0, 16
    ramp = (first + torch.arange(cells) * stride).expand(1, 1, cells, cells)
    boxes = torch.tensor([[[20.0, 30, 68, 90]]])
    for middle, off in ((first, 0.0), (None, first - stride / 2)):
        pooled = roi_align(ramp, boxes, stride, 6, first=middle)[0, 0, 0]
        middles = 20 + (torch.arange(6) + 0.5) * 8
        assert torch.allclose(pooled[0], middles + off, atol=1e-3)


def test_boxes_are_pooled_where_the_backbone_s_cells_lie() -> None:
    aligned = build()
    z, _ = patches()
    with torch.inference_mode():
        levels = aligned.features(z, template=True)[1:]
        boxes = torch.tensor([[[20.0, 20, 70, 60]]] * 2)
        first = aligned.backbone.first_cells(z.shape[-1])
        wanted = aligned.head.fine.pool(levels, boxes, tuple(first[i] for i in aligned.neck.fine_levels))
        assert torch.equal(aligned.pool(levels, boxes, z.shape[-1]), wanted)


def test_proposals_of_a_low_coarse_score_are_no_candidates() -> None:
    """All but the one nearest to the last box, which is the last."""
    plain = build(low_score=0.0, proposals=60, overlap=0.99)  # at this overlap no box is suppressed
    for norm in plain.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    answer(plain.train())  # with statistics of these crops an untrained network's scores differ from place to place
    plain.eval()
    torch.manual_seed(3)
    for parameter in plain.head.coarse.cls.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    z, x = patches()
    with torch.inference_mode():
        template, features = embed(plain, z), plain.features(x, False)
        best = plain.coder.decode(plain.head(template, features), x.shape[-1]).scores.topk(59, dim=1).values
    share = float((best[0, 10] + best[0, 40]) / 2 / best[0, 0])
    filtered = build(low_score=share, proposals=60, overlap=0.99)
    filtered.load_state_dict(plain.state_dict())
    before, after = answer(plain), answer(filtered)
    assert before.sizes is not None and after.sizes is not None
    weak = best < share * best[:, :1]
    assert 18 <= int(weak[0].sum()) <= 48
    for scores, kept, low in zip(before.scores, after.scores, weak, strict=True):
        assert torch.equal(kept[:-1][~low], scores[:-1][~low]) and torch.equal(kept[-1], scores[-1])
        assert bool((kept[:-1][low] == scores[-1]).all())  # the nearest one again
