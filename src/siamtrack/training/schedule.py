"""Learning rates and trainable layers as pure functions of the step."""

from __future__ import annotations

import math

from siamtrack.config import Train

__all__ = ["backbone_trains", "learning_rate"]


def learning_rate(train: Train, step: int) -> float:
    """The rate of neck and head at `step` (0 to train.steps - 1): warm-up, then the schedule's decay.

    With `epochs` the rate is that of the step's epoch, as in PySOT and siamfc-pytorch; PySOT's "step" warm-up
    and "log" decay are `warmup_shape = "exponential"` and `schedule = "logspace"`.
    """
    count = train.epochs or train.steps
    place = step * train.epochs // train.steps if train.epochs else step
    warm = round(train.warmup * count)
    if place < warm:
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
