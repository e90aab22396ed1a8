"""The two calls of a tracker as modules of plain tensors, which can be traced: from tensors to tensors, by name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from siamtrack.config import Preset
from siamtrack.geometry.boxes import xywh_to_xyxy
from siamtrack.models.siamese import Matcher
from siamtrack.tracking.distractors import Memory
from siamtrack.tracking.state import TrackState, advance, begin, believed, judged, presence_of, search_sides


def state_tensors(state: TrackState, preset: Preset) -> dict[str, Tensor]:
    """What a state carries from frame to frame, float32 by name; all have a leading N."""
    found = {"boxes": state.boxes, "fill": state.fill}
    found |= {f"template.{i}": level for i, level in enumerate(state.template)}
    if preset.track.lost_search or preset.track.found_share:
        found["lost_for"] = state.lost_for.float()
    if preset.track.found_share:
        found["usual"] = state.usual
    if preset.track.leap:
        found |= {"moved": state.moved, "leapt_for": state.leapt_for.float()}
    if state.memory is not None:
        found |= {f"memory.{f.name}": getattr(state.memory, f.name) for f in fields(Memory)}
    return found


def _state_of(tensors: dict[str, Tensor], size: tuple[int, int]) -> TrackState:
    """The state that `state_tensors` took apart."""
    template = tuple(tensors[name] for name in sorted(tensors) if name.startswith("template."))
    parts = {f.name: tensors.get(f"memory.{f.name}") for f in fields(Memory)}
    memory = Memory(**{k: v for k, v in parts.items() if v is not None}) if parts["target"] is not None else None
    state = TrackState.fresh(tensors["boxes"], template, tensors["fill"], size, memory)
    kept: dict[str, Any] = {
        name: tensors[name] for name in ("lost_for", "usual", "moved", "leapt_for") if name in tensors
    }
    state = replace(state, **kept)
    return replace(state, lost_for=state.lost_for.long())


def _xyxy_to_xywh(boxes: Tensor) -> Tensor:
    # not that of `geometry.boxes`: its slices of any number of dimensions are traced into another file
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


class Begin(nn.Module):
    """`begin`: frame uint8 (H, W, 3) and boxes (N, 4) x, y, w, h -> boxes, scores, presence, then the state."""

    def __init__(self, net: Matcher, preset: Preset) -> None:
        super().__init__()
        self.net = net
        self.preset = preset

    def forward(self, frame: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        state = begin(self.net, self.preset, frame.permute(2, 0, 1), xywh_to_xyxy(boxes))
        sure = torch.ones_like(state.scores)
        return boxes * 1, sure, sure * 1, *state_tensors(state, self.preset).values()


class Step(nn.Module):
    """`advance` and `judged`: frame uint8 (H, W, 3), state -> boxes, scores, presence, the next state.

    `names` are those of the state's tensors, in the order in which they are given; `search` is the side of the search
    crops in pixels.
    """

    def __init__(self, net: Matcher, preset: Preset, names: tuple[str, ...], search: int) -> None:
        super().__init__()
        self.net = net
        self.preset = preset
        self.names = names
        self.search = search

    def forward(self, frame: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        size = (frame.shape[1], frame.shape[0])
        state = _state_of(dict(zip(self.names, tensors, strict=True)), size)
        after = advance(self.net, self.preset, frame.permute(2, 0, 1), state, self.search)
        after = judged(self.preset, state, after)
        found = state_tensors(after, self.preset)
        return _xyxy_to_xywh(after.boxes), after.scores, after.presence, *(found[name] for name in self.names)


def _where_lost(boxes: Tensor, lost_for: Tensor) -> TrackState:
    """A state of boxes (N, 4) xyxy and (N,) how long each target has been lost, and nothing else."""
    return replace(TrackState.fresh(boxes, (), boxes, (0, 0)), lost_for=lost_for.long())


class Sides(nn.Module):
    """`search_sides`: the state's boxes and `lost_for` -> (N,) float32 side of each target's next search crop."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset

    def forward(self, boxes: Tensor, lost_for: Tensor) -> Tensor:
        """See the class."""
        return search_sides(self.preset, _where_lost(boxes, lost_for)).float()


class Believed(nn.Module):
    """`believed`: the state's boxes and `lost_for`, then the boxes and scores found -> tracked, and the next of both.

    Returns boxes x, y, w, h, scores, presence, boxes xyxy and `lost_for`.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset

    def forward(self, boxes: Tensor, lost_for: Tensor, found: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        before = _where_lost(boxes, lost_for)
        presence = presence_of(scores, self.preset.track)
        after = believed(self.preset, before, replace(before, boxes=found, scores=scores, presence=presence))
        return _xyxy_to_xywh(after.boxes), scores * 1, presence, after.boxes, after.lost_for.float()
