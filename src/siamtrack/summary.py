"""What a preset's network weighs and costs, counted from shapes alone: nothing is computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from siamtrack.config import Preset
from siamtrack.models.families import Family
from siamtrack.models.heads.rpn import Correlation, RpnHead

__all__ = ["Cost", "count_cost", "proposal_parameters"]


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulates of convolutions, correlations and matrix products.

    Attributes:
        parameters: of the whole network; statistics of BatchNorm are not among them.
        head_parameters: of what comes after backbone and neck.
        macs_template: of one template crop, once for each target.
        macs_search: of one search crop: a frame, or one scale of a search pyramid.
    """

    parameters: int
    head_parameters: int
    macs_template: int
    macs_search: int


def count_cost(preset: Preset) -> Cost:
    """Count a preset's network at the sizes of its crops."""
    crops = preset.crops
    # On the meta device tensors have shapes and no values.
    with torch.device("meta"), torch.inference_mode():
        net = preset.model.build().eval()
        sizes = torch.empty(1, 2)
        with FlopCounterMode(display=False) as embedding:
            template = net.embed(torch.empty(1, 3, *[crops.template_crop or crops.template] * 2), sizes)
        with FlopCounterMode(display=False) as matching:
            net.match(template, torch.empty(1, 3, crops.search, crops.search), sizes)
    # The counter counts a multiplication and an addition as two.
    return Cost(
        _parameters(net),
        _parameters(net.head),
        embedding.get_total_flops() // 2,
        matching.get_total_flops() // 2,
    )


def proposal_parameters(model: Family) -> dict[str, int]:
    """Parameters of the proposal head with each kind of correlation, whichever the model has (SiamRPN++, section 3.4).

    Returns:
        By `model.correlation`: "up", "depthwise"; empty for families without that choice.
    """
    if not hasattr(model, "correlation") or getattr(model, "correlations", False):
        return {}
    counted = {}
    with torch.device("meta"):
        for kind in get_args(Correlation):
            net = replace(model, correlation=kind).build()
            counted[kind] = sum(_parameters(part) for part in net.modules() if isinstance(part, RpnHead))
    return counted


def _parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())
