"""The sections of a preset: frozen, typed, each value checked against its range."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic.dataclasses import dataclass

from siamtrack.geometry.crop import Rounding
from siamtrack.models.families import Family, is_outside
from siamtrack.models.families.siamcar import SiamCar
from siamtrack.models.fields import STRICT, refusing

_MOST = 10**9  # no count is larger: what is computed from it still fits into the integers of torch and of the system


@refusing
@dataclass(frozen=True, config=STRICT)
class Crops:
    """Sizes of the two crops in pixels, and how much context around the target they show (SiamFC, section 2.4).

    Attributes:
        template: side of the template crop; it also sets the scale of both crops.
        template_crop: side of a wider template crop at the same scale (SA-Siam's z^s); 0 for `template`.
        search: side of the search crop.
        context: share of width + height that is added to each side of the target; see `target_region`.
        rounding: whole-pixel crops as published code makes them, or "none".
    """

    template: int = Field(default=127, ge=31, le=511)
    template_crop: int = Field(default=0, ge=0, le=1023)
    search: int = Field(default=255, ge=63, le=1023)
    context: float = Field(default=0.5, ge=0, le=2)
    rounding: Rounding = "none"

    @property
    def template_side(self) -> int:
        """Side in pixels of the template crop that the network sees."""
        return self.template_crop or self.template


@refusing
@dataclass(frozen=True, config=STRICT)
class Track:
    """How the network's candidates become one box a frame; one set of numbers for all benchmarks.

    Attributes:
        window: weight of the cosine window (SiamRPN's window influence).
        penalty: strength k of the penalty on changes of scale and aspect (SiamRPN, equation 13).
        rate: how fast the box's size follows: the new size has this weight times the winner's score and penalty.
        select: how the winner becomes a box.
            "best": the best candidate's own box.
            "neighbours": the mean box of the best of the winner's 8 neighbours, by score with penalty and window.
            "neighbours_weighted": SiamCAR, section 3.3: winner and neighbours are ranked by the classification alone
            (equation 9), and the boxes are weighted by classification times penalty (the paper names no weights).
            "upsampled": as in SiamCAR's published code, on enlarged maps.
        averaged: how many of the 8 neighbours both of these average (SiamCAR's k, section 3.3).
        smallest_side: no box becomes narrower or lower than this many frame pixels (PySOT: 10).
        published_rate: for "upsampled", the size's rate of SiamCAR's published code, whose penalty compares the new
            size in frame pixels with the old one in crop pixels, and whose classification may exceed 1.
        lost_search: side in pixels of the search crop while the target is lost (DaSiamRPN; SiamRPN++ long-term);
            0 for short-term tracking.
        lost_step: pixels by which the search crop grows with every lost frame, from its usual side up to
            `lost_search` (DaSiamRPN's local-to-global search, section 3.4); 0 to enlarge it at once.
        search_lost_below: a target whose score falls below this is lost, and its box stays where it was.
        found_above: a lost target whose score rises above this is found.
        found_share: in place of `lost_search`: the box of a lost target stays where it was, and one that is lost for
            long is found when its score reaches this share of its usual one, or `found_above` if that is less; 0 for
            neither.
        lost_scan: with `found_share`, in every second frame a target that is lost for long is looked for aside, by this
            share of the search region's side, in the eight directions in turn; 0 for at its place alone.
        leap: a box that moves by more than this many times its usual move, and by more than a fifth of its size, may
            lie on something else: its presence falls to that of a lost target for 10 frames and to that of an
            uncertain one for 90 more. Boxes and scores are as without it; 0 for never.
        status_lost_below: results with a lower score have the status "lost".
        sure_over: results with this score or more have the status "tracking"; between the two, "uncertain".
        rerank: how many of the best proposals are compared with the target and with earlier distractors
            (DaSiamRPN, section 3.3); 0 for none.
        distractor_over: a proposal other than the target with a higher score is a distractor.
        distractor_weight: weight of a proposal's likeness to distractors, against its likeness to the target
            (alpha hat of equation 3).
        memory_rate: rate eta of the running means of target and distractors (equation 4).
    """

    window: float = Field(default=0.4, ge=0, le=1)
    penalty: float = Field(default=0.05, ge=0, le=2)
    rate: float = Field(default=0.35, ge=0, le=1)
    select: Literal["best", "neighbours", "neighbours_weighted", "upsampled"] = "best"
    averaged: int = Field(default=3, ge=1, le=8)
    smallest_side: float = Field(default=4.0, ge=1, le=100)
    published_rate: bool = False
    lost_search: int = Field(default=0, ge=0, le=2047)
    lost_step: int = Field(default=0, ge=0, le=2047)
    search_lost_below: float = Field(default=0.85, ge=0, le=1)
    found_above: float = Field(default=0.998, ge=0, le=1)
    found_share: float = Field(default=0.0, ge=0, le=1)
    lost_scan: float = Field(default=0.0, ge=0, le=2)
    leap: float = Field(default=0.0, ge=0, le=100)
    status_lost_below: float = Field(default=0.1, gt=0, lt=1)
    sure_over: float = Field(default=0.3, gt=0, lt=1)
    rerank: int = Field(default=0, ge=0, le=64)
    distractor_over: float = Field(default=0.5, ge=0, le=1)
    distractor_weight: float = Field(default=0.5, ge=0, le=1)
    memory_rate: float = Field(default=0.01, ge=0, lt=0.5)

    @model_validator(mode="after")
    def _consistent(self) -> Track:
        if self.status_lost_below > self.sure_over:
            raise ValueError(
                f"status_lost_below is at most sure_over; got {self.status_lost_below:g} and {self.sure_over:g}"
            )
        if self.lost_scan and not self.found_share:
            raise ValueError("lost_scan needs found_share, which keeps the box of a lost target where it was")
        if self.lost_search and self.found_share:
            raise ValueError("lost_search and found_share are two ways to find a lost target; set one of them to 0")
        if self.lost_search and self.leap:
            raise ValueError("leap is not for trackers with lost_search; set one of them to 0")
        if (self.lost_search or self.found_share) and self.search_lost_below > self.found_above:
            raise ValueError(
                f"search_lost_below is at most found_above; got {self.search_lost_below:g} and {self.found_above:g}"
            )
        return self


@refusing
@dataclass(frozen=True, config=STRICT)
class Jitter:
    """Random change of a crop's region.

    Attributes:
        shift: largest shift in crop pixels, drawn uniformly for x and y apart.
        scale: largest change of the size, as a share (0.2 is a fifth).
        aspect: largest change of width over height, as a share; the law "uniform" does not use it.
        turn: largest rotation in degrees, drawn uniformly in both directions; the box of a turned object is the
            one around its turned ellipse.
        law: "log" draws log scale and log aspect uniformly, so that larger is as likely as smaller; "uniform"
            multiplies width and height by two factors uniform in 1 ± scale (SiamRPN++'s published code); "siamfc" and
            "sa_siam" stretch both by one factor and move by whole pixels, as siamfc-pytorch and SA-Siam's code do.
        inside: limit the shift, and if needed the size, so that the region stays inside the stored crop. The flat fill
            beyond the crop is always on the side away from the target and would reveal where the target is.
    """

    shift: float = Field(default=0.0, ge=0, le=4096)
    scale: float = Field(default=0.0, ge=0, le=2)
    aspect: float = Field(default=0.0, ge=0, le=2)
    turn: float = Field(default=0.0, ge=0, le=180)
    law: Literal["log", "uniform", "siamfc", "sa_siam"] = "log"
    inside: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Jitter:
        if self.law != "log" and self.scale >= 1:
            raise ValueError(f"the law '{self.law}' needs a scale below 1")
        return self


@refusing
@dataclass(frozen=True, config=STRICT)
class Data:
    """Which pairs are drawn and how they are changed; probabilities are per pair.

    Attributes:
        sampling: how a pair is drawn.
            "objects": an object by its weight, and two of its frames at most `gap` apart.
            "videos": as PySOT (pysot/datasets/dataset.py): a video or still, each as likely as another of its source,
            one of its objects, a template frame, and a search frame at most `gap` annotated frames from it. The search
            region of a negative pair is of any source, each as likely as another, any of its videos, objects and
            frames.
            "ordered": as siamfc-pytorch (siamfc/datasets.py): an object, and any two of its frames less than `gap`
            apart, of which the earlier one is the template.
            "spaced": as SA-Siam's code (datasets/vid.py): an object, a distance of 1 to `gap` annotated frames, and two
            frames that far apart, of which the earlier one is the template.
        gap: largest distance between template and search frame, in frames.
        gaps: the same for single sources, by name.
        distinct_frames: template and search region show different frames if the object has two within the gap; by
            default the two frames are drawn independently, and may be the same.
        negative: share of pairs whose template is another object.
        negative_same: share of the negative pairs whose two objects have one category, where the data name
            categories. 0.5 here and negative = 0.5 give the 2 : 1 : 1 of SPM's generalized training. "any" draws the
            other object whatever its category, as PySOT does.
        same_category: SPM's generalized training: a pair of one category is positive for the coarse stage and
            negative for the fine stage; other families ignore it.
        source_weights: factor on how often a source's objects are drawn, by name; 1 for sources without one.
        source_counts: number of objects (videos and stills for the sampling "videos") that a source counts as, by name,
            instead of its real number (PySOT's NUM_USE).
        frames_weight: an object with n crops is drawn sqrt(n) times as often as a still, at most this many times.
        video_share: share of the pairs whose object has several frames (SPM draws 4 video pairs for each still:
            0.8); None leaves it to the weights.
        template: jitter of the template's region.
        search: jitter of the search region; its shift is the spatial-aware sampling of SiamRPN++, section 3.1.
        flip: probability that both crops are mirrored.
        colour: strength of changes of brightness, contrast, saturation and colour balance, on a log scale.
        grey: probability that both crops lose their colour.
        lighting: probability of an offset along the principal components of ImageNet's colours, a few grey levels
            (PySOT).
        blur: probability of a blur.
        blur_law: "lens" is out of focus or, in half of the cases, moved along a line, at most 11 pixels wide; "cross"
            is the mean over a vertical and a horizontal line of 5 to 45 pixels (PySOT).
        blur_templates: templates are blurred too; False for search regions alone (PySOT).
        noise: probability of additive noise of 8 grey levels.
        distract: probability that another object is pasted beside the target.
        occlude: probability that another object is pasted over a part of the target.
        object_part_prob: probability that the target is a part of the object (0.4 to 0.9 of its width and height,
            both crops from one frame): its extent is then what the template shows, not how objects usually look.
        resident_memory: MB of decoded crops that may be kept on the training device; larger data, and shards of
            unknown size, are streamed. 0 streams always.
        stream_memory: MB of compressed crops that each part of a stream keeps to draw from.
        max_skipped: share of unreadable crops at which a run stops.
    """

    sampling: Literal["objects", "videos", "ordered", "spaced"] = "objects"
    gap: int = Field(default=100, ge=0, le=_MOST)
    gaps: dict[str, int] = Field(default_factory=dict)
    distinct_frames: bool = False
    negative: float = Field(default=0.0, ge=0, le=1)
    negative_same: Annotated[float, Field(ge=0, le=1)] | Literal["any"] = 0.5
    same_category: bool = False
    source_weights: dict[str, float] = Field(default_factory=dict)
    source_counts: dict[str, float] = Field(default_factory=dict)
    frames_weight: float = Field(default=4.0, ge=1, le=1e6)
    video_share: float | None = Field(default=None, ge=0, le=1)
    template: Jitter = Field(default_factory=lambda: Jitter(shift=4, scale=0.05))
    search: Jitter = Field(default_factory=lambda: Jitter(shift=64, scale=0.18))
    flip: float = Field(default=0.0, ge=0, le=1)
    colour: float = Field(default=0.0, ge=0, le=1)
    grey: float = Field(default=0.0, ge=0, le=1)
    lighting: float = Field(default=0.0, ge=0, le=1)
    blur: float = Field(default=0.0, ge=0, le=1)
    blur_law: Literal["lens", "cross"] = "lens"
    blur_templates: bool = True
    noise: float = Field(default=0.0, ge=0, le=1)
    distract: float = Field(default=0.0, ge=0, le=1)
    occlude: float = Field(default=0.0, ge=0, le=1)
    object_part_prob: float = Field(default=0.0, ge=0, le=1)
    resident_memory: int = Field(default=8192, ge=0, le=_MOST)
    stream_memory: int = Field(default=512, ge=1, le=_MOST)
    max_skipped: float = Field(default=0.01, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> Data:
        if any(not 0 <= weight <= _MOST for weight in (*self.source_weights.values(), *self.source_counts.values())):
            raise ValueError(f"source_weights and source_counts are 0 to {_MOST}")
        if any(gap < 0 for gap in self.gaps.values()):
            raise ValueError("gaps are 0 or more")
        if self.distract + self.occlude > 1:
            raise ValueError("distract and occlude together are at most 1")
        return self


@refusing
@dataclass(frozen=True, config=STRICT)
class Train:
    """The schedule, the optimiser and the loop.

    Attributes:
        steps: number of optimiser steps.
        batch: pairs in a step, over all processes.
        batch_shards: number of parts in which a batch is drawn, each from (seed, part, step): batches are then the
            same for any number of processes that divides it. 0 for one part a process.
        lr: peak learning rate of the neck and head.
        backbone_rate: the backbone's learning rate as a share of `lr`.
        frozen_stages: number of the backbone's first stages that are never trained.
        unfreeze_at: share of the steps after which the rest of the backbone is trained too.
        backbone_norm: BatchNorm of the trained part of the backbone uses and updates the batch's statistics.
        start_from: a shipped model's name or a `.safetensors` file of the same network, whose weights training begins
            with, to adapt a model to other data or to go on with a new schedule. Of a network that differs in its
            backbone alone, the head is fitted to this backbone's ImageNet features. Empty to begin with the backbone's
            ImageNet weights and a new head.
        backbone_weights: file of ImageNet weights: torchvision's for a ResNet or MobileNetV2, or that of PySOT's
            authors for these and AlexNet; empty for what installed packages carry.
        from_scratch: start the backbone from random weights and train all stages from the first step with the batch's
            statistics, whatever `frozen_stages`, `unfreeze_at` and `backbone_norm` say. Otherwise training needs
            ImageNet weights; so does, even then, a part that is never trained (SA-Siam's S-Net), unless this is "all".
        epochs: number of equal parts of the steps between which the learning rate changes; 0 changes it every step.
        warmup: share of the steps in which the rate rises.
        warmup_from: where it rises from, as a share of `lr`.
        warmup_shape: "linear"; "exponential" (PySOT's "step") or "constant", which stays at `warmup_from` times `lr`
            (SiamRPN++, section 4.2): both need a `warmup_from` above 0.
        schedule: "cosine" to 0; "exponential" to `final_rate` times `lr`, which is reached after the last step or
            epoch (PyTorch's ExponentialLR); "logspace", the same but reached in the last one (PySOT's "log"); "drop"
            to `final_rate` times `lr` in one step.
        drop_at: where that step is, as a share of what follows the warm-up.
        compile: run the frozen stages through torch.compile; on a CPU only where there is a C++ compiler.
        checkpoint_every: steps between checkpoints.
        keep_every: steps between weights that stay, as `NAME-STEP.safetensors`, to be evaluated afterwards (PySOT's
            users test the last ten of 20 epochs); 0 for the last ones alone.
        log_every: steps between rows of the log.
        validate_every: steps between trackings of the validation sequences, where some are given.
        validate_frames: number of frames of each that are tracked, at most.
    """

    steps: int = Field(default=1000, ge=1, le=_MOST)
    batch: int = Field(default=32, ge=1, le=65536)
    batch_shards: int = Field(default=0, ge=0, le=_MOST)
    lr: float = Field(default=1e-3, gt=0, le=1e30)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = Field(default=1e-4, ge=0, le=1e6)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    backbone_rate: float = Field(default=0.1, ge=0, le=1)
    frozen_stages: int = Field(default=0, ge=0, le=_MOST)
    unfreeze_at: float = Field(default=0.0, ge=0, le=1)
    backbone_norm: bool = False
    start_from: str = ""
    backbone_weights: str = ""
    from_scratch: bool | Literal["all"] = False
    epochs: int = Field(default=0, ge=0, le=_MOST)
    warmup: float = Field(default=0.02, ge=0, lt=1)
    warmup_from: float = Field(default=0.0, ge=0, le=1)
    warmup_shape: Literal["linear", "exponential", "constant"] = "linear"
    schedule: Literal["cosine", "exponential", "logspace", "drop"] = "cosine"
    final_rate: float = Field(default=0.1, gt=0, le=1)
    drop_at: float = Field(default=0.8, ge=0, le=1)
    clip: float = Field(default=10.0, gt=0, le=1e12)
    ema: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, le=_MOST)
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    checkpoint_every: int = Field(default=500, ge=1, le=_MOST)
    keep_every: int = Field(default=0, ge=0, le=_MOST)
    log_every: int = Field(default=20, ge=1, le=_MOST)
    validate_every: int = Field(default=1000, ge=1, le=_MOST)
    validate_frames: int = Field(default=100, ge=2, le=_MOST)

    @model_validator(mode="after")
    def _consistent(self) -> Train:
        if self.warmup_shape != "linear" and self.warmup and not self.warmup_from:
            raise ValueError(f"the warm-up '{self.warmup_shape}' needs warmup_from above 0")
        if self.start_from and (self.from_scratch or self.backbone_weights):
            raise ValueError("start_from does without from_scratch and backbone_weights; give one of them")
        if self.batch_shards and self.batch % self.batch_shards:
            raise ValueError(f"batch_shards has to divide the batch of {self.batch} pairs")
        return self


@refusing
@dataclass(frozen=True, config=STRICT)
class Published:
    """A score that the authors published for this configuration, and where."""

    benchmark: str
    metric: str
    value: float
    source: str


def _file_name(name: str) -> str:
    """A preset's name, after which its weights are called."""
    if not name.isprintable() or set(name) & set("/\\") or name.startswith(".") or not 0 < len(name) <= 100:
        raise ValueError("expected a name that a file can have: up to 100 characters, no slash, no dot in front")
    return name


def _keep_outside(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """The model of another package's family as it is; `config.files` has checked it."""
    return value if is_outside(value) else check(value)


@refusing
@dataclass(frozen=True, config=STRICT)
class Preset:
    """A complete configuration: the network, and how it is trained and run."""

    name: Annotated[str, AfterValidator(_file_name)]
    model: Annotated[Family, Field(discriminator="family"), WrapValidator(_keep_outside)] = Field(
        default_factory=SiamCar
    )
    description: str = ""
    crops: Crops = Field(default_factory=Crops)
    track: Track = Field(default_factory=Track)
    data: Data = Field(default_factory=Data)
    train: Train = Field(default_factory=Train)
    published: tuple[Published, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Preset:
        if 0 < self.track.lost_search < self.crops.search:
            raise ValueError(
                f"track.lost_search is 0 or at least crops.search; got {self.track.lost_search} and {self.crops.search}"
            )
        return self
