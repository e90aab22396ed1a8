"""MobileNetV2 at stride 8 for tracking, with torchvision's parameter names.

As for the ResNets, the strided convolutions have no padding and the stages after conv3 are dilated instead of
strided (SiamRPN++, section 4.3 and figure 6, the published code).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.models.siamese import Backbone

# (expansion, channels, blocks, stride, dilation) of each stage.
_STAGES = (
    (1, 16, 1, 1, 1),
    (6, 24, 2, 2, 1),
    (6, 32, 3, 2, 1),
    (6, 64, 4, 1, 2),
    (6, 96, 3, 1, 2),
    (6, 160, 3, 1, 4),
    (6, 320, 1, 1, 4),
)
# Level (conv2..conv5) -> the stage that ends it.
_LEVEL_STAGE = {2: 1, 3: 2, 4: 4, 5: 6}
_LEVEL_STRIDE = {2: 4, 3: 8, 4: 8, 5: 8}


class DepthwiseConv(nn.Conv2d):
    """A depth-wise convolution; see `convolve`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        """(B, C, H, W) -> (B, C', H', W')."""
        return convolve(input, self, self.padding)


def convolve(x: Tensor, conv: nn.Conv2d, padding: tuple[int, ...] | list[int] | str) -> Tensor:
    """`conv` with this padding: (B, C, H, W) -> (B, C', H', W').

    Under autocast a CPU learns depth-wise convolutions in float32, except for 3 x 3 ones without stride and dilation:
    oneDNN's bfloat16 gradients of the others take 2 to 14 times as long (torch 2.13), a third of a training step.
    """
    parts = conv.stride, padding, conv.dilation, conv.groups
    autocast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    learns = torch.is_grad_enabled() and (conv.weight.requires_grad or x.requires_grad)
    quick = max(conv.kernel_size) <= 3 and conv.stride == (1, 1) and conv.dilation == (1, 1)
    if not autocast or not learns or quick or conv.groups == 1:
        return F.conv2d(x, conv.weight, conv.bias, *parts)  # type: ignore[arg-type]
    with torch.autocast("cpu", enabled=False):
        bias = None if conv.bias is None else conv.bias.float()
        return F.conv2d(x.float(), conv.weight.float(), bias, *parts).to(x.dtype)  # type: ignore[arg-type]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    padding = 0 if stride > 1 else dilation * (kernel // 2)
    kind = DepthwiseConv if groups > 1 else nn.Conv2d
    return nn.Sequential(
        kind(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """1 x 1 expansion, depth-wise convolution, 1 x 1 projection; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int, hidden: int, expand: bool) -> None:
        super().__init__()
        layers = [_conv(inputs, hidden, 1)] if expand else []
        self.conv = nn.Sequential(
            *layers,
            _conv(hidden, hidden, 3, stride, dilation, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileNetV2(Backbone):
    """MobileNetV2 as a feature extractor.

    Args:
        levels: which of conv2..conv5 to give (strides 4, 8, 8, 8); nothing after the last one is built.
        width: factor on all channels (rounded down).
        expand_first: a 1 x 1 convolution in the first block too, as in PySOT's network; not in torchvision's.
    """

    def __init__(self, levels: tuple[int, ...], width: float = 1.0, expand_first: bool = False) -> None:
        super().__init__()
        self.levels = levels
        inputs = int(32 * width)
        blocks: list[nn.Module] = [_conv(3, inputs, 3, stride=2)]
        ends: list[int] = []
        before = 1
        for expansion, channels, count, stride, dilation in _STAGES[: _LEVEL_STAGE[max(levels)] + 1]:
            outputs = int(channels * width)
            for i in range(count):
                # The first block of a dilated stage reads the stage before: half of the dilation.
                entry = max(dilation // 2, 1) if i == 0 and dilation != before else dilation
                step, expand = stride if i == 0 else 1, expand_first or expansion > 1
                blocks.append(InvertedResidual(inputs, outputs, step, entry, inputs * expansion, expand))
                inputs = outputs
            before = dilation
            ends.append(len(blocks) - 1)
        self.features = nn.Sequential(*blocks)
        self._ends = tuple(ends)
        self.taps = tuple(ends[_LEVEL_STAGE[level]] for level in levels)
        self.channels = tuple(int(_STAGES[_LEVEL_STAGE[level]][1] * width) for level in levels)
        self.strides = tuple(_LEVEL_STRIDE[level] for level in levels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def stages(self) -> list[nn.Module]:
        """See `Backbone`; the stem is the first."""
        starts = (1, *(end + 1 for end in self._ends[:-1]))
        parts = [self.features[start : end + 1] for start, end in zip(starts, self._ends, strict=True)]
        return [self.features[0], *parts]

    def first_cells(self, size: int) -> tuple[float, ...]:
        """See `Backbone`: each of the unpadded strided convolutions takes one of its input's cells off."""
        del size
        return tuple(3.5 if level == 2 else 7.5 for level in self.levels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> one map for each level, in order: 15 cells for 127 pixels at stride 8."""
        maps = {}
        for i, block in enumerate(self.features):
            x = block(x)
            if i in self.taps:
                maps[i] = x
        return tuple(maps[tap] for tap in self.taps)
