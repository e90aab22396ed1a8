"""Search features of networks that learn no more: in bfloat16 on request, and from frozen graphs on a processor."""

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

    Returns the network, which is in evaluation mode with its final weights (`fold_norms` first). With `torch.bfloat16`
    backbone and neck compute in it, on a processor and on a GPU.
    """
    if isinstance(net, SiameseNet):
        net.quick = FrozenFeatures(net, precision)
    return net


class FrozenFeatures:
    """`SiameseNet.features` of search crops: on a processor traced and frozen once for each size of crop.

    In the graph oneDNN computes convolutions and activations together; in float32 torch does not even hand it 1 x 1
    convolutions on one thread. The values differ in float32's last digits.
    """

    def __init__(self, net: SiameseNet, precision: torch.dtype) -> None:
        self._search = _Search(net, precision).eval()
        self._graphs: dict[torch.Size, _Graph] = {}
        self._lock = threading.Lock()

    def __call__(self, patch: Tensor) -> tuple[Tensor, ...]:
        """RGB patches (B, 3, S, S), 0..255 -> features after the neck, float32."""
        if patch.device.type != "cpu":
            found: tuple[Tensor, ...] = self._search(patch)
            return found
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
            trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
            # A trace holds for any number of crops.
            graph = trace(self._search, torch.zeros(1, *size), check_trace=False)
            return cast(_Graph, torch.jit.optimize_for_inference(torch.jit.freeze(graph)))


class _Search(nn.Module):
    def __init__(self, net: SiameseNet, precision: torch.dtype) -> None:
        super().__init__()
        self.net = net
        self.precision = precision

    def forward(self, patch: Tensor) -> tuple[Tensor, ...]:
        low = self.precision == torch.bfloat16
        with torch.autocast(patch.device.type, torch.bfloat16, enabled=low, cache_enabled=False):
            levels = self.net.neck(self.net.backbone(self.net.normalise(patch)), False)
        return tuple(level.float() for level in levels)
