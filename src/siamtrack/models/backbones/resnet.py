"""ResNet-18, 34 and 50 at stride 8 for tracking, with torchvision's parameter names.

As SiamRPN++ (section 3.2) changes them: conv4 and conv5 keep stride 8 and are dilated, by 2 and 4 in the published
code. As there, and against the words "paddings of all layers are kept", strided convolutions and the stem have no
padding: only so has a template the 15 x 15 cells that the paper gives, and the map stays centred on the crop. The
projections of shortcuts that change resolution or dilation are 3 x 3 convolutions (the published code).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.models.siamese import Backbone

# (channels, stride, dilation) of conv2..conv5 of the paper; torchvision calls them layer1 to layer4.
_STAGES = ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4))
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_LEVEL_STRIDE = {2: 4, 3: 8, 4: 8, 5: 8}


def _conv3(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the map's size; with a stride it has no padding."""
    padding = 0 if stride > 1 else dilation
    return nn.Conv2d(inputs, outputs, 3, stride, padding, dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (ResNet-18 and 34)."""

    expansion = 1

    def __init__(
        self, inputs: int, width: int, stride: int, entry: int, dilation: int, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        self.conv1 = _conv3(inputs, width, stride, entry)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3(width, width, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, H', W')."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 to four times the width, and a shortcut (ResNet-50)."""

    expansion = 4

    def __init__(
        self, inputs: int, width: int, stride: int, entry: int, dilation: int, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        del dilation  # The only 3 x 3 convolution is the entry.
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3(width, width, stride, entry)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 * width, H', W')."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, spec: tuple[int, int, int], count: int
) -> nn.Sequential:
    channels, stride, dilation = spec
    outputs = channels * block.expansion
    # The first block of a dilated stage has half the dilation: its input still comes from the stage before.
    entry = max(dilation // 2, 1)
    shortcut: nn.Module | None = None
    if stride > 1 or inputs != outputs:
        plain = stride == 1 and dilation == 1
        conv = nn.Conv2d(inputs, outputs, 1, bias=False) if plain else _conv3(inputs, outputs, stride, entry)
        shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))
    blocks = [block(inputs, channels, stride, entry, dilation, shortcut)]
    blocks += [block(outputs, channels, 1, dilation, dilation, None) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


class ResNet(Backbone):
    """A ResNet as a feature extractor.

    Args:
        depth: 18, 34 or 50.
        levels: which of conv2..conv5 to give (strides 4, 8, 8, 8); nothing after the last one is built.
    """

    def __init__(self, depth: int, levels: tuple[int, ...]) -> None:
        super().__init__()
        block = Bottleneck if depth >= 50 else BasicBlock
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.depth = max(levels) - 1
        inputs = 64
        for i, (spec, count) in enumerate(zip(_STAGES, _BLOCKS[depth], strict=True)):
            if i < self.depth:
                self.add_module(f"layer{i + 1}", _stage(block, inputs, spec, count))
                inputs = spec[0] * block.expansion
        self.levels = levels
        self.channels = tuple(_STAGES[level - 2][0] * block.expansion for level in levels)
        self.strides = tuple(_LEVEL_STRIDE[level] for level in levels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self) -> list[nn.Module]:
        """See `Backbone`; the stem is the first."""
        layers = [self.get_submodule(f"layer{i + 1}") for i in range(self.depth)]
        return [nn.ModuleList([self.conv1, self.bn1]), *layers]

    def first_cells(self, size: int) -> tuple[float, ...]:
        """See `Backbone`: the unpadded stem takes 3 pixels off, conv3's unpadded stride 4 more."""
        del size
        return tuple(3.5 if level == 2 else 7.5 for level in self.levels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> one map for each level, in order: 15 cells for 127 pixels at stride 8."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps = {}
        for i in range(self.depth):
            x = self.get_submodule(f"layer{i + 1}")(x)
            maps[i + 2] = x
        return tuple(maps[level] for level in self.levels)
