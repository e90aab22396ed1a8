"""What the families' losses share: the batch, counts over all processes, generators by part, and weighted sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from siamtrack.errors import ConfigError

T = TypeVar("T")

Generators = Sequence[torch.Generator]
"""The generators of a batch's parts, each for an equal share of its pairs, in their order."""

Terms = dict[str, Tensor]
"""The terms of a loss by name, each a scalar without its weight, and their weighted sum `total`."""


@dataclass(frozen=True)
class TrainingBatch:
    """B training pairs, on the network's device.

    Attributes:
        template: (B, 3, T, T) float32 RGB 0..255.
        search: (B, 3, S, S) float32 RGB 0..255.
        boxes: (B, 4) xyxy of the search crop's own object, in its pixels.
        present: (B,) bool: the template shows that object.
        template_boxes: (B, 4) xyxy of the template crop's own object, in its pixels.
        alike: (B,) bool: the template shows that object or another one of its category; None for `present`.
        others: (B, M, 4) xyxy of other labelled objects that the search crop shows, in its pixels and nearest to the
            target first; nan where there are fewer than M.
        others_alike: (B, M) bool: they are of the same named category as the template's object.
    """

    template: Tensor
    search: Tensor
    boxes: Tensor
    present: Tensor
    template_boxes: Tensor
    alike: Tensor | None = None
    others: Tensor | None = None
    others_alike: Tensor | None = None

    @property
    def template_sizes(self) -> Tensor:
        """(B, 2) width and height of the template crop's object: what `Matcher.embed` takes."""
        return self.template_boxes[:, 2:] - self.template_boxes[:, :2]


def weighted(terms: Terms, weights: Sequence[float]) -> Terms:
    """Add `total`, the terms times their weights; raises `ConfigError` for another number of weights than of terms."""
    if len(weights) != len(terms):
        names = ", ".join(terms)
        raise ConfigError(f"model.loss_weights needs {len(terms)} numbers, for {names}; got {len(weights)}")
    total = torch.stack([weight * term for weight, term in zip(weights, terms.values(), strict=True)]).sum()
    return {**terms, "total": total}


def joint_count(count: Tensor, floor: float = 1.0) -> Tensor:
    """Divisor of a loss's sum, so that the mean over the processes is the loss of the joint batch.

    It is the joint count, at least `floor`, over the number of processes; `count` is a number or sum of weights in this
    process's part of the batch, a scalar.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return count.clamp(min=floor)
    joint = count.detach().float().clone()
    dist.all_reduce(joint)
    return joint.clamp(min=floor) / dist.get_world_size()


def joint_mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean of the values where the mask of their shape is set, over all processes; 0 where it is empty.

    Values outside the mask may be infinite or nan.
    """
    return torch.where(where, values, 0.0).sum() / joint_count(where.sum())


def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in which positives and negatives make up one half each; without positives, the negative half only.

    Args:
        logits: (B, 2, ...) of background and target.
        labels: (B, ...) int64, 1 target, 0 background, -1 left out.
    """
    surprise = F.cross_entropy(logits.float(), labels.clamp(min=0), reduction="none")
    return 0.5 * (joint_mean(surprise, labels == 1) + joint_mean(surprise, labels == 0))


def draw_some(mask: Tensor, count: int, rng: torch.Generator | None) -> Tensor:
    """(B, K) bool -> the same with at most `count` of each row's True kept, drawn at random."""
    device = mask.device if rng is None else rng.device
    keys = torch.rand(mask.shape, generator=rng, device=device).to(mask.device)
    chosen = keys.masked_fill(~mask, -1.0).topk(min(count, mask.shape[1]), dim=1).indices
    return torch.zeros_like(mask).scatter(1, chosen, True) & mask


def by_part(call: Callable[..., T], rngs: Generators, *values: Tensor) -> T:
    """Call with each part's rows of some tensors and its own generator, and join the results.

    The random draws for a pair then do not depend on the number of processes.
    """
    shares = zip(*(value.chunk(len(rngs)) for value in values), strict=True)
    joint: T = join_parts([call(*rows, rng) for rows, rng in zip(shares, rngs, strict=True)])
    return joint


def join_parts(parts: Sequence[Any]) -> Any:
    """Tensors, or dataclasses of tensors, one after the other, field by field."""
    first = parts[0]
    if len(parts) == 1 or first is None:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, tuple):
        return sum(parts, ())
    return type(first)(**{f.name: join_parts([getattr(part, f.name) for part in parts]) for f in fields(first)})
