"""A preview of training on some data: pairs, augmentation, schedule, time and memory."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from siamtrack.config import Preset, Train
from siamtrack.data.augment import shows_fill
from siamtrack.data.pair_source import PairSource
from siamtrack.data.pairs import generator, unmet_gaps
from siamtrack.errors import ConfigError
from siamtrack.geometry.crop import context_side
from siamtrack.training.loop import build_network
from siamtrack.training.parameters import (
    backbone_trains,
    clip_gradients,
    learning_rate,
    make_optimiser,
    set_rates,
    settings_in_force,
    unfreeze_backbone,
)
from siamtrack.training.trial import StepTrial, try_step

_QUANTILES = (0.05, 0.5, 0.95)
# A step is timed by a part of it where these pairs tell that it would take longer than this many seconds.
_FEW, _LONG = 2, 20.0


@dataclass(frozen=True)
class DrawnPairs:
    """Statistics of drawn pairs; triples are the quantiles 0.05, 0.5 and 0.95, nan where there is nothing.

    Attributes:
        count: pairs that were drawn.
        sources: share of the pairs by the source of the search crop, largest first.
        negative: share of the pairs whose template is another object.
        one_frame: share of the positive pairs that show one frame twice, as all pairs of stills do.
        video_one_frame: the same of the positive pairs whose object has several frames.
        distance: frames between template and search crop of these pairs, those of one frame left out.
        fill: share of the search crops that show flat fill from beyond the stored crop.
        template_fill: the same of the templates.
        shift: distance of the target from the middle of the search crop in its pixels, the larger of x and y.
        scale: side of the search region over that without jitter.
        aspect: width over height of the search region.
        others: share of the search crops that show another labelled object.
    """

    count: int
    sources: dict[str, float]
    negative: float
    one_frame: float
    video_one_frame: float
    distance: tuple[float, ...]
    fill: float
    template_fill: float
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    aspect: tuple[float, ...]
    others: float


def measure_pairs(source: PairSource, preset: Preset, count: int = 2000) -> DrawnPairs:
    """Draw pairs as the first step would, without making their pixels, and measure them."""
    seen = source.preview(count, preset.train.seed)
    plan, crops, pairs = seen.plan, seen.crops, seen.plan.pairs
    template, search, picture = plan.template.index, pairs.search, crops.images.shape[-1]
    drawn = torch.bincount(crops.sources[search], minlength=len(crops.source_names)).double() / len(search)
    shares = {name: share for name, share in zip(crops.source_names, drawn.tolist(), strict=True) if share}
    same = template == search
    frames = torch.bincount(seen.listed.tracks)[crops.tracks[search]]
    moving = pairs.present & (frames > 1)
    apart = (crops.frames[template] - crops.frames[search]).abs()[moving & ~same]
    extent = plan.search.region.extent().abs()
    away = (plan.boxes[:, :2] + plan.boxes[:, 2:] - preset.crops.search).abs() / 2
    # The target's size in its picture; the box of a turned target is a little larger.
    size = (plan.boxes[:, 2:] - plan.boxes[:, :2]) * extent / preset.crops.search
    plain = context_side(size, preset.crops.context) * preset.crops.search / preset.crops.template
    return DrawnPairs(
        count=len(search),
        sources=dict(sorted(shares.items(), key=lambda item: -item[1])),
        negative=float((~pairs.present).float().mean()),
        one_frame=_share(same, pairs.present),
        video_one_frame=_share(same, moving),
        distance=_quantiles(apart),
        fill=float(shows_fill(plan.search.region, picture).float().mean()),
        template_fill=float(shows_fill(plan.template.region, picture).float().mean()),
        shift=_quantiles(away.amax(1)),
        scale=_quantiles(extent.prod(1).sqrt() / plain),
        aspect=_quantiles(extent[:, 0] / extent[:, 1]),
        others=float((~plan.others[..., 0].isnan()).any(1).float().mean()),
    )


def _share(part: Tensor, whole: Tensor) -> float:
    return float((part & whole).sum() / whole.sum())


def _quantiles(values: Tensor) -> tuple[float, ...]:
    if not len(values):
        return (float("nan"),) * len(_QUANTILES)
    return tuple(torch.quantile(values.double(), torch.tensor(_QUANTILES, dtype=torch.float64)).tolist())


def check_gaps(source: PairSource, preset: Preset) -> None:
    """Raise `ConfigError` if no object of a source has two frames within its gap, near enough to be paired."""
    listed = source.preview(1, preset.train.seed).listed
    for name, (gap, nearest) in unmet_gaps(listed, preset.data).items():
        raise ConfigError(
            f"the gap of {gap} frames cannot be met in '{name}': the nearest two frames of an object are {nearest} "
            f"apart, and each pair would show one frame twice; use --set data.gaps.{name}={2 * nearest}, or pack "
            "frames that are nearer"
        )


@dataclass(frozen=True)
class Stage:
    """A part of the schedule: its first step, the learning rate there, and whether the whole backbone is trained."""

    step: int
    rate: float
    backbone: bool


def stages(train: Train) -> list[Stage]:
    """The schedule by epoch, or by tenth of the steps where there are no epochs."""
    cfg = settings_in_force(train)
    parts = cfg.epochs or min(10, cfg.steps)
    steps = [-(-number * cfg.steps // parts) for number in range(parts)]
    return [Stage(step, learning_rate(cfg, step), backbone_trains(cfg, step)) for step in steps]


def trained_stages(preset: Preset) -> tuple[list[str], list[str]]:
    """Names of the backbone's stages that are never trained, and of those that are once it is unfrozen, in order."""
    backbone = preset.model.build().backbone
    known = {module: name for name, module in backbone.named_modules()}
    names = []
    for stage in backbone.stages():
        parts = [known[part] for part in ([stage] if stage in known else stage.children())]
        names.append(parts[0] if len(parts) == 1 else f"{parts[0]} to {parts[-1]}")
    frozen = settings_in_force(preset.train).frozen_stages
    return names[:frozen], names[frozen:]


@dataclass(frozen=True)
class Pace:
    """The cost of training steps on a device.

    Attributes:
        frozen: seconds a step while the backbone's later stages are frozen; nan if they never are.
        whole: seconds a step while they are trained; nan if they never are.
        memory: peak in bytes, of the GPU or, on a CPU, of the whole process (0 on Windows); of a step that was timed in
            parts, what it is estimated to need.
        hours: for all steps of the schedule.
        pairs: that were computed at once; fewer than the batch where it does not fit into memory, or would take long.
        trial: what a step needs.
    """

    frozen: float
    whole: float
    memory: int
    hours: float
    pairs: int
    trial: StepTrial


def measure_pace(
    source: PairSource, preset: Preset, device: torch.device, steps: int = 3, check_memory: bool = True
) -> Pace:
    """Time `steps` discarded steps, after one to warm up, of each part of the schedule.

    A batch that does not fit into memory (see `check_memory`), or that would take more than some 20 seconds a step, is
    timed by a part of it; its seconds are those of the part times what the batch is of it.

    Raises:
        ConfigError: a step cannot be computed; see `try_step`.
    """
    cfg = settings_in_force(preset.train)
    first = round(cfg.unfreeze_at * cfg.steps) if cfg.backbone_rate else cfg.steps
    net = build_network(preset, device, pretrain=False)
    trial = try_step(net, preset, source, cfg.batch)
    optimiser = make_optimiser(net, cfg)

    def seconds_of(pairs: int, number: int) -> float:
        begun = time.perf_counter()
        batch, _ = source.draw(pairs, cfg.seed, 0, number)
        set_rates(optimiser, cfg, 0)
        with torch.autocast(device.type, torch.bfloat16, enabled=cfg.precision == "bfloat16"):
            terms = preset.model.loss(net, batch, [generator(cfg.seed, 0, number)])
        optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]
        clip_gradients(net, cfg.clip)
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    pairs = trial.pairs if check_memory else cfg.batch
    if pairs > _FEW:
        unfreeze_backbone(net, cfg, cfg.steps - 1)
        seconds_of(_FEW, 0)
        pairs = max(_FEW, min(pairs, int(_FEW * _LONG / seconds_of(_FEW, 1))))
        steps = steps if pairs > _FEW else 1
    seconds = {}
    for opened, count in ((False, min(first, cfg.steps)), (True, max(cfg.steps - first, 0))):
        if count:
            unfreeze_backbone(net, cfg, first if opened else 0)
            times = [seconds_of(pairs, number) for number in range(steps + 1)]
            seconds[opened] = float(np.median(times[1:])) * cfg.batch / pairs, count
    total = sum(each * count for each, count in seconds.values())
    frozen, whole = (seconds.get(opened, (float("nan"), 0))[0] for opened in (False, True))
    if pairs < cfg.batch:
        memory = int(trial.needed)
    elif device.type == "cuda":
        memory = int(torch.cuda.max_memory_allocated(device))
    elif sys.platform == "win32":
        memory = 0
    else:
        import resource

        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Pace(frozen, whole, memory, total / 3600, pairs, trial)
