from __future__ import annotations

import copy
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from footage import FIRST_BOX, moving_patches
from siamtrack.config import Crops, Preset, Track
from siamtrack.errors import InputError
from siamtrack.geometry.boxes import box_iou, xywh_to_xyxy, xyxy_to_xywh
from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.families import SiamCar
from siamtrack.models.siamese import Candidates, Template
from siamtrack.tracking.state import TrackState, presence_of, start, step
from siamtrack.tracking.torch_engine import TorchEngine
from siamtrack.tracking.tracker import results
from siamtrack.zoo import load
from siamtrack.zoo.networks import open_network

CELLS = 25
PRESET = Preset(name="oracle", track=Track(window=0.2, penalty=0.02, rate=0.8))


class ColourMatcher:
    """An oracle: the template is its middle pixel's colour, and the search region is where that colour is."""

    def embed(self, patch: Tensor, sizes: Tensor) -> Template:
        middle = patch.shape[-1] // 2
        return (patch[:, :, middle, middle],)

    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        size = patch.shape[-1]
        like = (patch - template[0][:, :, None, None]).abs().amax(1) < 25
        ys = torch.arange(size).float() + 0.5
        found = []
        for mask in like:
            rows, columns = mask.any(1), mask.any(0)
            if not bool(mask.any()):
                found.append(torch.tensor([size / 2, size / 2, 1.0, 1.0]))
                continue
            x, y = ys[columns], ys[rows]
            centre = torch.stack([(x.min() + x.max()) / 2, (y.min() + y.max()) / 2])
            found.append(torch.cat([centre, torch.stack([x.max() - x.min() + 1, y.max() - y.min() + 1])]))
        box = torch.stack(found)
        cells = CELLS + (size - 255) // 8
        points = grid_points(cells, 8, size)
        near = (-((points[None] - box[:, None, :2]) ** 2).sum(-1) / 200).exp() * like.flatten(1).any(1)[:, None]
        count = len(points)
        sizes = box[:, None, 2:].expand(-1, count, -1)
        return Candidates(box[:, None, :2].expand(-1, count, -1), sizes, near, grid_positions(cells), cells)


def scene(boxes: list[tuple[float, float, float, float]], colours: list[tuple[int, int, int]]) -> np.ndarray:
    frame = np.full((240, 320, 3), 128, np.uint8)
    for (x, y, w, h), colour in zip(boxes, colours, strict=True):
        cv2.rectangle(frame, (round(x), round(y)), (round(x + w) - 1, round(y + h) - 1), colour, -1)
    return frame


RED, BLUE = (220, 20, 30), (20, 40, 230)


def path(t: int) -> list[tuple[float, float, float, float]]:
    return [(40 + 3 * t, 50 + 2 * t, 40 + t, 30), (220 - 4 * t, 150 - t, 30, 44 - t / 2)]


def run(indices: list[int], frames: int = 20) -> list[Tensor]:
    net = ColourMatcher()
    state = start(net, PRESET, scene(path(0), [RED, BLUE]), [path(0)[i] for i in indices])
    found = []
    for t in range(1, frames):
        state = step(net, PRESET, scene(path(t), [RED, BLUE]), state)
        found.append(state.boxes)
    return found


def test_an_oracle_is_followed_through_motion_and_change_of_size() -> None:
    for t, boxes in enumerate(run([0, 1]), start=1):
        truth = xywh_to_xyxy(torch.tensor(path(t)).round())
        assert float(box_iou(boxes, truth).min()) > 0.8, t


def test_two_targets_at_once_equal_two_runs_of_one() -> None:
    both, first, second = run([0, 1]), run([0]), run([1])
    for together, one, other in zip(both, first, second, strict=True):
        assert torch.allclose(together, torch.cat([one, other]), atol=1e-4)


def test_a_real_network_gives_the_same_boxes_for_two_targets_at_once() -> None:
    torch.manual_seed(0)
    model = SiamCar(backbone="efficientnet_lite0", levels=(3, 4), width=32, light=True, tower=1, unit=40)
    net = model.build().eval()
    preset = replace(PRESET, model=model)
    frames = [cv2.GaussianBlur(scene(path(t), [RED, BLUE]), (5, 5), 0) for t in range(6)]
    boxes = path(0)
    states = [start(net, preset, frames[0], boxes), *(start(net, preset, frames[0], [box]) for box in boxes)]
    for frame in frames[1:]:
        states = [step(net, preset, frame, state) for state in states]
        apart = torch.cat([states[1].boxes, states[2].boxes])
        assert float((states[0].boxes - apart).abs().max()) < 1e-3


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_a_state_without_targets_is_followed_without_a_step(engine: str) -> None:
    following = load("siamcar_pico", engine=engine).engine
    frames, _ = moving_patches(2)
    nobody = following.start(frames[0], [FIRST_BOX, FIRST_BOX]).rows([])
    assert results(following.step(frames[1], nobody)) == []
    with pytest.raises(InputError, match="expected a frame of"):
        following.step(frames[1][:50], nobody)


@pytest.mark.parametrize("name", ["siamcar_pico", "siamfc_lite0", "spm_lite0"])
def test_many_targets_are_followed_as_each_alone(name: str) -> None:
    engine = open_network(name)
    frames, _ = moving_patches(2)
    x, y, w, h = FIRST_BOX
    state = engine.start(frames[0], [(x + 2 * i, y + i, w + i, h) for i in range(7)])
    together = engine.step(frames[1], state)
    alone = [engine.step(frames[1], state.rows([i])) for i in range(7)]
    assert torch.allclose(together.boxes, torch.cat([one.boxes for one in alone]), atol=0.01)
    assert torch.allclose(together.scores, torch.cat([one.scores for one in alone]), atol=1e-4)


def test_a_tensor_frame_is_tracked_as_the_numpy_one() -> None:
    net = ColourMatcher()
    frames = [scene(path(t), [RED, BLUE]) for t in range(8)]
    one = start(net, PRESET, frames[0], path(0))
    other = start(net, PRESET, torch.from_numpy(frames[0]).permute(2, 0, 1), path(0))
    for frame in frames[1:]:
        one = step(net, PRESET, frame, one)
        other = step(net, PRESET, torch.from_numpy(frame).permute(2, 0, 1), other)
    assert float((one.boxes - other.boxes).abs().max()) < 1.5


def test_a_step_changes_nothing_but_what_it_returns() -> None:
    net = ColourMatcher()
    state = start(net, PRESET, scene(path(0), [RED, BLUE]), path(0))
    kept = copy.deepcopy(state)
    one = step(net, PRESET, scene(path(1), [RED, BLUE]), state)
    assert torch.equal(state.boxes, kept.boxes) and torch.equal(state.scores, kept.scores)
    assert torch.equal(state.template[0], kept.template[0])
    again = step(net, PRESET, scene(path(1), [RED, BLUE]), state)
    assert torch.equal(one.boxes, again.boxes)


class Broken(ColourMatcher):
    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        found = super().match(template, patch, sizes)
        return replace(found, centres=found.centres * torch.nan, scores=found.scores * torch.nan)


def test_a_box_that_is_not_finite_never_enters_a_state() -> None:
    state = start(Broken(), PRESET, scene(path(0), [RED, BLUE]), path(0))
    after = step(Broken(), PRESET, scene(path(1), [RED, BLUE]), state)
    assert torch.allclose(after.boxes, state.boxes, atol=1e-4)
    assert after.scores.tolist() == [0, 0]


def test_a_box_stays_in_the_frame_and_keeps_some_size() -> None:
    class Leaves(ColourMatcher):
        def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
            found = super().match(template, patch, sizes)
            assert found.sizes is not None
            return replace(found, centres=found.centres + 4000, sizes=found.sizes * 1e-4)

    frame = scene(path(0), [RED, BLUE])
    for smallest in (4.0, 10.0):
        track = replace(PRESET.track, penalty=0.0, rate=1.0, smallest_side=smallest)
        preset = replace(PRESET, track=track)
        boxes = xyxy_to_xywh(step(Leaves(), preset, frame, start(Leaves(), preset, frame, path(0))).boxes)
        assert bool(torch.isfinite(boxes).all())
        assert boxes[:, 2:].numpy() == pytest.approx(smallest, abs=1e-3)
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        assert centres.numpy() == pytest.approx(np.array([[320.0, 240.0]] * 2))


def test_a_frame_of_another_size_is_refused() -> None:
    net = ColourMatcher()
    state = start(net, PRESET, scene(path(0), [RED, BLUE]), path(0))
    with pytest.raises(InputError, match="320x240"):
        step(net, PRESET, np.zeros((100, 100, 3), np.uint8), state)


def test_a_lost_target_is_sought_in_the_wide_region_and_found_again() -> None:
    preset = replace(
        PRESET, crops=Crops(), track=replace(PRESET.track, lost_search=511, search_lost_below=0.2, found_above=0.5)
    )
    net = ColourMatcher()
    box = (40.0, 50.0, 40.0, 30.0)
    state = start(net, preset, scene([box], [RED]), box)
    gone = scene([], [])
    for _ in range(3):
        state = step(net, preset, gone, state)
    assert state.lost.tolist() == [True]
    far = (150.0, 110.0, 40.0, 30.0)
    short = step(net, replace(preset, track=replace(preset.track, lost_search=0)), scene([far], [RED]), state)
    assert float(box_iou(short.boxes, xywh_to_xyxy(torch.tensor([far])))) < 0.1
    for _ in range(4):
        state = step(net, preset, scene([far], [RED]), state)
    assert state.lost.tolist() == [False]
    assert float(box_iou(state.boxes, xywh_to_xyxy(torch.tensor([far])))) > 0.7


class FaintMatcher(ColourMatcher):
    """The oracle, that scores at most what it is told to."""

    most = 1.0

    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        found = super().match(template, patch, sizes)
        return replace(found, scores=found.scores * self.most)


def test_a_lost_target_stays_where_it_was_until_it_scores_as_usual_and_is_looked_for_all_around() -> None:
    track = replace(PRESET.track, search_lost_below=0.1, found_above=0.7, found_share=0.8, status_lost_below=0.1)
    scanning = replace(PRESET, track=replace(track, lost_scan=0.6))
    holding = replace(PRESET, track=track)
    box, far = (140.0, 100.0, 24.0, 24.0), (225.0, 100.0, 24.0, 24.0)

    def after(preset: Preset, *phases: tuple[int, tuple[float, ...] | None, float]) -> TrackState:
        net = FaintMatcher()
        state = start(net, preset, scene([box], [RED]), box)
        for count, place, net.most in phases:
            for _ in range(count):
                state = step(net, preset, scene([place] if place else [], [RED] if place else []), state)  # type: ignore[list-item]
        return state

    def on(state: TrackState, place: tuple[float, ...]) -> bool:
        return float(box_iou(state.boxes, xywh_to_xyxy(torch.tensor([place])))) > 0.7

    seen, gone = (80, box, 0.5), (20, None, 1.0)
    lost = after(holding, seen, gone)
    assert lost.lost.tolist() == [True] and on(lost, box)
    assert results(lost)[0].status == "lost"
    # What scores a fifth less than usual is not the target, but is not far from it: only if it was lost for short.
    near = (160.0, 110.0, 24.0, 24.0)
    faint = after(holding, seen, gone, (4, near, 0.3))
    assert on(faint, box) and results(faint)[0].status == "lost" and float(faint.scores) == pytest.approx(0.3, abs=0.02)
    assert on(after(holding, seen, gone, (4, near, 0.45)), near)
    assert on(after(holding, seen, (5, None, 1.0), (4, near, 0.3)), near)
    # Outside of the search region only a scan finds it, within its 18 frames.
    assert on(after(holding, seen, gone, (18, far, 0.5)), box)
    found = after(scanning, seen, gone, (18, far, 0.5))
    assert on(found, far) and found.lost.tolist() == [False]
    # Where nothing is lost, nothing changes.
    assert torch.equal(after(scanning, seen).boxes, after(PRESET, seen).boxes)


def test_a_scan_leaves_the_other_targets_alone() -> None:
    track = replace(PRESET.track, search_lost_below=0.1, found_above=0.7, found_share=0.8, lost_scan=0.6)
    engine, preset = ColourMatcher(), replace(PRESET, track=track)
    both = start(engine, preset, scene(path(0), [RED, BLUE]), path(0))
    alone = both.rows([1])
    for t in range(1, 30):  # red goes
        frame = scene(path(t % 8)[1:], [BLUE])
        both, alone = step(engine, preset, frame, both), step(engine, preset, frame, alone)
    assert both.lost.tolist() == [True, False]
    assert torch.equal(both.boxes[1:], alone.boxes) and torch.equal(both.rows([1]).presence, alone.presence)


def test_a_box_that_leaps_is_lost_and_then_uncertain_and_followed_as_without() -> None:
    usual = replace(PRESET, track=replace(PRESET.track, window=0.0))
    wary = replace(usual, track=replace(usual.track, leap=6.0))
    steady, leaping = [40.0 + 2 * t for t in range(160)], [40.0 + 2 * t + 20 * (t >= 20) for t in range(150)]
    for places, leaps in ((steady, 0), (leaping, 1)):
        told, shown = start(ColourMatcher(), wary, scene([(40, 90, 24, 24)], [RED]), (40, 90, 24, 24)), []
        plain = start(ColourMatcher(), usual, scene([(40, 90, 24, 24)], [RED]), (40, 90, 24, 24))
        for x in places[1:125]:
            frame = scene([(x, 90, 24, 24)], [RED])
            told, plain = step(ColourMatcher(), wary, frame, told), step(ColourMatcher(), usual, frame, plain)
            assert torch.equal(told.boxes, plain.boxes) and torch.equal(told.scores, plain.scores)
            assert results(plain)[0].status == "tracking"
            shown.append(results(told)[0].status)
        before, after = ["tracking"] * 19, ["lost"] * 10 + ["uncertain"] * 90 + ["tracking"] * 5
        assert shown == (before + after if leaps else ["tracking"] * 124)


def test_what_always_moves_far_does_not_leap() -> None:
    """The usual move is each target's own, and follows."""
    preset = replace(PRESET, track=replace(PRESET.track, window=0.0, leap=6.0))
    both = start(ColourMatcher(), preset, scene([(150, 30, 30, 30), (20, 150, 30, 30)], [RED, BLUE]),
                 [(150, 30, 30, 30), (20, 150, 30, 30)])  # fmt: skip
    for t in range(1, 60):  # red is shaken by two thirds of its size, blue stands still, and is shaken once
        frame = scene([(150 + 20 * (t % 2), 30, 30, 30), (20 + 20 * (t == 50), 150, 30, 30)], [RED, BLUE])
        both = step(ColourMatcher(), preset, frame, both)
        if t > 30:
            assert [r.status for r in results(both)] == ["uncertain", "lost" if t >= 50 else "tracking"]
    swapped = both.rows([1]).join(both.rows([0]))
    assert torch.equal(both.rows([1, 0]).moved, swapped.moved) and torch.equal(
        both.rows([1, 0]).leapt_for, swapped.leapt_for
    )


def test_targets_come_and_go_between_two_frames() -> None:
    engine = TorchEngine(ColourMatcher(), PRESET)
    frames = [scene(path(t), [RED, BLUE]) for t in range(8)]
    red, both = (engine.start(frames[0], boxes) for boxes in (path(0)[:1], path(0)))
    for frame in frames[1:4]:
        red, both = engine.step(frame, red), engine.step(frame, both)
    swapped = both.rows([1]).join(red)  # blue goes first now
    for frame in frames[4:]:
        both, swapped = engine.step(frame, both), engine.step(frame, swapped)
    assert torch.equal(swapped.boxes, both.boxes.flip(0)) and torch.equal(swapped.presence, both.presence.flip(0))
    with pytest.raises(InputError, match="expected a frame of 320x240 pixels"):
        both.join(engine.start(np.zeros((100, 320, 3), np.uint8), (10, 10, 20, 20)))


def test_presence_is_a_third_and_two_thirds_at_the_thresholds() -> None:
    track = Track(status_lost_below=0.2, sure_over=0.6)
    scores = torch.tensor([0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])
    expected = [0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1]
    assert presence_of(scores, track).tolist() == pytest.approx(expected)
    boxes = torch.tensor([[1.0, 2.0, 4.0, 6.0]]).expand(7, 4)
    state = replace(TrackState.fresh(boxes, (), boxes, (8, 8)), presence=presence_of(scores, track))
    assert [result.status for result in results(state)] == [*["lost"] * 2, *["uncertain"] * 2, *["tracking"] * 3]
    assert results(state)[0].box == (1, 2, 3, 4)
