"""The rules of tracking that published presets ask for, seen through a network that notes what it is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from siamtrack.config import Preset, Track, load_preset
from siamtrack.errors import ConfigError
from siamtrack.geometry.boxes import xyxy_to_xywh
from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.fields import SearchPyramid
from siamtrack.models.siamese import Candidates, Template
from siamtrack.tracking.select import best, neighbours, rank, upsampled
from siamtrack.tracking.state import TrackState, start, step

FRAME = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
BOX = (140.0, 100.0, 40.0, 40.0)
SAME = torch.ones(1, 2)  # crops at the frame's own scale


class Scripted:
    """Says where to look in each frame: a score in the middle, and one 24 crop pixels to its right."""

    def __init__(self, script: list[tuple[float, float]]) -> None:
        self.script = script
        self.seen: list[tuple[int, int]] = []

    def embed(self, patch: Tensor, sizes: Tensor) -> Template:
        return (patch.mean((2, 3), keepdim=True),)

    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        scores = self.script[len(self.seen)]
        size = patch.shape[-1]
        self.seen.append((len(patch), size))
        middle = torch.tensor([[size / 2, size / 2], [size / 2 + 24, size / 2]])
        sizes = torch.full((len(patch), 2, 2), 64.0)
        places = torch.tensor([[0.0, 0.0], [0.9, 0.0]])
        return Candidates(middle.expand(len(patch), 2, 2), sizes, torch.tensor(scores).expand(len(patch), 2), places)


def follow(preset: Preset, script: list[tuple[float, float]]) -> tuple[Scripted, list[TrackState]]:
    net = Scripted(script)
    states = [start(net, preset, FRAME, BOX)]
    for _ in script:
        states.append(step(net, preset, FRAME, states[-1]))
    return net, states


def test_the_long_term_tracker_searches_831_pixels_while_the_target_is_lost() -> None:
    """SiamRPN++, section 4.4, with PySOT's numbers: under 0.8 the region grows at once, over 0.998 it shrinks again."""
    low, high = (0.1, 0.1), (0.9, 0.1)
    net, states = follow(load_preset("siamrpn_r50_lt"), [high, low, low, high, (0.999, 0.1), high])
    assert [size for _, size in net.seen] == [255, 255, 831, 831, 831, 255]
    assert [bool(state.lost) for state in states[1:]] == [False, True, True, True, False, False]
    # A box of low score is not believed.
    assert torch.equal(states[2].boxes, states[1].boxes) and torch.equal(states[3].boxes, states[1].boxes)
    short = replace(load_preset("siamrpn_r50_lt"), track=replace(load_preset("siamrpn_r50_lt").track, lost_search=0))
    assert {size for _, size in follow(short, [high, low, low])[0].seen} == {255}


def test_a_lost_target_may_turn_up_anywhere() -> None:
    """The window holds a target that is followed, and not one that is searched for."""
    preset = load_preset("siamrpn_r50_lt")
    away = (0.9, 0.999)
    _, states = follow(preset, [away, (0.1, 0.1), away])
    assert float(states[1].boxes[0, 0]) == pytest.approx(BOX[0], abs=0.5)
    assert float(states[3].boxes[0, 0]) > BOX[0] + 5


def test_dasiamrpn_searches_from_local_to_global() -> None:
    """Its section 3.4: a constant step a frame, until 767 pixels, and the usual side once it is found."""
    preset = load_preset("dasiamrpn")
    assert preset.track.rerank and preset.data.negative > 0
    preset = replace(preset, track=replace(preset.track, rerank=0))
    net, _ = follow(preset, [(0.1, 0.1)] * 7 + [(0.97, 0.1), (0.9, 0.1)])
    assert [size for _, size in net.seen] == [255, 383, 511, 639, 767, 767, 767, 767, 255]


class Pyramid:
    """A response whose peak has a height of its own in each crop of the pyramid."""

    def __init__(self, peaks: list[float]) -> None:
        self.peaks = peaks
        self.widths: list[float] = []

    def embed(self, patch: Tensor, sizes: Tensor) -> Template:
        return (patch.mean((2, 3), keepdim=True),)

    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        assert len(template[0]) == len(patch) == len(self.peaks)
        # A wider crop of a ramp from left to right spans more of it.
        self.widths = (patch[:, 0, 120, 230] - patch[:, 0, 120, 20]).tolist()
        scores = torch.zeros(len(patch), 17 * 17)
        scores[:, 17 * 8 + 8] = torch.tensor(self.peaks)
        return Candidates(
            grid_points(17, 8, patch.shape[-1]).expand(len(patch), -1, -1), None, scores, grid_positions(17), 17
        )


@pytest.mark.parametrize(("peaks", "grows"), [([1.0, 1.0, 3.0], True), ([3.0, 1.0, 1.0], False)])
def test_siamfc_searches_three_scales(peaks: list[float], grows: bool) -> None:
    preset = load_preset("siamfc")
    assert isinstance(preset.model, SearchPyramid)
    scales = preset.model.scales
    assert len(scales) == 3 and scales[1] == 1
    preset = replace(preset, crops=replace(preset.crops, rounding="none"))
    net = Pyramid(peaks)
    ramp = np.broadcast_to((np.arange(320) * 0.75).astype(np.uint8)[None, :, None], (240, 320, 3)).copy()
    state = step(net, preset, ramp, start(net, preset, ramp, BOX))
    ratios = np.array(net.widths) / net.widths[1]
    assert ratios == pytest.approx(np.array(scales), abs=0.02)
    factor = 1 + preset.track.rate * (scales[2 if grows else 0] - 1)
    assert xyxy_to_xywh(state.boxes)[0, 2:].tolist() == pytest.approx([40 * factor] * 2, rel=1e-4)


# -------------------------------------------------------------------------------- SiamCAR's two selections
def car(cells: int, stride: float, size: int) -> Candidates:
    """One peak a little beside the middle, boxes of 8 by 6 strides around it."""
    points = grid_points(cells, stride, size)
    target = torch.tensor([size / 2 + 1.5 * stride, size / 2 - stride])
    near = (-((points - target) / stride).square().sum(1) / 8).exp()[None]
    sizes = torch.tensor([8 * stride, 6 * stride]).expand(1, len(points), 2)
    quality = 4 * near - 2
    return Candidates(
        target.expand(1, len(points), 2), sizes, near * quality.sigmoid(), grid_positions(cells), cells,
        near, quality, stride,
    )  # fmt: skip


def test_the_published_selection_knows_stride_and_template() -> None:
    """Twice the stride, crops and template: the same answer, twice as large."""
    track = Track(window=0.2, penalty=0.05, rate=0.5, select="upsampled")
    previous = torch.tensor([[60.0, 50.0]])
    one = upsampled(car(25, 8.0, 255), previous, 255, track, 127, SAME)
    two = upsampled(car(25, 16.0, 510), 2 * previous, 510, track, 254, SAME)
    assert one.centres[0].tolist() == pytest.approx([127.5 + 12, 127.5 - 8], abs=1)
    assert one.sizes[0].tolist() == pytest.approx([64, 48], rel=0.02)
    assert two.centres[0].tolist() == pytest.approx((2 * one.centres[0]).tolist(), abs=2)
    assert two.sizes[0].tolist() == pytest.approx((2 * one.sizes[0]).tolist(), rel=0.02)
    assert float(two.rates) == pytest.approx(float(one.rates), rel=0.02)


def test_the_published_rate_compares_frame_pixels_with_crop_pixels() -> None:
    """A target of 15 pixels in crops at 4.2 times its size: SiamCAR's code takes it for one that shrank by that."""
    track = Track(window=0.2, penalty=0.2, rate=0.4, select="upsampled")
    previous, scale = torch.tensor([[64.0, 48.0]]), torch.tensor([[30 / 127, 30 / 127]])
    ours = upsampled(car(25, 8.0, 255), previous, 255, track, 127, scale)
    theirs = upsampled(car(25, 8.0, 255), previous, 255, replace(track, published_rate=True), 127, scale)
    assert torch.equal(ours.centres, theirs.centres) and torch.equal(ours.sizes, theirs.sizes)
    assert float(ours.rates / ours.scores) == pytest.approx(0.4, rel=0.01)
    assert float(theirs.rates / theirs.scores) == pytest.approx(0.4 * np.exp(-0.2 * (127 / 30 - 1)), rel=0.01)


def test_the_template_bounds_how_far_the_fine_peak_is_looked_for() -> None:
    """With the window's peak in the middle, a better cell far off is found only where the reach allows it."""
    found = car(25, 8.0, 255)
    assert found.classes is not None
    classes = torch.full_like(found.classes, 0.5)
    classes[0, 12 * 25 + 12], classes[0, 12 * 25 + 15] = 0.6, 0.9
    middle = grid_points(25, 8.0, 255)
    wide = torch.full((1, 625, 2), 160.0)
    found = replace(found, centres=middle[None], sizes=wide, classes=classes, quality=torch.ones(1, 625))
    found.quality[0, 0] = 0.0  # type: ignore[index]
    track = Track(window=0.9, penalty=0.0, select="upsampled")
    reached = {
        side: float(upsampled(found, torch.tensor([[160.0, 160.0]]), 255, track, side, SAME).centres[0, 0])
        for side in (63, 127)
    }
    assert reached[127] == pytest.approx(127.5 + 24, abs=3) and reached[63] < 127.5 + 14


@pytest.mark.parametrize(
    ("change", "select", "expected"),
    [
        ({"response_size": 0}, "neighbours", "track.select 'neighbours'"),
        ({"response_size": 0}, "neighbours_weighted", "track.select 'neighbours_weighted'"),
        ({"sizes": None}, "best", "model.scales"),
    ],
)
def test_a_selection_that_the_network_cannot_serve_is_one_line(
    change: dict[str, Any], select: Any, expected: str
) -> None:
    found = replace(car(25, 8.0, 255), **change)
    with pytest.raises(ConfigError, match=expected) as caught:
        track = Track(select=select)
        (best if select == "best" else neighbours)(rank(found, torch.tensor([[60.0, 50.0]]), track), track)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"classes": None}, {"quality": None}, {"sizes": None}, {"response_size": 0}, {"stride": 0.0}]
)
def test_the_published_selection_is_for_its_own_maps(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="SiamCAR"):
        upsampled(replace(car(25, 8.0, 255), **change), torch.tensor([[60.0, 50.0]]), 255, Track(), 127, SAME)


def test_a_memory_of_places_without_sizes_is_refused() -> None:
    class Places(Scripted):
        def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
            return replace(super().match(template, patch, sizes), sizes=None)

    preset = Preset("places", track=Track(rerank=2))
    net = Places([(0.5, 0.4)])
    with pytest.raises(ConfigError, match=r"model\.scales|track\.rerank"):
        step(net, preset, FRAME, start(net, preset, FRAME, BOX))
