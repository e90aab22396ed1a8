"""Long-term trackers as a graph: targets that are lost are searched for in larger crops than the others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from onnx import helper

from siamtrack.config import Preset
from siamtrack.export.graph import Graph, SharedConstants, Types, branch
from siamtrack.export.modules import Believed, Sides
from siamtrack.export.trace import traced


def search_sizes(preset: Preset) -> list[int]:
    """All sides that `search_sides` may give, ascending."""
    usual, track = preset.crops.search, preset.track
    if not track.lost_search:
        return [usual]
    between = range(usual, track.lost_search, track.lost_step) if track.lost_step else ()
    return sorted({usual, *between, track.lost_search})


def longterm_step(preset: Preset, steps: Mapping[int, Graph], types: Types, store: SharedConstants) -> Graph:
    """One step in which each target is looked for in crops of its own size.

    `steps` has, by the size of the crops, the step of targets that are all looked for in crops of one size; `types` are
    the element types and shapes of their inputs and outputs; `store` keeps the constants.
    """
    boxes, lost_for = torch.ones(3, 4), torch.ones(3)
    given = {"state.boxes": boxes, "state.lost_for": lost_for}
    rows = dict.fromkeys(("state.boxes", "state.lost_for", "found.boxes", "found.scores"), (0,))
    sides = traced(Sides(preset), given, ["sides"], rows).renamed("sides.", [*given, "sides"])
    named = ["tracked", "scores", "presence", "next.boxes", "next.lost_for"]
    # Tensors of their own: one that comes in twice would be traced once.
    settled = traced(
        Believed(preset), {**given, "found.boxes": boxes.clone(), "found.scores": lost_for.clone()}, named, rows
    )
    settled = settled.renamed("settled.", [*settled.inputs, *named])
    first = steps[min(steps)]
    state = [name for name in first.inputs if name != "frame"]
    # What a crop's size decides; the rest of the state stays as it is.
    found = ["next.boxes", "scores", *(name for name in first.outputs if name.startswith("next.memory."))]
    before = ["state.boxes", "state.lost_for", *(name.replace("next.", "state.") for name in found[2:])]
    nodes = [*sides.nodes]
    constants = {**sides.constants, **settled.constants, "axis": np.array([1]), "flat": np.array([-1])}
    for size, step in sorted(steps.items()):
        prefix = f"search{size}"
        after = [f"{prefix}.{name}" for name in found]
        constants |= {f"{prefix}.side": np.array(size, np.float32)}
        nodes += [
            helper.make_node("Equal", ["sides", f"{prefix}.side"], [f"{prefix}.here"]),
            helper.make_node("NonZero", [f"{prefix}.here"], [f"{prefix}.places"]),
            helper.make_node("Reshape", [f"{prefix}.places", "flat"], [f"{prefix}.rows"]),
            helper.make_node("Size", [f"{prefix}.rows"], [f"{prefix}.count"]),
            helper.make_node("Cast", [f"{prefix}.count"], [f"{prefix}.any"], to=9),
        ]
        # The rows of the targets, a step of theirs, and its answers in their places.
        part = step.renamed("part/", ["frame"])
        picked = [helper.make_node("Gather", [name, f"{prefix}.rows"], [f"part/{name}"], axis=0) for name in state]
        placed = [helper.make_node("Unsqueeze", [f"{prefix}.rows", "axis"], ["part/at"])]
        placed += [
            helper.make_node("ScatterND", [old, "part/at", f"part/{name}"], [f"part/all.{name}"])
            for old, name in zip(before, found, strict=True)
        ]
        outside = ["frame", "axis", f"{prefix}.rows", *state, *before]
        kinds = [types[name] for name in found]
        looked = Graph([*picked, *part.nodes, *placed], part.constants, [], [f"part/all.{name}" for name in found])
        passed = Graph(
            [helper.make_node("Identity", [old], [f"part/{name}"]) for old, name in zip(before, found, strict=True)],
            {}, [], [f"part/{name}" for name in found],
        )  # fmt: skip
        nodes.append(
            helper.make_node(
                "If",
                [f"{prefix}.any"],
                after,
                then_branch=branch(looked.without_unused(), f"{prefix}.look", outside, kinds, store),
                else_branch=branch(passed, f"{prefix}.pass", outside, kinds, store),
            )
        )
        before = after
    nodes += [
        helper.make_node("Identity", [name], [f"found.{key}"])
        for name, key in zip(before, ("boxes", "scores"), strict=False)
    ]
    nodes += settled.nodes
    kept = {name: name.replace("next.", "state.") for name in first.outputs if name.startswith("next.")}
    changed = dict(zip(found[2:], before[2:], strict=True))
    for name, old in kept.items():
        if name not in named:
            nodes.append(helper.make_node("Identity", [changed.get(name, old)], [name]))
    return Graph(nodes, constants, first.inputs, first.outputs)
