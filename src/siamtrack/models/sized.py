"""Matchers that also look at the target's size: an optional second face of the `Matcher` contract.

Most networks see two crops and nothing else. A second stage that pools features of boxes needs the target's own box
in the template, and where the target was in the search region. Both boxes are centred on their crop, so a width and
a height say everything. `embed` and `match` of this module serve either kind.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from siamtrack.models.siamese import Candidates, Matcher, Template

__all__ = ["SizedMatcher", "embed", "match"]


@runtime_checkable
class SizedMatcher(Protocol):
    """A `Matcher` that takes the targets' sizes too: (N, 2) width and height in pixels of the crop."""

    def embed_sized(self, patch: Tensor, sizes: Tensor) -> Template:
        """Template crops and the targets' sizes in them -> template features."""

    def match_sized(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        """Template features, search crops and the targets' last sizes in them -> candidates in crop pixels."""


def embed(net: Matcher, patch: Tensor, sizes: Tensor) -> Template:
    """Template crops -> template features, with the targets' sizes (N, 2) for a network that wants them."""
    return net.embed_sized(patch, sizes) if isinstance(net, SizedMatcher) else net.embed(patch)


def match(net: Matcher, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
    """Search crops -> candidates, with the targets' last sizes (N, 2) for a network that wants them."""
    if isinstance(net, SizedMatcher):
        return net.match_sized(template, patch, sizes)
    return net.match(template, patch)
