"""EfficientNet-Lite0 to Lite2, cut after the last level that is used, with timm's parameter names.

Lite0 is EfficientNet-B0 without squeeze-and-excitation and with ReLU6; its ImageNet weights were trained with
TensorFlow's SAME padding and a BatchNorm epsilon of 1e-3, so both are kept. Lite1 and Lite2 have more blocks, Lite2
also more channels; their stems are as wide as Lite0's, their first and last stages as deep.
"""

from __future__ import annotations

from itertools import islice
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.models.backbones.mobilenet import DepthwiseConv, convolve
from siamtrack.models.siamese import Backbone

# (kernel, stride, expansion) of each stage.
_STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
# Blocks and channels of each stage, by size.
LITE_BLOCKS = {0: (1, 2, 2, 3, 3, 4, 1), 1: (1, 3, 3, 4, 4, 5, 1), 2: (1, 3, 3, 4, 4, 5, 1)}
_CHANNELS = {
    0: (16, 24, 40, 80, 112, 192, 320),
    1: (16, 24, 40, 80, 112, 192, 320),
    2: (16, 24, 48, 88, 120, 208, 352),
}
# Level (conv2..conv5: strides 4, 8, 16, 32) -> the stage that ends it.
_LEVEL_STAGE = {2: 1, 3: 2, 4: 4, 5: 6}
_LEVEL_STRIDE = {2: 4, 3: 8, 4: 16, 5: 32}


class _SameConv(nn.Conv2d):
    """A strided convolution with TensorFlow's SAME padding: what is missing goes right and below first."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        pads, first = [], []
        kernel, stride = self.kernel_size[0], self.stride[0]
        for length in input.shape[-2:]:
            count = -(-length // stride)
            total = max((count - 1) * stride + kernel - length, 0)
            even = total % 2 == 0
            # Padding one stride more on both sides and dropping the first output is the same as padding one
            # side more than the other, and needs no copy of the input.
            pads.append(total // 2 + (0 if even else stride))
            first.append(0 if even else 1)
        out = convolve(input, self, pads)
        return out[..., first[0] :, first[1] :]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride > 1:
        return _SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
    kind = DepthwiseConv if groups > 1 else nn.Conv2d
    return kind(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class DepthwiseSeparable(nn.Module):
    """The first stage's block: depth-wise, then 1 x 1 without activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _conv(inputs, inputs, kernel, stride, groups=inputs)
        self.bn1 = _norm(inputs)
        self.conv_pw = _conv(inputs, outputs, 1)
        self.bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        x = F.relu6(self.bn1(self.conv_dw(x)))
        out: Tensor = self.bn2(self.conv_pw(x))
        return out


class InvertedResidual(nn.Module):
    """1 x 1 expansion, depth-wise convolution, 1 x 1 projection; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv_pw = _conv(inputs, hidden, 1)
        self.bn1 = _norm(hidden)
        self.conv_dw = _conv(hidden, hidden, kernel, stride, groups=hidden)
        self.bn2 = _norm(hidden)
        self.conv_pwl = _conv(hidden, outputs, 1)
        self.bn3 = _norm(outputs)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = F.relu6(self.bn1(self.conv_pw(x)))
        y = F.relu6(self.bn2(self.conv_dw(y)))
        out: Tensor = self.bn3(self.conv_pwl(y))
        return x + out if self.shortcut else out


class EfficientNetLite(Backbone):
    """EfficientNet-Lite0, Lite1 or Lite2 as a feature extractor.

    Args:
        size: 0, 1 or 2.
        levels: which of conv2..conv5 (strides 4, 8, 16, 32) to give; nothing after the last one is built.
        short: conv4 ends after its first three blocks (80 channels), without the 5 x 5 stage that follows at the
            same stride; for the smallest trackers.
    """

    def __init__(self, size: Literal[0, 1, 2], levels: tuple[int, ...], short: bool = False) -> None:
        super().__init__()
        ends = _LEVEL_STAGE | ({4: 3} if short else {})
        last = ends[max(levels)]
        self.conv_stem = _conv(3, 32, 3, stride=2)
        self.bn1 = _norm(32)
        stages: list[nn.Module] = []
        inputs = 32
        shape = zip(LITE_BLOCKS[size], _CHANNELS[size], _STAGES, strict=True)
        for count, outputs, (kernel, stride, expansion) in islice(shape, last + 1):
            blocks: list[nn.Module] = []
            for i in range(count):
                step = stride if i == 0 else 1
                if expansion == 1:
                    blocks.append(DepthwiseSeparable(inputs, outputs, kernel, step))
                else:
                    blocks.append(InvertedResidual(inputs, outputs, kernel, step, expansion))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.ModuleList(stages)
        self.levels = levels
        self.taps = tuple(ends[level] for level in levels)
        self.channels = tuple(_CHANNELS[size][tap] for tap in self.taps)
        self.strides = tuple(_LEVEL_STRIDE[level] for level in levels)

    def stages(self) -> list[nn.Module]:
        """See `Backbone`; the stem is the first."""
        return [nn.ModuleList([self.conv_stem, self.bn1]), *self.blocks]

    def first_cells(self, size: int) -> tuple[float, ...]:
        """See `Backbone`: SAME padding depends on whether a layer's input has an even number of cells."""
        first, stride, cells = 0.5, 1, size
        found = {}
        kernels = (3, *(kernel for kernel, step, _ in _STAGES if step == 2))
        for level, kernel in enumerate(kernels, start=1):
            before = max((-(-cells // 2) - 1) * 2 + kernel - cells, 0) // 2
            first += (kernel // 2 - before) * stride
            stride, cells = 2 * stride, -(-cells // 2)
            found[level] = first
        return tuple(found[level] for level in self.levels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalised images (B, 3, H, W) -> one map for each level, in the order of `levels`."""
        x = F.relu6(self.bn1(self.conv_stem(x)))
        maps = {}
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in self.taps:
                maps[i] = x
        return tuple(maps[tap] for tap in self.taps)
