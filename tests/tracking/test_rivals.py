"""Other objects beside the target, kept from frame to frame by their places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from siamtrack.config import Preset, Track
from siamtrack.errors import ConfigError
from siamtrack.geometry.boxes import box_iou, xywh_to_xyxy
from siamtrack.models.siamese import Candidates, Template
from siamtrack.tracking.rivals import avoid, spot
from siamtrack.tracking.select import Ranking
from siamtrack.tracking.state import TrackState, start, step

PRESET = Preset(name="oracle", track=Track(window=0.0, penalty=0.0, rate=0.5))


class Bright:
    """An oracle that finds a red and a green blob, and takes the brighter one for the target."""

    def embed(self, patch: Tensor, sizes: Tensor) -> Template:
        return (patch[:, :, :1, :1],)

    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        centres, scores = [], []
        for crop in patch:
            for channel in (0, 1):
                there = (crop[channel] > 120) & (crop[1 - channel] < 80)
                at = there.nonzero().float()
                centres.append(at.mean(0).flip(0) + 0.5 if len(at) else torch.zeros(2))
                scores.append(crop[channel][there].mean() / 255 if len(at) else torch.tensor(0.0))
        middle = torch.stack(centres).reshape(len(patch), 2, 2)
        return Candidates(
            middle, sizes[:, None].expand(-1, 2, -1), torch.stack(scores).reshape(-1, 2), torch.zeros(2, 2)
        )


def scene(red: tuple[int, int], green: tuple[int, int], brightness: int) -> np.ndarray:
    frame = np.full((240, 320, 3), 100, np.uint8)
    for (x, y), colour in ((red, (200, 20, 20)), (green, (20, brightness, 20))):
        frame[y - 12 : y + 12, x - 12 : x + 12] = colour
    return frame


def followed(preset: Preset) -> tuple[Tensor, TrackState]:
    """Track the red blob beside a green one, which becomes the brighter one: overlaps, and the last state."""
    net, overlaps = Bright(), []
    state = start(net, preset, scene((100, 120), (170, 120), 140), (88, 108, 24, 24))
    for i in range(1, 12):
        x = 100 + 3 * i
        state = step(net, preset, scene((x, 120), (170, 120 - 2 * i), 140 + 10 * i), state)
        overlaps.append(box_iou(state.boxes, xywh_to_xyxy(torch.tensor([[x - 12.0, 108, 24, 24]]))))
    return torch.cat(overlaps), state


def test_a_brighter_object_that_was_beside_the_target_is_not_the_target() -> None:
    assert float(followed(PRESET)[0][-1]) == 0, "the brighter one wins where nothing is known of it"
    overlaps, state = followed(replace(PRESET, track=replace(PRESET.track, rivals=2)))
    assert float(overlaps.min()) > 0.7
    assert state.rivals is not None and state.rivals.shape == (1, 2, 4)
    green = xywh_to_xyxy(torch.tensor([[158.0, 86, 24, 24]]))
    assert float(box_iou(state.rivals[:, 0], green)) > 0.7, "it is known where the other object is"
    sides = state.rivals[..., 2:] - state.rivals[..., :2]
    assert (sides[:, 1:].abs() < 1e-3).all(), "and that there is no third one"


def ranking(boxes: Tensor, scores: Tensor) -> Ranking:
    found = Candidates(boxes[..., :2], boxes[..., 2:], scores, torch.zeros(boxes.shape[1], 2))
    return Ranking(found, boxes[..., 2:], scores, scores, torch.ones_like(scores), scores)


def test_only_what_lies_on_a_rival_more_than_on_the_target_is_lowered() -> None:
    boxes = torch.tensor([[[50.0, 50, 20, 20], [56, 50, 20, 20], [62, 50, 20, 20], [120, 50, 20, 20]]])
    target, rivals = torch.tensor([[40.0, 40, 60, 60]]), torch.tensor([[[54.0, 40, 74, 60], [0, 0, 0, 0]]])
    before = ranking(boxes, torch.full((1, 4), 0.8))
    assert torch.allclose(avoid(before, target, rivals).ranks, torch.tensor([[0.8, 0.8, 0.4, 0.8]]))
    assert torch.equal(avoid(before, target, torch.zeros(1, 2, 4)).ranks, before.ranks)
    assert torch.equal(avoid(before, target, rivals).scores, before.scores), "the score says what the network said"


def test_rivals_score_well_and_lie_apart_from_the_target() -> None:
    boxes = torch.tensor(
        [[[50.0, 50, 20, 20], [52, 50, 20, 20], [90, 50, 20, 20], [91, 50, 20, 20], [150, 50, 20, 20]]]
    )
    found = spot(ranking(boxes, torch.tensor([[0.9, 0.8, 0.5, 0.6, 0.1]])), torch.tensor([[0]]), 3)
    assert torch.equal(found[0, 0], boxes[0, 3])
    assert (found[0, 1:, 2:] == 0).sum() >= 2, "beside the target's own copy and what scores too little there is one"


def test_targets_have_rivals_of_their_own() -> None:
    preset = replace(PRESET, track=replace(PRESET.track, rivals=2))
    net, frame = Bright(), scene((100, 120), (170, 120), 200)
    boxes = [(88, 108, 24, 24), (158, 108, 24, 24)]
    both, alone = start(net, preset, frame, boxes), [start(net, preset, frame, box) for box in boxes]
    for i in range(1, 4):
        moved = scene((100 + 2 * i, 120), (170, 120 - 2 * i), 200)
        both, alone = step(net, preset, moved, both), [step(net, preset, moved, s) for s in alone]
    joined = alone[0].join(alone[1])
    assert both.rivals is not None and joined.rivals is not None
    assert torch.allclose(both.boxes, joined.boxes, atol=1e-3) and torch.allclose(both.rivals, joined.rivals, atol=1e-3)
    part = both.rows([1]).rivals
    assert part is not None and torch.equal(part[0], both.rivals[1])


@pytest.mark.parametrize("change", [{"scales": (0.96, 1.0, 1.04)}, {"select": "upsampled"}])
def test_rivals_need_boxes(change: dict) -> None:
    with pytest.raises(ConfigError, match=r"track\.rivals works neither"):
        start(
            Bright(), replace(PRESET, track=Track(rivals=4, **change)), scene((100, 120), (9, 9), 0), (88, 108, 24, 24)
        )
