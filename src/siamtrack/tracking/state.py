"""The state of a tracker as a value, and the pure functions that make and advance it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from siamtrack.arguments import checked
from siamtrack.config import Preset, Track
from siamtrack.errors import ConfigError, InputError
from siamtrack.geometry.boxes import as_boxes, cxcywh_to_xyxy, xyxy_to_cxcywh
from siamtrack.geometry.crop import mean_colour
from siamtrack.geometry.inputs import (
    Boxes,
    Frame,
    Shapes,
    check_same_model,
    check_same_size,
    check_state,
    checked_rows,
    frame_size,
    size_of,
)
from siamtrack.models.fields import SearchPyramid
from siamtrack.models.siamese import Candidates, Matcher, Template, joined
from siamtrack.tracking import select
from siamtrack.tracking.distractors import Memory, remember, rerank
from siamtrack.tracking.select import Choice
from siamtrack.tracking.view import View, repeated

# Weight of the cosine window while a target is lost: it may turn up anywhere (PySOT's long-term tracker).
_LOST_WINDOW = 0.001

# Frames for which a target is lost for long. For a shorter time the score may have dipped, and any box that scores
# `track.search_lost_below` is believed.
_LONG_LOST = 8

# How fast the usual score follows that of a frame.
_USUAL_RATE = 0.05

# A box that moves by less than this share of its size has not leapt. A target's usual move in the beginning, in the
# same unit, and how fast it follows those of the frames.
_LEAST_LEAP = 0.2
_FIRST_MOVE = 0.1
_MOVE_RATE = 0.05

# For how many frames a box that has leapt is "lost", and until when it is at best "uncertain".
_LEAP_LOST = 10
_LEAP_DOUBT = 100

# Where a target that is lost for long is looked for, in turn: its place, and in every second frame around that.
_ASIDE = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))
_SCAN = ((0, 0), (0, 0), *(place for aside in _ASIDE for place in (aside, (0, 0))))

_PIXELS = 330_000
"""Of the crops that are matched in one batch on a processor: five of 255 pixels."""


@dataclass(frozen=True)
class TrackState:
    """N targets between two frames.

    Attributes:
        boxes: (N, 4) xyxy in frame pixels, float32 on the CPU, always finite.
        scores: (N,) of the last frame, in [0, 1]; 1 for the given boxes.
        presence: (N,) estimate in [0, 1] that the boxes are on the targets; see `presence_of`.
        template: features of the targets in the first frame, on the network's device.
        fill: (N, 3) mean colour of the first frame, which fills crops beyond its edges.
        size: (width, height) of the frames.
        lost_for: (N,) for how many frames in a row the target has been lost.
        usual: (N,) running mean of the scores while it was not lost, from 0 on, with `track.found_share`.
        moved: (N,) running mean of how far the boxes move from frame to frame, in roots of their areas, with
            `track.leap`.
        leapt_for: (N,) frames since a box has leapt, with `track.leap`; 0 if it has not or long ago.
        memory: of targets and distractors, with `track.rerank`.
    """

    boxes: Tensor
    scores: Tensor
    presence: Tensor
    template: Template
    fill: Tensor
    size: tuple[int, int]
    lost_for: Tensor
    usual: Tensor
    moved: Tensor
    leapt_for: Tensor
    memory: Memory | None = None

    @classmethod
    def fresh(
        cls, boxes: Tensor, template: Template, fill: Tensor, size: tuple[int, int], memory: Memory | None = None
    ) -> TrackState:
        """Targets that were given a moment ago: boxes (N, 4) xyxy; see the attributes."""
        none, sure = torch.zeros(boxes.shape[0], dtype=torch.long), torch.ones(boxes.shape[0])
        return cls(
            boxes, sure, sure, template, fill, size, none, none.float(), sure * _FIRST_MOVE, none, memory,
        )  # fmt: skip

    @property
    def lost(self) -> Tensor:
        """(N,) bool, the target is looked for elsewhere too."""
        return self.lost_for > 0

    @property
    def shapes(self) -> Shapes:
        """What the network's features of a target are, by which states of another model are told."""
        return {f"template.{n}": tuple(level.shape[1:]) for n, level in enumerate(self.template)}

    def rows(self, index: Sequence[int] | Tensor) -> TrackState:
        """The state of the targets `index` alone, in that order.

        Raises:
            InputError: numbers that no target has.
        """
        at = torch.from_numpy(checked_rows(index, len(self.boxes)))
        template = tuple(level[at.to(level.device)] for level in self.template)
        memory = self.memory.rows(at) if self.memory else None
        each: dict[str, Any] = {name: getattr(self, name)[at] for name in _ROWS}
        return replace(self, template=template, memory=memory, **each)

    def join(self, other: TrackState) -> TrackState:
        """These targets, and after them those of another state of the same video.

        Raises:
            InputError: the other state's frames have another size, or it is of another engine or model.
        """
        check_state(other, TrackState)
        check_same_size(other.size, self.size)
        check_same_model(other.shapes, self.shapes)
        template = tuple(torch.cat(levels) for levels in zip(self.template, other.template, strict=True))
        memory = self.memory.joined(other.memory) if self.memory and other.memory else None
        both: dict[str, Any] = {name: torch.cat([getattr(self, name), getattr(other, name)]) for name in _ROWS}
        return replace(self, template=template, memory=memory, **both)


_ROWS = ("boxes", "scores", "presence", "fill", "lost_for", "usual", "moved", "leapt_for")
"""What a state has of each target on the CPU."""


@checked
def start(net: Matcher, preset: Preset, frame: Frame, boxes: Boxes, device: torch.device | str = "cpu") -> TrackState:
    """Begin to track N targets.

    Args:
        net: the network, on `device` and in evaluation mode.
        preset: its preset.
        frame: RGB uint8 (H, W, 3), or a tensor (3, H, W).
        boxes: one (x, y, w, h) or N of them, in frame pixels.
        device: where the network lies.

    Raises:
        InputError: a box or frame that cannot be used; a frame of floats that are not finite, too.
        ConfigError: the preset wants distractors re-ranked, which its way of selecting cannot do.
    """
    track = preset.track
    if track.rerank and (isinstance(preset.model, SearchPyramid) or track.select == "upsampled"):
        raise ConfigError("track.rerank works neither with track.select 'upsampled' nor with model.scales; set it to 0")
    if isinstance(frame, Tensor) and frame.is_floating_point() and not bool(frame.isfinite().all()):
        raise InputError("the first frame holds nan or inf; expected grey levels of 0 to 255")
    with torch.inference_mode():
        return begin(net, preset, frame, as_boxes(boxes, frame_size(frame)), device)


def begin(net: Matcher, preset: Preset, frame: Frame, boxes: Tensor, device: torch.device | str = "cpu") -> TrackState:
    """`start` for boxes (N, 4) xyxy that were checked; runs as it stands and in an exported graph."""
    count = boxes.shape[0]
    fill = mean_colour(frame)[None].expand(count, -1)
    view = View.around(frame, boxes, preset.crops, preset.crops.template_side, fill, device)
    template = net.embed(view.pixels(), view.sizes_of(boxes))
    memory = remember(template, preset.track.memory_rate) if preset.track.rerank else None
    return TrackState.fresh(boxes, template, fill, size_of(frame), memory)


def step(
    net: Matcher, preset: Preset, frame: Frame, state: TrackState, device: torch.device | str = "cpu"
) -> TrackState:
    """Follow all targets into the next frame.

    A pure function: `state` is not changed and the network keeps nothing.

    Raises:
        InputError: the frame cannot be used, or has another size than the first; the state is of another engine.
    """
    check_state(state, TrackState)
    size = frame_size(frame)
    check_same_size(size, state.size)
    if not len(state.boxes):
        return state
    with torch.inference_mode():
        if not preset.track.lost_search:
            found = advance(net, preset, frame, state, preset.crops.search, device)
            return judged(preset, state, found)
        # Long-term: targets that are lost are searched for in a larger region than the others.
        boxes, scores, memory = state.boxes.clone(), state.scores.clone(), state.memory
        sides = search_sides(preset, state)
        for search in sorted(set(sides.tolist())):
            index = (sides == search).nonzero()[:, 0]
            part = state if len(index) == len(sides) else state.rows(index)
            found = advance(net, preset, frame, part, search, device)
            boxes[index], scores[index] = found.boxes, found.scores
            if memory is not None and found.memory is not None:
                memory = memory.replaced(index, found.memory)
        return believed(
            preset,
            state,
            replace(state, boxes=boxes, scores=scores, presence=presence_of(scores, preset.track), memory=memory),
        )


def judged(preset: Preset, before: TrackState, found: TrackState) -> TrackState:
    """What a short-term tracker makes of what `advance` found: see `held` and `doubted`."""
    found = held(preset, before, found) if preset.track.found_share else found
    return doubted(preset, before, found) if preset.track.leap else found


def believed(preset: Preset, before: TrackState, found: TrackState) -> TrackState:
    """What a tracker with `track.lost_search` makes of a frame: who is lost, and which boxes count.

    As PySOT's long-term tracker: a box of low score is not believed, and the last good one stays.
    """
    track, scores = preset.track, found.scores
    boxes = torch.where((scores < track.search_lost_below)[:, None], before.boxes, found.boxes)
    lost = before.lost & (scores < track.found_above) | ~before.lost & (scores < track.search_lost_below)
    return replace(found, boxes=boxes, lost_for=torch.where(lost, before.lost_for + 1, 0))


def held(preset: Preset, before: TrackState, found: TrackState) -> TrackState:
    """What a tracker with `track.found_share` makes of a frame: the box of a lost target stays until it is found.

    The score of a lost target is that of the best box elsewhere, and its presence a third of what that would mean, so
    that the status is "lost".
    """
    track, scores, lost_for, usual = preset.track, found.scores, before.lost_for, before.usual
    enough = (track.found_share * usual).clamp(track.search_lost_below, track.found_above)
    lost = scores < torch.where(lost_for < _LONG_LOST, track.search_lost_below, enough)
    return replace(
        found, boxes=torch.where(lost[:, None], before.boxes, found.boxes),
        presence=torch.where(lost, found.presence / 3, found.presence), lost_for=torch.where(lost, lost_for + 1, 0),
        usual=torch.where(lost, usual, usual + _USUAL_RATE * (scores - usual)),
    )  # fmt: skip


def doubted(preset: Preset, before: TrackState, found: TrackState) -> TrackState:
    """What a tracker with `track.leap` makes of a frame: a box that has leapt may lie on something else now.

    A target that is gone at once, or hidden, leaves the box to what looks most like it, which may score as high; but
    the box then moves much farther than it usually does. It is followed, and its presence is that of a lost target
    for some frames and that of an uncertain one for some more.
    """
    old, new = xyxy_to_cxcywh(before.boxes), xyxy_to_cxcywh(found.boxes)
    move = (new[:, :2] - old[:, :2]).square().sum(1).sqrt() / old[:, 2:].prod(1).sqrt()
    followed, moved, since = ~(before.lost | found.lost), before.moved, before.leapt_for
    leapt = followed & (move > (preset.track.leap * moved).clamp(min=_LEAST_LEAP))
    doubt = (since > 0) & (since < _LEAP_DOUBT) & ~found.lost
    since = torch.where(leapt, 1, torch.where(doubt, since + 1, 0))
    presence = found.presence  # of the three statuses each has a third; both stay below the next one's
    uncertain = torch.minimum(presence, 1 / 3 + 0.49 * (presence - 1 / 3))
    presence = torch.where(since > _LEAP_LOST, uncertain, torch.where(since > 0, 0.33 * presence, presence))
    moved = torch.where(followed, moved + _MOVE_RATE * (move.clamp(max=1) - moved), moved)
    return replace(found, presence=presence, moved=moved, leapt_for=since)


def presence_of(scores: Tensor, track: Track) -> Tensor:
    """(N,) scores -> presence in [0, 1] on a piecewise linear scale.

    1/3 at `track.status_lost_below` and 2/3 at `track.sure_over`; see `siamtrack.tracking.tracker.Result`.
    """
    low, high = track.status_lost_below, track.sure_over
    unsure, sure = 1 + (scores - low) / (high - low), 2 + (scores - high) / (1 - high)
    return torch.where(scores < low, scores / low, torch.where(scores < high, unsure, sure)) / 3


def search_sides(preset: Preset, state: TrackState) -> Tensor:
    """(N,) side of each target's next search crop in pixels: larger while it is lost (DaSiamRPN, section 3.4)."""
    track, usual = preset.track, preset.crops.search
    wide = torch.full_like(state.lost_for, track.lost_search or usual)
    if track.lost_step:
        wide = torch.minimum(wide, usual + track.lost_step * state.lost_for)
    return torch.where(state.lost & bool(track.lost_search), wide, usual)


def _scanning(preset: Preset, state: TrackState, view: View) -> View:
    """The view with the regions of targets that are lost for long where `track.lost_scan` has them in this frame."""
    turn = (state.lost_for - _LONG_LOST).clamp(min=0) % len(_SCAN)
    centre, side = view.region.centre, view.region.side
    shift = torch.tensor(_SCAN)[turn] * side[:, None] * preset.track.lost_scan
    x, y = (centre + shift).T
    aside = torch.stack([x.clamp(0, state.size[0]), y.clamp(0, state.size[1])], 1)
    return replace(view, region=replace(view.region, centre=torch.where(shift == 0, centre, aside)))


def advance(
    net: Matcher, preset: Preset, frame: Frame, state: TrackState, search: int, device: torch.device | str = "cpu"
) -> TrackState:
    """Look for all targets in crops of `search` pixels; runs as it stands and in an exported graph."""
    view = View.around(frame, state.boxes, preset.crops, search, state.fill, device)
    view = (_scanning(preset, state, view) if preset.track.lost_scan else view).to_search()
    choice, memory = _choose(net, preset, view, state)
    found = torch.cat([choice.centres, choice.sizes, choice.rates[:, None], choice.scores[:, None]], 1).float().cpu()
    target, rates, scores = view.to_frame(found[:, :4]), found[:, 4:5], found[:, 5]
    before = xyxy_to_cxcywh(state.boxes)
    after = torch.cat([target[:, :2], before[:, 2:] * (1 - rates) + target[:, 2:] * rates], 1)
    # Where a number is not finite the box stays; centres stay in the frame, sides within its size.
    kept = torch.where(torch.isfinite(after).all(1, keepdim=True), after, before)
    width, height, least = *state.size, preset.track.smallest_side
    x, y = kept[:, :1].clamp(0, width), kept[:, 1:2].clamp(0, height)
    w, h = kept[:, 2:3].clamp(least).clamp(max=width), kept[:, 3:].clamp(least).clamp(max=height)
    boxes = cxcywh_to_xyxy(torch.cat([x, y, w, h], 1))
    scores = scores.nan_to_num(0.0)
    return replace(state, boxes=boxes, scores=scores, presence=presence_of(scores, preset.track), memory=memory)


def _matched(net: Matcher, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
    """`net.match`, on a processor for a few crops at a time: the maps of many do not fit into its caches."""
    count, most = patch.shape[0], max(1, _PIXELS // patch.shape[-1] ** 2)
    if patch.device.type != "cpu" or torch.compiler.is_exporting() or count <= most:
        return net.match(template, patch, sizes)
    parts = -(-count // most)
    each = zip(patch.chunk(parts), sizes.chunk(parts), *(level.chunk(parts) for level in template), strict=True)
    return joined([net.match(tuple(levels), crops, part) for crops, part, *levels in each])


def _choose(net: Matcher, preset: Preset, view: View, state: TrackState) -> tuple[Choice, Memory | None]:
    """Cut the search regions, match them and choose, all in crop pixels."""
    track, model, memory = preset.track, preset.model, state.memory
    if view.size > preset.crops.search:
        track = replace(track, window=_LOST_WINDOW)
    previous = view.sizes_of(state.boxes)
    if isinstance(model, SearchPyramid):
        template = tuple(repeated(level, len(model.scales)) for level in state.template)
        zoomed = view.pyramid(torch.tensor(model.scales))
        sizes = zoomed.sizes_of(repeated(state.boxes, len(model.scales)))
        found = _matched(net, template, zoomed.pixels(), sizes)
        return select.pyramid(found, previous, view.size, model, track), None
    found = _matched(net, state.template, view.pixels(), previous)
    if track.found_share:  # one that is lost for long may turn up anywhere: all places count as the middle
        counts = (state.lost_for < _LONG_LOST).to(view.device, non_blocking=True)[:, None, None]
        found = replace(found, grid_positions=found.grid_positions * counts)
    if track.select == "upsampled":
        return select.upsampled(found, previous, view.size, track, preset.crops.template, view.scale), None
    ranking, winner = select.rank(found, previous, track), None
    if memory is not None:
        winner, memory = rerank(net, preset, view, ranking, memory)
    choose = select.best if track.select == "best" else select.neighbours
    return choose(ranking, track, winner), memory
