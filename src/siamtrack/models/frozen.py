"""Search features on a processor, from a graph in which oneDNN computes convolutions and activations together."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from siamtrack.models.siamese import SiameseNet

_Graph = Callable[[Tensor], tuple[Tensor, ...]]


def freeze(net: nn.Module, precision: torch.dtype = torch.float32) -> nn.Module:
    """Let a network that will not be trained any more compute its search features by `FrozenFeatures`, if it can.

    Args:
        net: in evaluation mode, with its final weights (`fold_norms` first); networks of another kind stay as they
            are.
        precision: `torch.bfloat16` computes backbone and neck in it.

    Returns:
        `net`.
    """
    if isinstance(net, SiameseNet):
        net.quick = FrozenFeatures(net, precision)
    return net


class FrozenFeatures:
    """`SiameseNet.features` of search crops, traced and frozen once for each size of crop.

    In float32 torch does not hand 1 x 1 convolutions to oneDNN on one thread, and runs activations apart; frozen graphs
    do both. The values differ in float32's last digits.
    """

    def __init__(self, net: SiameseNet, precision: torch.dtype) -> None:
        self._net = net
        self._precision = precision
        self._graphs: dict[torch.Size, _Graph] = {}
        self._lock = threading.Lock()

    def __call__(self, patch: Tensor) -> tuple[Tensor, ...]:
        """RGB patches (B, 3, S, S), 0..255 -> features after the neck."""
        size = patch.shape[1:]
        if size not in self._graphs:
            with self._lock:
                if size not in self._graphs:
                    self._graphs[size] = self._frozen(size)
        return self._graphs[size](patch)

    def _frozen(self, size: torch.Size) -> _Graph:
        # Tensors that are made in inference mode cannot be traced; TorchScript is deprecated, and nothing that has
        # taken its place starts within a second.
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = _Search(self._net, self._precision).eval()
            trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
            # A trace holds for any number of crops.
            graph = trace(module, torch.zeros(1, *size), check_trace=False)
            return cast(_Graph, torch.jit.optimize_for_inference(torch.jit.freeze(graph)))


class _Search(nn.Module):
    def __init__(self, net: SiameseNet, precision: torch.dtype) -> None:
        super().__init__()
        self.net = net
        self.precision = precision

    def forward(self, patch: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == torch.bfloat16, cache_enabled=False):
            levels = self.net.neck(self.net.backbone(self.net.normalise(patch)), False)
        return tuple(level.float() for level in levels)
