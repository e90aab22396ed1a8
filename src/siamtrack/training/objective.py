"""Which loss belongs to which head: a batch in, named terms and their weighted sum out."""

from __future__ import annotations

import torch
from torch import Tensor

from siamtrack.data.augment import Batch
from siamtrack.models.heads.car import SidesCoder
from siamtrack.models.siamese import SiameseNet
from siamtrack.training.car_loss import car_loss

__all__ = ["objective"]


def objective(net: SiameseNet, batch: Batch, weights: tuple[float, ...], rng: torch.Generator) -> dict[str, Tensor]:
    """Forward pass and loss of one batch; `total` is the sum of the terms by `weights`, in their order."""
    maps = net.respond(net.embed(batch.template), batch.search)
    terms = _terms(net, maps, batch, rng)
    total = torch.stack([w * t for w, t in zip(weights, terms.values(), strict=True)]).sum()
    return {**terms, "total": total}


def _terms(net: SiameseNet, maps: dict[str, Tensor], batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
    cells, size = maps["cls"].shape[-1], batch.search.shape[-1]
    if isinstance(net.coder, SidesCoder):
        return car_loss(maps, net.coder.encode(batch.boxes, batch.present, cells, size))
    raise NotImplementedError(f"no loss for {type(net.coder).__name__}")
