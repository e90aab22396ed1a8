"""SPM-Tracker (Wang et al., CVPR 2019): a coarse stage proposes, a fine stage compares; both are fused.

Its generalized training is `data.same_category`, with the shares `data.negative`, `negative_same` and `video_share`.
In this order: the configuration, the network, the fine stage, the proposals, and what the fine stage learns from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic import dataclasses as pydantic
from torch import Tensor, nn

from siamtrack.errors import ConfigError
from siamtrack.geometry.boxes import box_iou, cxcywh_to_xyxy, nms, xyxy_to_cxcywh
from siamtrack.models.backbones import build_backbone, check_levels, normalisation
from siamtrack.models.correlation import CorrelationMerge, CorrelationPart
from siamtrack.models.families.siamcar import CarHead, SidesCoder, car_loss
from siamtrack.models.fields import STRICT, AnchorRatio, AnchorScale, AnchorSides, LossWeight, refusing
from siamtrack.models.heads import (
    AnchorCoder,
    Correlation,
    LightRpnHead,
    RpnHead,
    anchor_terms,
    init_outputs,
)
from siamtrack.models.losses import (
    Generators,
    Terms,
    TrainingBatch,
    balanced_cross_entropy,
    by_part,
    joint_mean,
    weighted,
)
from siamtrack.models.necks import centre_cells, optional_projection
from siamtrack.models.roi_align import roi_align
from siamtrack.models.siamese import (
    Backbone,
    Candidates,
    Head,
    LinearMap,
    Maps,
    Neck,
    Normalise,
    SiameseNet,
    Template,
)
from siamtrack.models.weights import scale_and_shift

CoarseKind = Literal["anchors", "sides"]
FineKind = Literal["relation", "relation_3x3", "correlation"]

# Offsets are learned in these units, so that they are of the order of one (published code).
_UNITS = (5.0, 5.0, 10.0, 10.0)
# exp of more than this is 7 times the proposal: a wild prediction, not a box.
_MAX_LOG_RATIO = 2.0
# Sides of proposals and targets count as at least this many pixels where something is divided by them.
_MIN_SIDE = 1e-3
# Among proposals that overlap the last box by more, the best scored one counts as the nearest (published code).
_NEAR = 0.8
# Proposals a pair that the fine stage learns from, one half of them positive.
_SAMPLES = 48
# A proposal is positive from this overlap with the target on.
_POSITIVE = 0.5
# Negatives are drawn from this many of the best scored proposals: those that the fine stage will meet.
_HARD = 256
# Shaken copies of the target join the proposals, as an untrained coarse stage has no good ones: their number, and the
# largest change of centres and sides as a share of the sides.
_COPIES = 32
_SHAKE = 0.15


@refusing
@pydantic.dataclass(frozen=True, config=STRICT)
class Spm:
    """Fields are the paper's choices and ablations (tables 1 and 2, figure 6, section 5.3).

    The defaults are the published tracker. The paper names conv2 with 384 and conv4 with 256 channels; in its published
    AlexNet, as in ours, it is the other way round.

    Attributes:
        backbone: its name; see `build_backbone`.
        coarse: what proposes: "anchors" as SiamRPN's (section 3.2), or "sides", SiamCAR's head in its light form, a
            choice of this project.
        levels: of the coarse stage; several are merged at the finest stride and need a `width`.
        fine_levels: which the fine stage pools from.
        fine: how the pair is compared: by a "relation" network, whose convolution is 1 x 1 (section 3.3), or, as
            "relation_3x3", 3 x 3 with padding (published code); by "correlation"; "none" for the coarse stage alone.
        fusion: "series", the fine stage's result, or "series_parallel", blended with the coarse one (equation 2).
        proposals: K.
        overlap: of the suppression among proposals.
        low_score: a proposal with less than this share of the best coarse score is no candidate (section 4.3; the share
            is the published code's). The one nearest to the last box is kept apart from this: it stays, and is not the
            best that others are compared with.
        cls_weight: W_cls of equation 2, of the fine score; this and the next are the published code's.
        box_weight: W_box of equation 2: boxes are averaged with the coarse score and W_box times the fine one as
            weights.
        correlation: of the coarse stage: "up" as SiamRPN's, or "depthwise".
        correlation_gain: factor on the up-channel correlation; see `RpnHead`.
        correlations: for small networks, in its place: what `LightRpnHead` concatenates.
        width: channels after a 1 x 1 projection, for small networks; 0 leaves the features as they are.
        template_cells: side of the coarse template's middle: 6, or 7 with a projection.
        search_cells: side of the coarse search features' middle; 0 for all. The paper's coarse stage uses "central
            features without padding" (section 4.1): 24 of 34 cells in the published code.
        squeeze: channels after the relation network's convolution.
        ratios: height / width of the anchors, or their width and height in pixels before scaling.
        scale: side of the anchors in strides.
        tower: of "sides": number of convolutions of each tower.
        unit: of "sides": pixels that an untrained head predicts for each side.
        loss_weights: of the coarse stage's classification and box terms, then the fine stage's (section 4.2, the
            lambdas of equation 1). Centre-ness, which "sides" has, counts as the classification does.
        smooth_l1: the coarse stage's offsets are compared by smooth L1 (section 4.2), not by L1, as in PySOT.
    """

    family: Literal["spm"] = "spm"
    backbone: str = "alexnet_padded"
    coarse: CoarseKind = "anchors"
    levels: tuple[int, ...] = Field(default=(5,), min_length=1)
    fine_levels: tuple[int, ...] = Field(default=(2, 4), min_length=1)
    fine: FineKind | Literal["none"] = "relation"
    fusion: Literal["series", "series_parallel"] = "series_parallel"
    proposals: int = Field(default=9, ge=1, le=100)
    overlap: float = Field(default=0.5, gt=0, lt=1)
    low_score: float = Field(default=0.1, ge=0, lt=1)
    cls_weight: float = Field(default=0.5, ge=0, le=1)
    box_weight: float = Field(default=3.0, ge=0)
    correlation: Correlation = "up"
    correlation_gain: float = Field(default=1.0, gt=0)
    correlations: tuple[CorrelationPart, ...] = ()
    width: int = Field(default=0, ge=0, le=1024)
    template_cells: int = Field(default=6, ge=3, le=64)
    search_cells: int = Field(default=0, ge=0, le=128)
    squeeze: int = Field(default=256, ge=1, le=1024)
    ratios: tuple[AnchorRatio | AnchorSides, ...] = Field(default=(0.33, 0.5, 1, 2, 3), min_length=1)
    scale: AnchorScale = 8
    tower: int = Field(default=3, ge=0, le=8)
    unit: float = Field(default=1.0, gt=0)
    loss_weights: tuple[LossWeight, LossWeight, LossWeight, LossWeight] = (1.0, 2.0, 1.0, 1.0)
    smooth_l1: bool = False

    def build(self) -> SpmNet:
        """The network with random weights.

        Raises:
            ConfigError: an unknown backbone or level, several levels without a `width`, or "sides" without
                `correlations`.
        """
        check_levels(self.levels)
        check_levels(self.fine_levels)
        if len(self.levels) > 1 and not self.width:
            raise ConfigError(f"levels {self.levels} are merged, which needs a width above 0")
        if self.coarse == "sides" and not self.correlations:
            raise ConfigError('coarse "sides" needs correlations, as ["depthwise"]')
        fine_levels = () if self.fine == "none" else self.fine_levels
        levels = tuple(sorted({*self.levels, *fine_levels}))
        backbone = build_backbone(self.backbone, levels)
        channels = dict(zip(levels, backbone.channels, strict=True))
        strides = dict(zip(levels, backbone.strides, strict=True))
        width = self.width or channels[self.levels[-1]]
        coarse = optional_projection(tuple(channels[i] for i in self.levels), self.width, self.template_cells)
        at = {level: i for i, level in enumerate(levels)}
        first_maps, second_maps = tuple(at[i] for i in self.levels), tuple(at[i] for i in fine_levels)
        neck = SpmNeck(coarse, first_maps, second_maps, self.template_cells, self.search_cells)
        first, coder = self._coarse_stage(width, min(strides[i] for i in self.levels))
        second = None
        if self.fine != "none":
            inputs, steps = tuple(channels[i] for i in fine_levels), tuple(strides[i] for i in fine_levels)
            second = FineStage(inputs, steps, self.fine, self.squeeze)
        return SpmNet(normalisation(self.backbone), backbone, neck, SpmHead(first, second), coder, self)

    def _coarse_stage(self, width: int, stride: int) -> tuple[Head, AnchorCoder | SidesCoder]:
        """What proposes boxes from maps of `width` channels, and the code of its maps."""
        if self.coarse == "sides":
            merge = CorrelationMerge(width, 1, width, self.correlations, self.template_cells, norm=True)
            return CarHead(merge, width, self.tower, separable=True, unit=self.unit), SidesCoder(float(stride))
        anchors = len(self.ratios)
        coder = AnchorCoder(stride=stride, scale=self.scale, ratios=self.ratios)
        if self.correlations:
            return LightRpnHead(width, anchors, self.correlations, self.template_cells), coder
        return RpnHead((width,), anchors, self.correlation, gain=self.correlation_gain), coder

    def fuse(self, coarse: Tensor, fine: Tensor, boxes: Tensor, refined: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, K) and boxes (B, K, 4) of both stages -> the final ones (equation 2)."""
        if self.fusion == "series":
            return fine, refined
        scores = (1 - self.cls_weight) * coarse + self.cls_weight * fine
        own, other = coarse, self.box_weight * fine
        share = (own / (own + other).clamp(min=1e-5))[..., None]
        return scores, boxes * share + refined * (1 - share)

    def loss(self, net: SiameseNet, batch: TrainingBatch, rngs: Generators) -> Terms:
        """Forward pass and loss of one batch: `cls`, `loc`, with a fine stage `fine_cls`, `fine_loc`, and `total`.

        Both stages train the backbone; no gradient flows through the proposals' boxes. In generalized training
        (`data.same_category`), all objects of the template's category are targets of a coarse stage of "anchors"
        (figure 3), only the object itself of the fine stage, and of "sides". `rngs` draw the anchors and proposals to
        learn from.
        """
        if not isinstance(net, SpmNet):
            raise TypeError(f"expected the network that this family builds; got {type(net).__name__}")
        size = batch.search.shape[-1]
        template, search = net.embed_boxes(batch.template, batch.template_boxes), net.features(batch.search, False)
        maps, fine = net.head(template, search), net.head.fine
        if isinstance(net.coder, SidesCoder):
            cells = maps["cls"].shape[-1]
            terms: Terms = car_loss(maps, net.coder.encode(batch.boxes, batch.present, cells, size))
        else:
            terms = anchor_terms(maps, net.coder, batch, rngs, self.smooth_l1, alike=True)
        if fine is not None:
            with torch.no_grad():
                found = net.coder.decode(maps, size)
            assert found.sizes is not None  # both kinds of coarse stage have sizes
            proposals = torch.cat([found.centres, found.sizes], -1)
            samples = by_part(fine_samples, rngs, proposals, found.scores, batch.boxes, batch.present)
            pooled = net.pool(search[1:], cxcywh_to_xyxy(samples.boxes), size)
            logits, offsets = fine(template[1], pooled)
            terms |= fine_loss(logits, offsets, samples)
        weights = dict(zip(("cls", "loc", "fine_cls", "fine_loc"), self.loss_weights, strict=True))
        weights["cen"] = weights["cls"]
        return weighted(terms, [weights[name] for name in terms])


class SpmNeck(Neck):
    """Splits the backbone's maps between the stages.

    Args:
        coarse: neck of the coarse stage, to one map.
        coarse_levels: indices of the maps that it gets.
        fine_levels: indices of the maps that the fine stage gets, unchanged.
        template_cells: side of the coarse template's middle.
        search_cells: the same of search regions; 0 for all cells.
    """

    def __init__(
        self,
        coarse: Neck,
        coarse_levels: tuple[int, ...],
        fine_levels: tuple[int, ...],
        template_cells: int,
        search_cells: int,
    ) -> None:
        super().__init__()
        self.coarse = coarse
        self.coarse_levels = coarse_levels
        self.fine_levels = fine_levels
        self.template_cells = template_cells
        self.search_cells = search_cells

    def forward(self, features: tuple[Tensor, ...], template: bool) -> tuple[Tensor, ...]:
        """Backbone maps -> the coarse stage's map, then the fine stage's."""
        (coarse,) = self.coarse(tuple(features[i] for i in self.coarse_levels), template)
        if cells := self.template_cells if template else self.search_cells:
            coarse = centre_cells(coarse, cells)
        return (coarse, *(features[i] for i in self.fine_levels))

    def adopt(self, other: Neck, maps: Sequence[LinearMap]) -> None:
        """See `Neck`."""
        assert isinstance(other, SpmNeck)
        self.coarse.adopt(other.coarse, [maps[i] for i in self.coarse_levels])


class SpmHead(Head):
    """The two stages' learned parts, whose maps are those of the coarse one; `fine` may be None."""

    def __init__(self, coarse: Head, fine: FineStage | None) -> None:
        super().__init__()
        self.coarse = coarse
        self.fine = fine

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """Features of both sides, the coarse stage's first -> its raw maps."""
        maps: Maps = self.coarse(template[:1], search[:1])
        return maps


class SpmNet(SiameseNet):
    """Coarse stage, proposals, fine stage and fusion.

    A template is the coarse stage's kernel (N, C, t, t) and, with a fine stage, the pooled target (N, C', n, n).
    """

    neck: SpmNeck
    head: SpmHead
    coder: AnchorCoder | SidesCoder

    def __init__(
        self,
        normalise: Normalise,
        backbone: Backbone,
        neck: SpmNeck,
        head: SpmHead,
        coder: AnchorCoder | SidesCoder,
        config: Spm,
    ) -> None:
        super().__init__(normalise, backbone, neck, head, coder)
        self.config = config

    def adopt(self, other: SiameseNet, maps: Sequence[LinearMap]) -> None:
        """See `Neck.adopt`; the fine stage takes in the maps of its own levels."""
        assert isinstance(other, SpmNet)
        super().adopt(other, maps)
        if self.head.fine is not None and other.head.fine is not None:
            self.head.fine.adopt(other.head.fine, [maps[i] for i in self.neck.fine_levels])

    def embed(self, patch: Tensor, sizes: Tensor) -> Template:
        """See `Matcher`."""
        return self.embed_boxes(patch, centred(sizes, patch.shape[-1]))

    def embed_boxes(self, patch: Tensor, boxes: Tensor) -> Template:
        """Template crops and the targets' boxes (N, 4) xyxy in them -> template features."""
        coarse, *levels = self.features(patch, template=True)
        if self.head.fine is None:
            return (coarse,)
        return coarse, self.pool(tuple(levels), boxes[:, None], patch.shape[-1])[:, 0]

    def pool(self, levels: tuple[Tensor, ...], boxes: Tensor, size: int) -> Tensor:
        """The fine stage's levels of crops of `size` pixels, boxes (B, K, 4) xyxy -> (B, K, C', n, n)."""
        assert self.head.fine is not None
        first = self.backbone.first_cells(int(size))
        return self.head.fine.pool(levels, boxes, tuple(first[i] for i in self.neck.fine_levels))

    def match(self, template: Template, patch: Tensor, sizes: Tensor) -> Candidates:
        """See `Matcher`: K candidates; without a fine stage, all of the coarse stage's."""
        fine = self.head.fine
        if fine is None:
            return super().match(template, patch, sizes)
        size, features = patch.shape[-1], self.features(patch, template=False)
        found = self.coder.decode(self.head(template, features), size)
        assert found.sizes is not None  # both kinds of coarse stage have sizes
        boxes = torch.cat([found.centres, found.sizes], -1)
        last = centred(sizes, size)
        cfg = self.config
        index = propose(cxcywh_to_xyxy(boxes), found.scores, last, cfg.proposals, cfg.overlap, cfg.low_score)
        boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        logits, offsets = fine(template[1], self.pool(features[1:], cxcywh_to_xyxy(boxes), size))
        coarse, second = found.scores.gather(1, index), logits.float().softmax(-1)[..., 1]
        scores, boxes = cfg.fuse(coarse, second, boxes, refine_boxes(boxes, offsets))
        positions = (boxes[..., :2] / size * 2 - 1).clamp(-1, 1)
        return Candidates(boxes[..., :2], boxes[..., 2:], scores, positions)


def centred(sizes: Tensor, crop: int) -> Tensor:
    """(N, 2) width and height -> (N, 4) xyxy boxes in the middle of crops of `crop` pixels."""
    return torch.cat([crop / 2 - sizes / 2, crop / 2 + sizes / 2], 1)


class RelationNetwork(nn.Module):
    """A learned distance: both sides concatenated, one convolution, two fully connected layers.

    Args:
        channels: of the pooled features.
        cells: their side.
        squeeze: channels after the convolution.
        hidden: width of the fully connected layers.
        kernel: side of the convolution, an odd number; it pads.
    """

    def __init__(self, channels: int, cells: int, squeeze: int, hidden: int, kernel: int = 1) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(2 * channels, squeeze, kernel, padding=kernel // 2), nn.ReLU())
        self.fully = _fully(squeeze * cells**2, hidden)

    @property
    def squeezing(self) -> nn.Conv2d:
        """The convolution that reads the pooled features."""
        found = self.squeeze[0]
        assert isinstance(found, nn.Conv2d)
        return found

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """(N, C, n, n) template and proposal features -> (N, hidden)."""
        out: Tensor = self.fully(self.squeeze(torch.cat([z, x], 1)).flatten(1))
        return out


class CorrelationNetwork(nn.Module):
    """The ablation: a correlation channel by channel in place of a learned distance.

    Both sides share the 1 x 1 convolution; the products are summed over the cells of each channel.
    """

    def __init__(self, channels: int, cells: int, squeeze: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.scale = 1 / cells**2
        self.fully = _fully(squeeze, hidden)

    @property
    def squeezing(self) -> nn.Conv2d:
        """The 1 x 1 convolution, which reads the pooled features."""
        return self.squeeze

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """(N, C, n, n) template and proposal features -> (N, hidden)."""
        out: Tensor = self.fully((self.squeeze(z) * self.squeeze(x)).sum((2, 3)) * self.scale)
        return out


def _fully(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())


class FineStage(nn.Module):
    """Pools proposals from several feature levels, compares each with the template and refines its box.

    Args:
        channels: of the feature levels; each has a BatchNorm, for they differ in scale (published code).
        strides: of the feature levels in pixels.
        kind: see `Spm.fine`.
        squeeze: channels after the first convolution.
        hidden: width of the fully connected layers.
        cells: side of the pooled features.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        kind: FineKind = "relation",
        squeeze: int = 256,
        hidden: int = 256,
        cells: int = 6,
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels)
        self.strides = strides
        self.cells = cells
        count = sum(channels)
        self.compare: RelationNetwork | CorrelationNetwork = (
            CorrelationNetwork(count, cells, squeeze, hidden)
            if kind == "correlation"
            else RelationNetwork(count, cells, squeeze, hidden, 3 if kind == "relation_3x3" else 1)
        )
        self.cls = nn.Linear(hidden, 2)
        self.loc = nn.Linear(hidden, 4)
        init_outputs(self.cls, self.loc)

    def adopt(self, other: FineStage, maps: Sequence[LinearMap]) -> None:
        """Do as `other` does; see `Neck.adopt`."""
        kernels, constants = [], []
        for norm, theirs, level in zip(self.norms, other.norms, maps, strict=True):
            assert isinstance(norm, nn.BatchNorm2d) and isinstance(theirs, nn.BatchNorm2d)
            scale, shift = scale_and_shift(theirs)
            deviation = (level.variance + norm.eps).sqrt()
            kernels.append(scale[:, None] * level.weight * deviation)
            constants.append(scale * (level.weight @ level.mean + level.bias) + shift)
            norm.reset_parameters()
            norm.load_state_dict({"running_mean": level.mean, "running_var": level.variance}, strict=False)
        change, constant = torch.block_diag(*kernels), torch.cat(constants)  # type: ignore[no-untyped-call]
        own, first = self.compare.squeezing, other.compare.squeezing
        # In the relation network both sides of a pair lie one after the other, with the same levels. What a kernel of 3
        # sees beyond the pooled cells has no constant: at the border the two agree but nearly.
        sides = [side.movedim(1, -1) for side in first.weight.chunk(first.in_channels // len(change), 1)]
        bias = first.bias if first.bias is not None else torch.zeros(first.out_channels)
        own.load_state_dict(
            {
                "weight": torch.cat([(side @ change).movedim(-1, 1) for side in sides], 1),
                "bias": bias + torch.stack([(side @ constant).sum((1, 2)) for side in sides]).sum(0),
            }
        )

    def pool(self, levels: tuple[Tensor, ...], boxes: Tensor, first: tuple[float, ...]) -> Tensor:
        """Levels (B, C_l, H_l, W_l) and boxes (B, K, 4) xyxy in crop pixels -> (B, K, sum of C_l, cells, cells).

        `first` is the middle of each level's first cell in crop pixels.
        """
        pooled = [
            roi_align(norm(x), boxes, stride, self.cells, first=middle)
            for norm, x, stride, middle in zip(self.norms, levels, self.strides, first, strict=True)
        ]
        return torch.cat(pooled, 2)

    def forward(self, template: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, n, n) template and (B, K, C, n, n) proposals -> logits (B, K, 2) and offsets (B, K, 4)."""
        batch, count = pooled.shape[:2]
        z = template[:, None].expand_as(pooled).flatten(0, 1)
        seen = self.compare(z, pooled.flatten(0, 1))
        return self.cls(seen).reshape(batch, count, 2), self.loc(seen).reshape(batch, count, 4)


def box_offsets(boxes: Tensor, targets: Tensor) -> Tensor:
    """What leads from boxes to targets: (..., 4), (..., 4) centre and size -> (..., 4) in the network's units."""
    sizes = boxes[..., 2:].clamp(min=_MIN_SIDE)
    shift = (targets[..., :2] - boxes[..., :2]) / sizes
    stretch = (targets[..., 2:].clamp(min=_MIN_SIDE) / sizes).log()
    return torch.cat([shift, stretch], -1) * boxes.new_tensor(_UNITS)


def refine_boxes(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Apply offsets: (..., 4) centre and size, (..., 4) in the network's units -> (..., 4) centre and size."""
    change = offsets.float() / boxes.new_tensor(_UNITS)
    centres = boxes[..., :2] + change[..., :2] * boxes[..., 2:]
    sizes = boxes[..., 2:] * change[..., 2:].clamp(max=_MAX_LOG_RATIO).exp()
    return torch.cat([centres, sizes], -1)


def nearest_to(boxes: Tensor, scores: Tensor, last: Tensor) -> Tensor:
    """The proposal nearest to the target's last box: (B, P, 4), (B, P) in [0, 1], (B, 4) -> (B, 1) indices.

    The best scored of those that overlap it by more than 0.8, else the one that overlaps it most (published code).
    """
    overlap = box_iou(boxes, last[:, None])
    return torch.where(overlap > _NEAR, 1 + scores, overlap).argmax(1, keepdim=True)


def propose(boxes: Tensor, scores: Tensor, last: Tensor, count: int, overlap: float = 0.5, low: float = 0.0) -> Tensor:
    """SPM's proposals: the `count` - 1 best after suppression, and the one nearest to the last box.

    Of the others, those below `low` times the best one's score are left out: in their place the nearest stands again.

    (B, P, 4) xyxy, scores (B, P) in [0, 1], last (B, 4) xyxy -> (B, count) indices, the nearest one last.
    """
    near = nearest_to(boxes, scores, last)
    if count == 1:
        return near
    best = nms(boxes, scores.scatter(1, near, -1.0), count - 1, overlap)
    if low:
        scored = scores.gather(1, best)
        best = torch.where(scored < low * scored[:, :1], near, best)
    return torch.cat([best, near], 1)


@dataclass(frozen=True)
class FineSamples:
    """Proposals for the fine stage to learn from, S a pair.

    Attributes:
        boxes: (B, S, 4) centre and size in crop pixels; unused ones are the target itself.
        positive: (B, S) bool.
        used: (B, S) bool; False where there were fewer proposals than places.
        offsets: (B, S, 4) that lead to the target, in the network's units; meaningful where positive.
    """

    boxes: Tensor
    positive: Tensor
    used: Tensor
    offsets: Tensor


def fine_samples(
    proposals: Tensor, scores: Tensor, boxes: Tensor, present: Tensor, rng: torch.Generator, count: int = _SAMPLES
) -> FineSamples:
    """Draw proposals, one half that overlap the target by at least 0.5, one half that overlap it less.

    The paper draws 48 a pair, positives to negatives 1 : 1; negatives from the 256 best scored proposals, and shaken
    copies of the target as further proposals, so that there are enough positives, are choices of this project.

    Args:
        proposals: (B, P, 4) centre and size, of the coarse stage; no gradient flows into them.
        scores: (B, P) of the coarse stage.
        boxes: (B, 4) xyxy of the search crop's own object.
        present: (B,) bool; a negative pair has no positives.
        rng: on the CPU.
        count: S.
    """
    target = xyxy_to_cxcywh(boxes)
    noise = (torch.rand(len(target), _COPIES, 4, generator=rng) * 2 - 1).to(target) * _SHAKE
    shaken = [target[:, None, :2] + noise[..., :2] * target[:, None, 2:], target[:, None, 2:] * noise[..., 2:].exp()]
    pool = torch.cat([proposals.detach(), torch.cat(shaken, -1)], 1)
    overlap = box_iou(cxcywh_to_xyxy(pool), boxes[:, None])
    positive = (overlap >= _POSITIVE) & present[:, None]
    best = scores.detach().topk(min(_HARD, scores.shape[1]), dim=1).indices
    hard = torch.zeros_like(positive).scatter(1, best, True)
    negative = (overlap < _POSITIVE) & hard | ~present[:, None] & hard
    drawn = []
    for mask in (positive, negative):
        keys = torch.rand(mask.shape, generator=rng).to(mask.device)
        drawn.append(keys.masked_fill(~mask, -1.0).topk(count // 2, dim=1))
    index = torch.cat([top.indices for top in drawn], 1)
    used = torch.cat([top.values >= 0 for top in drawn], 1)
    chosen = pool.gather(1, index[..., None].expand(-1, -1, 4))
    chosen = torch.where(used[..., None], chosen, target[:, None])
    return FineSamples(
        chosen, positive.gather(1, index) & used, used, box_offsets(chosen, target[:, None].expand_as(chosen))
    )


def fine_loss(logits: Tensor, offsets: Tensor, samples: FineSamples) -> Terms:
    """Cross-entropy over the samples, and smooth L1 of the positive ones' offsets, summed over the four.

    Positives and negatives of the batch, counted over all processes, make up one half each of the classification (the
    paper's 1 : 1).

    Args:
        logits: (B, S, 2) of background and target.
        offsets: (B, S, 4) in the network's units.
        samples: the targets.

    Returns:
        `fine_cls` and `fine_loc`, scalars; 0 where there is nothing to learn from.
    """
    labels = torch.where(samples.used, samples.positive.long(), -1)
    error = F.smooth_l1_loss(offsets.float(), samples.offsets, reduction="none").sum(-1)
    return {
        "fine_cls": balanced_cross_entropy(logits.movedim(-1, 1), labels),
        "fine_loc": joint_mean(error, samples.positive),
    }
