"""Torch's engine with fewer launches: for a GPU, whose waiting time is the processor's launching.

Not measured: `benchmarks/gpu.py` does, where there is a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from siamtrack.arguments import checked
from siamtrack.errors import ConfigError
from siamtrack.models.siamese import Candidates, SiameseNet, Template
from siamtrack.tracking.torch_engine import TorchEngine

Mode = Literal["eager", "compiled", "graphs"]
"""How the network is called: operation by operation, by `torch.compile`, or as a recorded CUDA graph."""

_RECORDINGS = 16

Match = Callable[[Template, Tensor, Tensor], Candidates]


@checked
def accelerated(engine: TorchEngine, mode: Mode = "eager") -> TorchEngine:
    """The same engine, its network called in another way.

    Args:
        engine: of any family but SPM, whose second stage is a call of its own; for "eager" any.
        mode: "graphs" records each size of batch when it first comes, and needs a GPU.

    Raises:
        ConfigError: a network that this does not work for, or "graphs" without a GPU.
    """
    net = engine.net
    if mode != "eager" and type(net) is not SiameseNet:
        raise ConfigError(f"the mode '{mode}' is for networks of one stage; got a {type(net).__name__}: use 'eager'")
    if mode == "graphs" and engine.device.type != "cuda":
        raise ConfigError(f"CUDA graphs need a GPU; the engine is on '{engine.device}': use 'eager' or 'compiled'")
    match: Match = net.match
    if mode == "compiled":
        options = "reduce-overhead" if engine.device.type == "cuda" else None
        match = torch.compile(match, dynamic=False, mode=options)
    elif mode == "graphs":
        match = _Recorded(match)
    return TorchEngine(_Calls(net.embed, match), engine.preset, engine.device)


@dataclass(frozen=True)
class _Calls:
    """A matcher of two functions."""

    embed: Callable[[Tensor, Tensor], Template]
    match: Match


@dataclass(frozen=True)
class _Recording:
    """A CUDA graph, the tensors that it reads, and those that it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    found: Candidates


class _Recorded:
    """A match as CUDA graphs, one for each set of shapes; the newest shapes are kept.

    May be called from several threads: what a graph writes is copied before the next call can write over it.
    """

    def __init__(self, match: Match) -> None:
        self._match = match
        self._recordings: dict[tuple[object, ...], _Recording] = {}
        self._lock = threading.Lock()

    def __call__(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        given = [patch, sizes, *template]
        key = tuple((value.shape, value.dtype) for value in given)
        with self._lock:
            recording = self._recordings.pop(key, None)
            if recording is None:
                if len(self._recordings) >= _RECORDINGS:
                    self._recordings.pop(next(iter(self._recordings)))
                recording = self._recorded(given)
            self._recordings[key] = recording
            for own, value in zip(recording.inputs, given, strict=True):
                own.copy_(value, non_blocking=True)
            recording.graph.replay()
            return _copied(recording.found)

    def _recorded(self, given: list[Tensor]) -> _Recording:
        """Record a call; three calls before it let libraries choose their kernels, as PyTorch's notes say."""
        inputs = [value.clone() for value in given]
        make_stream: Any = torch.cuda.Stream
        stream = make_stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._match(tuple(inputs[2:]), inputs[0], inputs[1])
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = self._match(tuple(inputs[2:]), inputs[0], inputs[1])
        return _Recording(graph, inputs, found)


def _copied(found: Candidates) -> Candidates:
    def own(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.clone()

    return replace(
        found, centres=found.centres.clone(), sizes=own(found.sizes), scores=found.scores.clone(),
        grid_positions=found.grid_positions.clone(), classes=own(found.classes), quality=own(found.quality),
    )  # fmt: skip
