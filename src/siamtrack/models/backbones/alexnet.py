"""AlexNet for tracking: five convolutions with BatchNorm at stride 8 (SiamFC, section 2.4 and table 1).

Parameters are named conv1.0 (convolution) and conv1.1 (BatchNorm) to conv5.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.models.siamese import Backbone

# (channels, kernel, stride, whether `groups` splits it, whether max pooling follows) of each convolution.
_CONVS = (
    (96, 11, 2, False, True),
    (256, 5, 1, True, True),
    (384, 3, 1, False, False),
    (384, 3, 1, True, False),
    (256, 3, 1, True, False),
)


class AlexNet(Backbone):
    """AlexNet as a feature extractor.

    ReLU follows all convolutions but the last, unless `last_relu` says so. Without padding, 127 pixels give 6 cells and
    255 give 22 (SiamFC); with padding, 16 and 32 (SPM-Tracker).

    Args:
        levels: which of conv2..conv5 to return, all at stride 8; nothing after the last one is built.
        padded: use zero padding, so that only strides make maps smaller.
        groups: 2 splits conv2, conv4 and conv5 as SiamFC does; 1 is the wider network of SiamRPN.
        last_norm: BatchNorm after conv5; SiamFC's published network has none.
        last_relu: ReLU after conv5, as in the network for ImageNet: SA-Siam's S-Net, whose attention takes maxima.
        eps: of BatchNorm.
    """

    def __init__(
        self,
        levels: tuple[int, ...],
        padded: bool = False,
        groups: int = 1,
        last_norm: bool = True,
        last_relu: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.depth = max(levels)
        self.padded = padded
        self.last_relu = last_relu
        self.levels = levels
        inputs = 3
        for i, (outputs, kernel, stride, grouped, _) in enumerate(_CONVS[: self.depth], start=1):
            padding = kernel // 2 if padded else 0
            split = groups if grouped else 1
            layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=split)]
            if i < len(_CONVS) or last_norm:
                layers.append(nn.BatchNorm2d(outputs, eps=eps))
            self.add_module(f"conv{i}", nn.Sequential(*layers))
            inputs = outputs
        self.channels = tuple(_CONVS[level - 1][0] for level in levels)
        self.strides = (8,) * len(levels)
        self.centred = not padded

    def stages(self) -> list[nn.Module]:
        """See `Backbone`."""
        return [self.get_submodule(f"conv{i}") for i in range(1, self.depth + 1)]

    def first_cells(self, size: int) -> tuple[float, ...]:
        """See `Backbone`: the first pixel with padding; without it, each layer takes half its kernel off."""
        del size
        inside = {2: 19.5, 3: 27.5, 4: 35.5, 5: 43.5}
        return tuple(0.5 if self.padded else inside[level] for level in self.levels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> one map for each level, in the order of `levels`."""
        maps = {}
        for i, stage in enumerate(self.stages(), start=1):
            x = stage(x)
            if i < len(_CONVS) or self.last_relu:
                x = F.relu(x)
            if _CONVS[i - 1][-1]:
                x = F.max_pool2d(x, 3, stride=2, padding=int(self.padded))
            maps[i] = x
        return tuple(maps[level] for level in self.levels)
