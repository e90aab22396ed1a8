"""Which parameters learn at a step, and how fast; and the moving average of all of them."""

from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from siamtrack.config import Train
from siamtrack.training.schedule import backbone_trains, learning_rate

__all__ = [
    "Average",
    "compile_frozen",
    "make_optimiser",
    "prepare",
    "set_rates",
    "settings_in_force",
    "unfreeze_backbone",
]  # fmt: skip


def settings_in_force(cfg: Train) -> Train:
    """The settings as they take effect: with `from_scratch` the whole backbone is trained from the first step.

    Stages are frozen, and BatchNorm statistics kept, to preserve what pretraining has taught them; random weights have
    been taught nothing.
    """
    return replace(cfg, frozen_stages=0, unfreeze_at=0.0, backbone_norm=True) if cfg.from_scratch else cfg


def prepare(net: nn.Module, cfg: Train) -> None:
    """Put the network into training mode, with the backbone's first stages frozen for good.

    A frozen stage keeps the BatchNorm statistics of its pretraining, as the whole backbone does until it is unfrozen.
    """
    net.train()
    if isinstance(backbone := getattr(net, "backbone", None), nn.Module):
        backbone.eval()
    for stage in _stages(net)[: cfg.frozen_stages]:
        stage.requires_grad_(False)


def compile_frozen(net: nn.Module, cfg: Train, device: torch.device) -> None:
    """Run the stages that are frozen for good through torch.compile, if the settings say so; a warning if it cannot."""
    if not cfg.compile or not cfg.frozen_stages:
        return
    if device.type == "cpu" and not any(map(shutil.which, [os.environ.get("CXX", ""), "g++", "clang++", "cl"])):
        warnings.warn("train.compile needs a C++ compiler, and there is none here: going on without", stacklevel=2)
        return
    for stage in _stages(net)[: cfg.frozen_stages]:
        if not isinstance(stage, nn.ModuleList):
            stage.compile()


def make_optimiser(net: nn.Module, cfg: Train) -> torch.optim.Optimizer:
    """Three groups: the backbone, and the rest with and without weight decay (norms and biases have none)."""
    trained = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    backbone = [p for name, p in trained if name.startswith("backbone.")]
    rest = [p for name, p in trained if not name.startswith("backbone.")]
    groups: list[dict[str, Any]] = [
        {"params": backbone, "weight_decay": cfg.weight_decay},
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": cfg.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if cfg.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=cfg.lr, momentum=cfg.momentum)
    return torch.optim.AdamW(groups, lr=cfg.lr)


def unfreeze_backbone(net: nn.Module, cfg: Train, step: int) -> None:
    """Unfreeze or freeze the backbone's later stages, as the schedule has it at `step`."""
    opened = backbone_trains(cfg, step)
    for stage in _stages(net)[cfg.frozen_stages :]:
        stage.requires_grad_(opened)
        stage.train(opened and cfg.backbone_norm)


def set_rates(optimiser: torch.optim.Optimizer, cfg: Train, step: int) -> None:
    """Give each group of `make_optimiser` its learning rate at `step`."""
    rate = learning_rate(cfg, step)
    for group, share in zip(optimiser.param_groups, (cfg.backbone_rate, 1.0, 1.0), strict=True):
        group["lr"] = rate * share


def _stages(net: nn.Module) -> list[nn.Module]:
    backbone = getattr(net, "backbone", None)
    return [] if backbone is None else list(backbone.stages())


class Average:
    """The exponential moving average of a network's weights and statistics; counters are copied.

    Args:
        net: the network; its tensors have to stay where they are.
        decay: of the average; it begins smaller, at (step + 1) / (step + 10), so that early weights fade.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = {name: value.detach() for name, value in net.state_dict().items()}
        self.values = {name: value.clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after the step of that number, counted from 0."""
        weight = 1 - min(self.decay, (step + 1) / (step + 10))
        smooth = [name for name, value in self.values.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.values[n] for n in smooth], [self._live[n] for n in smooth], weight)
        for name in self.values.keys() - set(smooth):
            self.values[name].copy_(self._live[name])

    def load(self, values: dict[str, Tensor]) -> None:
        """Go on from stored values, wherever they lie."""
        for name, value in self.values.items():
            value.copy_(values[name])
