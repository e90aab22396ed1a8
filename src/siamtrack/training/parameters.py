"""The schedule: which parameters are trained at a step and at what rate; and their moving average."""

from __future__ import annotations

import math
import os
import shutil
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from siamtrack.config import Train
from siamtrack.models.siamese import SiameseNet


def settings_in_force(cfg: Train) -> Train:
    """The settings as they take effect: with `from_scratch` the whole backbone is trained from the first step.

    Freezing stages and BatchNorm statistics preserves pretraining, which random weights have not had.
    """
    return replace(cfg, frozen_stages=0, unfreeze_at=0.0, backbone_norm=True) if cfg.from_scratch else cfg


def learning_rate(train: Train, step: int) -> float:
    """The rate of neck and head at `step` (0 to train.steps - 1): warm-up, then the schedule's decay.

    With `epochs` the rate is that of the step's epoch, as in PySOT and siamfc-pytorch; PySOT's "step" warm-up
    and "log" decay are `warmup_shape = "exponential"` and `schedule = "logspace"`.
    """
    count = train.epochs or train.steps
    place = step * train.epochs // train.steps if train.epochs else step
    warm = round(train.warmup * count)
    if place < warm:
        if train.warmup_shape == "constant":
            return train.lr * train.warmup_from
        if train.warmup_shape == "exponential":
            return train.lr * math.pow(train.warmup_from, 1 - place / warm)
        return train.lr * (train.warmup_from + (1 - train.warmup_from) * (place + 1) / warm)
    last = count - warm - (train.schedule == "logspace")
    share = (place - warm) / max(1, last)
    if train.schedule == "drop":
        return train.lr * (train.final_rate if share >= train.drop_at else 1.0)
    if train.schedule == "cosine":
        return train.lr * 0.5 * (1 + math.cos(math.pi * share))
    return train.lr * math.exp(share * math.log(train.final_rate))


def backbone_trains(train: Train, step: int) -> bool:
    """Whether the backbone's later stages train at `step` (SiamRPN++, its published code: from epoch 10 of 20)."""
    return train.backbone_rate > 0 and step >= round(train.unfreeze_at * train.steps)


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


def clip_gradients(net: SiameseNet, limit: float) -> float:
    """Scale gradients down to a norm of `limit`, those of branches that are trained apart each on their own.

    Returns the norm of all of them before.
    """
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        part = next((part for part in net.trained_apart if part in name.split(".")), "")
        groups.setdefault(part, []).append(parameter)
    return math.hypot(*(float(nn.utils.clip_grad_norm_(group, limit)) for group in groups.values()))


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

    The network's tensors have to stay where they are. The decay begins smaller, at (step + 1) / (step + 10), so that
    early weights fade.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = {name: value.detach() for name, value in net.state_dict().items()}
        self.values = {name: value.clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step`, counted from 0."""
        weight = 1 - min(self.decay, (step + 1) / (step + 10))
        smooth = [name for name, value in self.values.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.values[n] for n in smooth], [self._live[n] for n in smooth], weight)
        for name in self.values.keys() - set(smooth):
            self.values[name].copy_(self._live[name])

    def load(self, values: dict[str, Tensor]) -> None:
        """Go on from stored values on any device."""
        for name, value in self.values.items():
            value.copy_(values[name])
