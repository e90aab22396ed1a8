"""Heads and coders that several families share: what turns correlation features into candidates and back."""

from __future__ import annotations

from torch import nn

__all__ = ["init_outputs"]


def init_outputs(*layers: nn.Conv2d | nn.Linear) -> None:
    """Begin the last layers of a head near zero, so that an untrained head prefers nothing."""
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
