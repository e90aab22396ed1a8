"""DaSiamRPN's memory and its growing search: equations 3 and 4 against a plain reading, and their work in a clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from siamtrack.config import Preset, Track
from siamtrack.errors import ConfigError, InputError
from siamtrack.geometry.boxes import box_iou, xywh_to_xyxy
from siamtrack.models.families import SiamFc
from siamtrack.models.siamese import Candidates, Template
from siamtrack.tracking.distractors import Memory, _updated, recall, remember
from siamtrack.tracking.distractors import _updated as updated
from siamtrack.tracking.state import TrackState, search_sides, start, step

RED, GREEN = (230, 30, 30), (30, 200, 60)
PRESET = Preset(name="oracle", track=Track(window=0.1, penalty=0.0, rate=0.5))


class Blobs:
    """An oracle that takes every coloured blob for the target, green ones a little more."""

    def embed(self, patch: Tensor, sizes: Tensor) -> Template:
        middle = patch.shape[-1] // 2
        return (patch[:, :, middle - 8 : middle + 8, middle - 8 : middle + 8].mean((2, 3))[..., None, None] - 90,)

    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        size = patch.shape[-1]
        centres, scores = [], []
        for crop in patch:
            found = []
            for channel, score in ((0, 0.8), (1, 0.9)):
                other = crop[1 - channel]
                at = ((crop[channel] > 150) & (other < 100)).nonzero().float()
                place = at.mean(0).flip(0) + 0.5 if len(at) else torch.full((2,), size / 2)
                found.append((place, score if len(at) else 0.0))
            centres.append(torch.stack([place for place, _ in found]))
            scores.append(torch.tensor([score for _, score in found]))
        middle = torch.stack(centres)
        return Candidates(middle, torch.full_like(middle, 60.0), torch.stack(scores), torch.zeros(2, 2))


def scene(red: tuple[int, int], green: tuple[int, int] | None) -> np.ndarray:
    frame = np.full((240, 320, 3), 90, np.uint8)
    for place, colour in ((red, RED), (green, GREEN)):
        if place is not None:
            x, y = place
            frame[y - 12 : y + 12, x - 12 : x + 12] = colour
    return frame


def follow(preset: Preset) -> Tensor:
    """Track the red blob while a green one comes by: overlap in each frame."""
    net, overlaps = Blobs(), []
    state = start(net, preset, scene((100, 120), None), (88, 108, 24, 24))
    for i in range(1, 12):
        state = step(net, preset, scene((100 + 3 * i, 120), (180 - 2 * i, 100 + 2 * i)), state)
        truth = xywh_to_xyxy(torch.tensor([[88 + 3 * i, 108, 24, 24]]).float())
        overlaps.append(box_iou(state.boxes, truth))
    return torch.cat(overlaps)


def test_the_memory_keeps_the_target() -> None:
    assert float(follow(PRESET)[-1]) == 0, "without a memory the better scored blob wins"
    ranked = replace(PRESET, track=replace(PRESET.track, rerank=2))
    assert float(follow(ranked).min()) > 0.6


def test_running_means_are_equation_4() -> None:
    rate, ratio = 0.2, 0.25
    rng = torch.Generator().manual_seed(0)
    seen = [torch.rand(1, 3, 5, generator=rng) for _ in range(4)]
    winners, masks = [0, 2, 1, 0], [[0, 1, 1], [1, 0, 0], [0, 0, 0], [0, 0, 1]]
    none = torch.zeros(1)
    memory = Memory(torch.zeros(1, 5), none, torch.zeros(1, 5), none, none)
    target, rivals, target_weight, rival_weight = torch.zeros(5), torch.zeros(5), 0.0, 0.0
    for t, (features, winner, mask) in enumerate(zip(seen, winners, masks, strict=True), start=1):
        memory = updated(memory, features, torch.tensor([[winner]]), torch.tensor([mask]).bool(), rate)
        beta = sum(ratio**i for i in range(t))
        target, target_weight = target + beta * features[0, winner], target_weight + beta
        for k in range(3):
            if mask[k]:
                rivals, rival_weight = rivals + beta * features[0, k], rival_weight + beta
    proposals = torch.rand(1, 6, 5, generator=rng)
    wanted = proposals[0] @ (target / target_weight - 0.5 * rivals / rival_weight)
    assert torch.allclose(recall(memory, proposals, 0.5)[0], wanted, atol=1e-5)


def test_without_distractors_the_memory_is_the_target() -> None:
    template = (torch.rand(2, 3, 4, 4), torch.rand(2, 5))
    memory = remember(template, 0.01)
    features = torch.cat([template[0].flatten(1), template[1]], 1)
    assert torch.allclose(memory.target, torch.nn.functional.normalize(features, dim=1))
    assert torch.allclose(recall(memory, memory.target[:, None], 0.5), torch.ones(2, 1))
    part = memory.rows(torch.tensor([1]))
    assert torch.equal(memory.replaced(torch.tensor([0]), part).target[0], memory.target[1])


def test_targets_remember_apart() -> None:
    preset = replace(PRESET, track=replace(PRESET.track, rerank=2))
    net, frame = Blobs(), scene((100, 120), (190, 120))
    boxes = [(88, 108, 24, 24), (178, 108, 24, 24)]
    both = start(net, preset, frame, boxes)
    alone = [start(net, preset, frame, box) for box in boxes]
    for i in range(1, 4):
        moved = scene((100 + 2 * i, 120), (190, 120 - 2 * i))
        both, alone = step(net, preset, moved, both), [step(net, preset, moved, s) for s in alone]
    assert torch.allclose(both.boxes, torch.cat([s.boxes for s in alone]), atol=1e-3)
    assert both.memory is not None and all(s.memory is not None for s in alone)
    assert torch.allclose(both.memory.rivals, torch.cat([s.memory.rivals for s in alone if s.memory]), atol=1e-4)


def test_a_frame_with_nan_leaves_the_memory_as_it_was() -> None:
    template = (torch.rand(2, 12),)
    memory, bad = remember(template, 0.01), torch.rand(2, 3, 12)
    bad[0] = torch.nan
    winner = torch.zeros(2, 1, dtype=torch.long)
    after = _updated(memory, bad, winner, torch.ones(2, 3, dtype=torch.bool), 0.01)
    assert torch.equal(after.target[0], memory.target[0]) and torch.equal(after.rivals[0], memory.rivals[0])
    assert after.target_weight[0] == memory.target_weight[0] < after.target_weight[1]
    assert bool(torch.isfinite(recall(after, torch.rand(2, 3, 12), 0.5)).all())


def test_a_first_frame_with_nan_is_refused() -> None:
    frame = torch.full((3, 200, 300), 90.0)
    frame[0, 5, 5] = torch.nan
    with pytest.raises(InputError, match="nan or inf"):
        start(Blobs(), PRESET, frame, (88, 108, 24, 24))


def test_a_memory_needs_candidates_with_sizes() -> None:
    preset = replace(PRESET, model=SiamFc(), track=Track(rerank=4))
    with pytest.raises(ConfigError, match="rerank"):
        start(Blobs(), preset, scene((100, 120), None), (88, 108, 24, 24))


def test_the_search_grows_from_local_to_global() -> None:
    preset = replace(PRESET, track=Track(lost_search=767, lost_step=128))
    base = start(Blobs(), PRESET, scene((100, 120), None), (88, 108, 24, 24))
    sides = []
    for lost_for in range(7):
        state = replace(base, lost_for=torch.tensor([lost_for]))
        sides.append(int(search_sides(preset, state)))
    assert sides == [255, 383, 511, 639, 767, 767, 767]
    at_once = replace(preset, track=replace(preset.track, lost_step=0))
    lost = replace(base, lost_for=torch.tensor([1]))
    assert int(search_sides(at_once, lost)) == 767 and int(search_sides(PRESET, lost)) == 255


def test_frames_without_the_target_are_counted() -> None:
    preset = replace(PRESET, track=Track(lost_search=511, lost_step=128, search_lost_below=0.5, found_above=0.7))
    net, empty = Blobs(), np.full((240, 320, 3), 90, np.uint8)
    state: TrackState = start(net, preset, scene((100, 120), None), (88, 108, 24, 24))
    counts = []
    for frame in (empty, empty, empty, scene((100, 120), None), scene((100, 120), None)):
        state = step(net, preset, frame, state)
        counts.append(int(state.lost_for[0]))
    assert counts == [1, 2, 3, 0, 0]
