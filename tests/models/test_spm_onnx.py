"""SPM in ONNX: both of its steps, answered by onnxruntime as by PyTorch."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from references import embed
from siamtrack.models.families.spm import SpmNet
from small_spm import build, patches


class Embed(torch.nn.Module):
    def __init__(self, net: SpmNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, patch: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        return self.net.embed(patch, sizes)


class Match(torch.nn.Module):
    def __init__(self, net: SpmNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, patch: Tensor, sizes: Tensor, *template: Tensor) -> tuple[Tensor, ...]:
        found = self.net.match(template, patch, sizes)
        assert found.sizes is not None
        return found.centres, found.sizes, found.scores


def settled(**changes: Any) -> SpmNet:
    """A network whose BatchNorms have seen crops, and whose scores are apart: in a tie either order is right."""
    net = build(**changes).train()
    z, x = patches()
    with torch.no_grad():
        for _ in range(8):
            maps = net.respond(embed(net, z), x)
        for parameter in (net.head.coarse.cls.weight, net.head.coarse.cls.bias):
            parameter.mul_(3 / maps["cls"].std())
    return net.eval()


def exported(net: torch.nn.Module, inputs: tuple[Tensor, ...]) -> list[np.ndarray]:
    """What onnxruntime makes of the inputs."""
    stream, names = io.BytesIO(), [f"in{i}" for i in range(len(inputs))]
    with torch.no_grad():
        torch.onnx.export(net.eval(), inputs, stream, opset_version=16, dynamo=False, input_names=names)
    session = pytest.importorskip("onnxruntime").InferenceSession(stream.getvalue(), providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    return list(session.run(None, {i.name: feed[i.name] for i in session.get_inputs()}))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"levels": (3, 4), "fine": "correlation", "fusion": "series", "correlations": ("depthwise", "pixelwise")},
        {"backbone": "mobilenetv2", "fine": "none"},
    ],
)
def test_the_whole_network_exports_to_onnx(change: dict[str, Any]) -> None:
    pytest.importorskip("onnx")
    net, sizes = settled(**change), torch.tensor([[40.0, 30.0]])
    z, x = (patch[:1] for patch in patches())
    template = tuple(level.detach() for level in net.embed(z, sizes))
    for module, inputs in ((Embed(net), (z, sizes)), (Match(net), (x, sizes, *template))):
        with torch.no_grad():
            wanted = module(*inputs)
        for ours, theirs in zip(wanted, exported(module, inputs), strict=True):
            assert np.allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-4)
