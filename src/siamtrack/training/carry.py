"""A trained head on another backbone, before any training.

Two backbones that learnt the same classes see nearly the same things: a linear map of the new one's features gives
most of the old one's. The first layers behind a backbone are linear too and take this map in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from siamtrack.errors import WeightsError
from siamtrack.models.families import Family
from siamtrack.models.siamese import LinearMap, SiameseNet

# Of the mean variance of a level's channels, added to each: a ridge, for channels that hardly vary.
_RIDGE = 1e-3


def differs_in_backbone(old: Family, new: Family) -> bool:
    """Whether two configurations have different backbones and nothing else that differs."""
    return old.backbone != new.backbone and replace(old, backbone=new.backbone) == new


@torch.inference_mode()
def carry_head(old: SiameseNet, new: SiameseNet, crops: Iterable[Tensor]) -> tuple[float, ...]:
    """Give `new` the neck and head of `old`, fitted to its own backbone, which is left as it is.

    The two differ in their backbones alone, whose levels have the same strides and cells. The maps are fitted on
    `crops`, batches (B, 3, S, S) of RGB, 0..255; some hundred crops are enough.

    Returns:
        Of each level, the share of the variance of `old`'s features that a linear map of `new`'s explains.

    Raises:
        WeightsError: the backbones' maps have different sizes.
        ConfigError: the network has no linear layer behind its backbone.
    """
    old.eval()
    new.eval()
    sums: list[_Sums] = [_Sums() for _ in new.backbone.channels]
    for batch in crops:
        pairs = zip(new.backbone(new.normalise(batch)), old.backbone(old.normalise(batch)), strict=True)
        for total, (x, y) in zip(sums, pairs, strict=True):
            if x.shape[-2:] != y.shape[-2:]:
                sizes = f"{tuple(x.shape[-2:])} and {tuple(y.shape[-2:])}"
                raise WeightsError(f"a head moves between backbones with maps of one size; these have {sizes} cells")
            total.add(x.movedim(1, -1).flatten(0, 2).double(), y.movedim(1, -1).flatten(0, 2).double())
    fitted = [total.fit() for total in sums]
    theirs, own = old.state_dict(), new.state_dict()
    for name, value in own.items():
        if not name.startswith("backbone.") and theirs[name].shape == value.shape:
            value.copy_(theirs[name])
    new.adopt(old, [level for level, _ in fitted])
    return tuple(share for _, share in fitted)


class _Sums:
    """Running sums of what least squares of y on x, rows of both, needs."""

    def __init__(self) -> None:
        self.count = 0
        self.x: Tensor | float = 0.0
        self.y: Tensor | float = 0.0
        self.xx: Tensor | float = 0.0
        self.xy: Tensor | float = 0.0
        self.yy: Tensor | float = 0.0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Count rows (N, C) and (N, D)."""
        self.count += len(x)
        self.x, self.y = self.x + x.sum(0), self.y + y.sum(0)
        self.xx, self.xy, self.yy = self.xx + x.T @ x, self.xy + x.T @ y, self.yy + y.square().sum(0)

    def fit(self) -> tuple[LinearMap, float]:
        """The map, and the share of y's variance that it explains."""
        x, y = torch.as_tensor(self.x) / self.count, torch.as_tensor(self.y) / self.count
        gram = torch.as_tensor(self.xx) / self.count - torch.outer(x, x)
        cross = torch.as_tensor(self.xy) / self.count - torch.outer(x, y)
        spread = torch.as_tensor(self.yy) / self.count - y.square()
        ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(x), dtype=gram.dtype)
        weight = torch.linalg.solve(gram + ridge, cross).T
        left = spread - 2 * (weight * cross.T).sum(1) + ((weight @ gram) * weight).sum(1)
        share = 1 - float(left.sum() / spread.sum())
        found = LinearMap(weight.float(), (y - weight @ x).float(), x.float(), gram.diagonal().float())
        return found, share
