"""Which loss belongs to which head: a batch in, named terms and their weighted sum out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from siamtrack.data.augment import Batch
from siamtrack.errors import ConfigError
from siamtrack.geometry.boxes import cxcywh_to_xyxy
from siamtrack.models.heads.anchors import AnchorCoder, AnchorTargets
from siamtrack.models.heads.car import CarHead
from siamtrack.models.heads.light import LightRpnHead
from siamtrack.models.heads.rpn import RpnHead
from siamtrack.models.heads.score import ScoreHead
from siamtrack.models.sa_siam_net import Blend
from siamtrack.models.siamese import Candidates, Maps, SiameseNet, Template
from siamtrack.models.spm_net import SpmHead, SpmNet
from siamtrack.training.batches import Generators, by_part
from siamtrack.training.car_loss import car_loss
from siamtrack.training.rpn_loss import rpn_loss
from siamtrack.training.siamfc_loss import siamfc_labels, siamfc_loss
from siamtrack.training.spm_loss import FineSamples, fine_loss, fine_samples

__all__ = ["objective"]

Terms = dict[str, Tensor]


def objective(
    net: nn.Module, batch: Batch, weights: tuple[float, ...], rngs: Generators, smooth: bool = False
) -> Terms:
    """Forward pass and loss of one batch: the terms of the network's head, and `total`.

    Args:
        net: a network that a family has built.
        batch: B pairs.
        weights: of the terms, in their order; see the functions of this module for each head's.
        rngs: draw which anchors and proposals are learned from, each for its part of the pairs.
        smooth: as `train.smooth_l1`.

    Raises:
        ConfigError: another number of weights than of terms, or a head that has no loss.
    """
    kind = type(net.head)
    if kind not in _OBJECTIVES:
        raise ConfigError(f"there is no training objective for {kind.__name__}; choose another family")
    terms = _OBJECTIVES[kind](net, batch, rngs, smooth)
    if len(weights) != len(terms):
        names = ", ".join(terms)
        raise ConfigError(f"train.loss_weights needs {len(terms)} numbers, for {names}; got {len(weights)}")
    total = torch.stack([w * t for w, t in zip(weights, terms.values(), strict=True)]).sum()
    return {**terms, "total": total}


def _respond(net: SiameseNet, batch: Batch) -> Maps:
    return net.respond(net.embed(batch.template), batch.search)


def _siamcar(net: SiameseNet, batch: Batch, rngs: Generators, smooth: bool) -> Terms:
    """SiamCAR: `cls`, `cen`, `loc`, published weights 1, 1, 3."""
    del rngs, smooth
    maps = _respond(net, batch)
    cells, size = maps["cls"].shape[-1], batch.search.shape[-1]
    coder: Any = net.coder
    return car_loss(maps, coder.encode(batch.boxes, batch.present, cells, size))


def _anchors(net: SiameseNet, batch: Batch, rngs: Generators, smooth: bool) -> Terms:
    """SiamRPN, SiamRPN++: `cls`, `loc`, published weights 1, 1.2."""
    coder: Any = net.coder
    return _proposals(_respond(net, batch), coder, batch, rngs, smooth)


def _proposals(maps: Maps, coder: AnchorCoder, batch: Batch, rngs: Generators, smooth: bool) -> Terms:
    cells, size = maps["cls"].shape[-1], batch.search.shape[-1]

    def targets(boxes: Tensor, present: Tensor, rng: torch.Generator) -> AnchorTargets:
        """Those of one part."""
        return coder.encode(boxes, present, cells, size, rng)

    return rpn_loss(maps, by_part(targets, rngs, batch.boxes, batch.present), smooth)


def _siamfc(net: SiameseNet, batch: Batch, rngs: Generators, smooth: bool) -> Terms:
    """SiamFC: `cls`, weight 1."""
    del rngs, smooth
    maps = _respond(net, batch)
    return siamfc_loss(maps, _labels(net, batch, maps))


def _sa_siam(net: SiameseNet, batch: Batch, rngs: Generators, smooth: bool) -> Terms:
    """SA-Siam: `appearance` and `semantic`, each branch on its own response; trained jointly, `cls` on the blend.

    Apart, the branches share neither a parameter nor a term: one run trains both as two runs would.
    """
    del rngs, smooth
    maps, head = _respond(net, batch), net.head
    labels = _labels(net, batch, maps)
    if isinstance(head, Blend) and head.joint:
        return siamfc_loss(maps, labels)
    branches = (name for name in maps if name != "response")
    return {name: siamfc_loss({"response": maps[name]}, labels)["cls"] for name in branches}


def _labels(net: SiameseNet, batch: Batch, maps: Maps) -> Tensor:
    coder: Any = net.coder
    cells, size = maps["response"].shape[-1], batch.search.shape[-1]
    return siamfc_labels(batch.boxes, batch.present, cells, size, coder.stride)


def _spm(net: SpmNet, batch: Batch, rngs: Generators, smooth: bool) -> Terms:
    """SPM: `cls`, `loc` of the coarse stage, and of the fine one `fine_cls`, `fine_loc`; weights 1, 1, 2, 2.

    The gradients of both stages reach the backbone; none flows through the proposals' places. Generalized training
    (`data.same_category`): two objects of one category are a positive pair for the coarse stage, which is to find
    what looks alike, and a negative one for the fine stage, which is to tell them apart.
    """
    template, search = _template(net, batch), net.features(batch.search, template=False)
    maps, fine = net.coarse(template, search), net.head.fine
    alike = batch.pairs.alike
    coarse = batch if alike is None else replace(batch, present=alike.to(batch.present.device))
    terms = _proposals(maps, net.coder, coarse, rngs, smooth)
    if fine is None:
        return terms
    with torch.no_grad():
        found = net.coder.decode(maps, batch.search.shape[-1])
    samples = _fine_samples(found, batch, rngs)
    logits, offsets = fine(template[1], fine.pool(search[1:], cxcywh_to_xyxy(samples.boxes)))
    return terms | fine_loss(logits, offsets, samples)


def _fine_samples(found: Candidates, batch: Batch, rngs: Generators) -> FineSamples:
    def samples(
        centres: Tensor, sizes: Tensor, scores: Tensor, boxes: Tensor, present: Tensor, rng: torch.Generator
    ) -> FineSamples:
        """Those of one part."""
        own = replace(found, centres=centres, sizes=sizes, scores=scores)
        return fine_samples(own, boxes, present, rng)

    assert found.sizes is not None  # proposals have sizes
    return by_part(samples, rngs, found.centres, found.sizes, found.scores, batch.boxes, batch.present)


def _template(net: SpmNet, batch: Batch) -> Template:
    """Template features; the fine stage pools the target's own box."""
    inner = batch.template_boxes
    return net.embed(batch.template) if inner is None else net.embed_sized(batch.template, inner[:, 2:] - inner[:, :2])


_OBJECTIVES: dict[type[nn.Module], Callable[[Any, Batch, Generators, bool], Terms]] = {
    CarHead: _siamcar,
    RpnHead: _anchors,
    LightRpnHead: _anchors,
    ScoreHead: _siamfc,
    Blend: _sa_siam,
    SpmHead: _spm,
}
