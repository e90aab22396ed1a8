"""Learning rates and trainable layers as pure functions of the step."""

from __future__ import annotations

import math

from siamtrack.config import Train

__all__ = ["backbone_trains", "learning_rate"]


def learning_rate(train: Train, step: int) -> float:
    """The rate of neck and head at `step` (0 to train.steps - 1): linear warm-up, then the schedule's decay."""
    warm = round(train.warmup * train.steps)
    if step < warm:
        return train.lr * (step + 1) / warm
    share = (step - warm) / max(1, train.steps - warm)
    if train.schedule == "cosine":
        return train.lr * 0.5 * (1 + math.cos(math.pi * share))
    return train.lr * math.exp(share * math.log(train.final_rate))


def backbone_trains(train: Train, step: int) -> bool:
    """Whether the backbone's open stages are trained at `step` (SiamRPN++, section 4.1: from epoch 10 of 20)."""
    return step >= train.unfreeze_at * train.steps
