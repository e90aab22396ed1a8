"""MobileNetV2 at stride 8 for tracking, with torchvision's parameter names.

As for the ResNets, the strided convolutions have no padding and the stages after conv3 are dilated instead of
strided (SiamRPN++, section 4.4, the published code).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from siamtrack.models.backbones.depthwise import DepthwiseConv
from siamtrack.models.siamese import Backbone

__all__ = ["MobileNetV2"]


class _Stage(NamedTuple):
    expansion: int
    channels: int
    blocks: int
    stride: int
    dilation: int


_STAGES = (
    _Stage(1, 16, 1, 1, 1),
    _Stage(6, 24, 2, 2, 1),
    _Stage(6, 32, 3, 2, 1),
    _Stage(6, 64, 4, 1, 2),
    _Stage(6, 96, 3, 1, 2),
    _Stage(6, 160, 3, 1, 4),
    _Stage(6, 320, 1, 1, 4),
)
# Level (conv2..conv5) -> the stage that ends it.
_LEVEL_STAGE = {2: 1, 3: 2, 4: 4, 5: 6}
_LEVEL_STRIDE = {2: 4, 3: 8, 4: 8, 5: 8}


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

    def __init__(self, levels: tuple[int, ...] = (3, 4, 5), width: float = 1.0, expand_first: bool = False) -> None:
        super().__init__()
        self.levels = levels
        inputs = int(32 * width)
        blocks: list[nn.Module] = [_conv(3, inputs, 3, stride=2)]
        ends: list[int] = []
        before = 1
        for stage in _STAGES[: _LEVEL_STAGE[max(levels)] + 1]:
            outputs = int(stage.channels * width)
            for i in range(stage.blocks):
                stride = stage.stride if i == 0 else 1
                # The first block of a dilated stage reads the stage before: half of the dilation.
                grows = i == 0 and stage.dilation != before
                dilation = max(stage.dilation // 2, 1) if grows else stage.dilation
                expand = expand_first or stage.expansion > 1
                hidden = inputs * stage.expansion
                blocks.append(InvertedResidual(inputs, outputs, stride, dilation, hidden, expand))
                inputs = outputs
            before = stage.dilation
            ends.append(len(blocks) - 1)
        self.features = nn.Sequential(*blocks)
        self._ends = tuple(ends)
        self.taps = tuple(ends[_LEVEL_STAGE[level]] for level in levels)
        self.channels = tuple(int(_STAGES[_LEVEL_STAGE[level]].channels * width) for level in levels)
        self.strides = tuple(_LEVEL_STRIDE[level] for level in levels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def stages(self) -> list[nn.Module]:
        """The parts in order of depth, stem first: what a schedule freezes and unfreezes."""
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
