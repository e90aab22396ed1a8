"""SPM-Tracker's network: a coarse stage that proposes, a fine stage that compares, and the fusion of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from siamtrack.geometry.boxes import cxcywh_to_xyxy
from siamtrack.models.fine import FineStage, refine_boxes
from siamtrack.models.heads.anchors import AnchorCoder
from siamtrack.models.necks import centre_cells
from siamtrack.models.proposals import propose
from siamtrack.models.siamese import Candidates, Maps, Normalise, Template

__all__ = ["SpmFusion", "SpmHead", "SpmNeck", "SpmNet", "centred"]


@dataclass(frozen=True)
class SpmFusion:
    """How proposals are chosen, and how two scores and two boxes become one (SPM, equation 2).

    Attributes:
        count: K, proposals that reach the fine stage.
        overlap: of the suppression among them.
        mode: "series" believes the fine stage alone; "series_parallel" blends both stages.
        cls_weight: W_cls, of the fine score in the blend; the coarse one has the rest.
        box_weight: W_box: the two boxes are averaged, the coarse one weighted by its score, the fine one by W_box
            times its score.
    """

    count: int = 9
    overlap: float = 0.5
    mode: Literal["series", "series_parallel"] = "series_parallel"
    cls_weight: float = 0.5
    box_weight: float = 3.0

    def fuse(self, coarse: Tensor, fine: Tensor, boxes: Tensor, refined: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, K) and boxes (B, K, 4) of both stages -> the final ones."""
        if self.mode == "series":
            return fine, refined
        scores = (1 - self.cls_weight) * coarse + self.cls_weight * fine
        own, other = coarse, self.box_weight * fine
        share = (own / (own + other).clamp(min=1e-5))[..., None]
        return scores, boxes * share + refined * (1 - share)


class SpmNeck(nn.Module):
    """Splits the backbone's levels between the stages: one map for the coarse one, as many as wanted for the fine.

    Args:
        coarse: neck of the coarse stage's levels, to one map.
        coarse_levels: which of the backbone's maps it gets.
        fine_levels: which the fine stage gets, as they are.
        template_cells: side of the coarse template's middle.
    """

    def __init__(
        self,
        coarse: nn.Module,
        coarse_levels: tuple[int, ...],
        fine_levels: tuple[int, ...],
        template_cells: int,
    ) -> None:
        super().__init__()
        self.coarse = coarse
        self.coarse_levels = coarse_levels
        self.fine_levels = fine_levels
        self.template_cells = template_cells

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone maps -> the coarse stage's map, then the fine stage's."""
        (coarse,) = self.coarse(tuple(features[i] for i in self.coarse_levels), template)
        if template:
            coarse = centre_cells(coarse, self.template_cells)
        return (coarse, *(features[i] for i in self.fine_levels))


class SpmHead(nn.Module):
    """The two stages' learned parts; `fine` is None for the coarse stage alone."""

    def __init__(self, coarse: nn.Module, fine: FineStage | None) -> None:
        super().__init__()
        self.coarse = coarse
        self.fine = fine


class SpmNet(nn.Module):
    """A `SizedMatcher`: the fine stage pools the target's own box of the template.

    A template is the coarse stage's kernel features (N, C, t, t) and, with a fine stage, the pooled target
    (N, C', n, n). Without sizes, both boxes are taken to be squares of the size that the crop implies.
    """

    def __init__(
        self,
        normalise: Normalise,
        backbone: nn.Module,
        neck: SpmNeck,
        head: SpmHead,
        coder: AnchorCoder,
        fusion: SpmFusion,
        template_size: int = 127,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.coder = coder
        self.fusion = fusion
        self.template_size = template_size

    def features(self, patch: Tensor, template: bool) -> tuple[Tensor, ...]:
        """RGB patches (B, 3, S, S), 0..255 -> the coarse stage's map, then the fine stage's."""
        levels: tuple[Tensor, ...] = self.neck(self.backbone(self.normalise(patch)), template)
        return levels

    def embed(self, patch: Tensor) -> Template:
        """Template crops -> template features, as if the targets were square."""
        return self.embed_sized(patch, self._square(patch))

    def embed_sized(self, patch: Tensor, sizes: Tensor) -> Template:
        """Template crops and the targets' (N, 2) width and height in them -> template features."""
        coarse, *levels = self.features(patch, template=True)
        if self.head.fine is None:
            return (coarse,)
        return coarse, self.head.fine.pool(tuple(levels), centred(sizes, patch.shape[-1])[:, None])[:, 0]

    def respond(self, template: Template, patch: Tensor) -> Maps:
        """Template features and search crops -> the coarse stage's raw maps."""
        return self.coarse(template, self.features(patch, template=False))

    def coarse(self, template: Template, features: tuple[Tensor, ...]) -> Maps:
        """Template and search features -> the coarse stage's raw maps."""
        maps: Maps = self.head.coarse(template[:1], features[:1])
        return maps

    def match(self, template: Template, patch: Tensor) -> Candidates:
        """Template features and search crops -> candidates, as if the targets had been square."""
        return self.match_sized(template, patch, self._square(patch))

    def match_sized(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        """Template features, search crops and the targets' last (N, 2) sizes in them -> K candidates.

        Without a fine stage, all the coarse stage's candidates.
        """
        size, features = patch.shape[-1], self.features(patch, template=False)
        found = self.coder.decode(self.coarse(template, features), size)
        fine = self.head.fine
        if fine is None or found.sizes is None:
            return found
        boxes = torch.cat([found.centres, found.sizes], -1)
        index = propose(
            cxcywh_to_xyxy(boxes), found.scores, centred(sizes, size), self.fusion.count, self.fusion.overlap
        )
        boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        logits, offsets = fine(template[1], fine.pool(features[1:], cxcywh_to_xyxy(boxes)))
        scores, boxes = self.fusion.fuse(
            found.scores.gather(1, index),
            logits.float().softmax(-1)[..., 1],
            boxes,
            refine_boxes(boxes, offsets),
        )
        places = (boxes[..., :2] / size * 2 - 1).clamp(-1, 1)
        return Candidates(boxes[..., :2], boxes[..., 2:], scores, places)

    def _square(self, patch: Tensor) -> Tensor:
        side = self.template_size / 2
        return patch.new_full((len(patch), 2), side)


def centred(sizes: Tensor, crop: int) -> Tensor:
    """(N, 2) width and height -> (N, 4) xyxy boxes in the middle of crops of `crop` pixels."""
    return torch.cat([crop / 2 - sizes / 2, crop / 2 + sizes / 2], 1)
