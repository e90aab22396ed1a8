"""The training loop.

Every batch is a function of (seed, part, step), so a run that was killed goes on from its last checkpoint as
if nothing had happened, and processes that share a batch train as one would.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from siamtrack.arguments import checked
from siamtrack.config import Preset, preset_to_json
from siamtrack.data.augment import Batch
from siamtrack.data.pair_source import PairSource
from siamtrack.errors import ConfigError
from siamtrack.formats.sequence import VideoSequence
from siamtrack.io import sweep_drafts
from siamtrack.models.families import Family
from siamtrack.models.losses import Generators, Terms, TrainingBatch, join_parts
from siamtrack.models.pretrained import load_imagenet
from siamtrack.models.siamese import SiameseNet
from siamtrack.models.weights import load_weights, save_weights
from siamtrack.training.carry import carry_head, differs_in_backbone
from siamtrack.training.checkpoint import (
    TrainState,
    latest_checkpoint,
    latest_state,
    load_checkpoint,
    lock_folder,
    save_checkpoint,
    write_checkpoint,
)
from siamtrack.training.distributed import ProcessGroup
from siamtrack.training.failure import FailedStep, save_failure
from siamtrack.training.log import ReportRow, RunLog
from siamtrack.training.parameters import (
    Average,
    backbone_trains,
    clip_gradients,
    compile_frozen,
    learning_rate,
    make_optimiser,
    prepare,
    set_rates,
    settings_in_force,
    unfreeze_backbone,
)
from siamtrack.training.trial import check_step
from siamtrack.training.validate import validate
from siamtrack.zoo.networks import find_model

# Search crops that a head is fitted to another backbone on.
_FITTED = 640


@dataclass(frozen=True)
class RunOptions:
    """How a training run is made; what is learnt does not depend on it, but for the clips that choose the weights.

    Attributes:
        device: "cpu" or "cuda".
        resume: go on from the newest checkpoint, if there is one.
        until: stop (with a checkpoint) before this step; the schedule stays that of the preset.
        clips: sequences to track every `validate_every` steps and at the end; at the end of a piece (`until`) the score
            is logged, but its weights are not among those of which the best are kept.
        report: called with each row of the log, in the first process.
        stop: called after every step, and every frame of `clips`; the run ends, with a checkpoint, once it returns
            True.
        world: this process among several; see `join_processes`.
        check_memory: refuse a batch that needs more memory than there is.
    """

    device: str = "cpu"
    resume: bool = False
    until: int | None = None
    clips: Sequence[VideoSequence] = ()
    report: ReportRow = lambda row: None
    stop: Callable[[], bool] = lambda: False
    world: ProcessGroup = field(default_factory=ProcessGroup)
    check_memory: bool = True


@checked
def train(preset: Preset, data: PairSource, out: Path, options: RunOptions = RunOptions()) -> Path:
    """Train a preset's network and write its weights.

    `out` is a folder for checkpoints, `log.jsonl` and the weights; one run at a time may use it.

    Returns:
        The safetensors file of the weights (their moving average, if the preset keeps one): those that
        tracked `clips` best, or the last.

    Raises:
        TrainingError: a loss that is not finite, with the step and the pairs.
        ConfigError: `out` holds a run of another preset, one that is not to be resumed, or one that another process
            is training; the backbone has no ImageNet weights and `train.from_scratch` is not set; or a step cannot be
            computed, see `check_step`.
        WeightsError: no checkpoint in `out` can be read.
        DataError: more crops are unreadable than `data.max_skipped` allows, or a file cannot be written; the
            checkpoints before it stay.
    """
    world, clips = options.world, options.clips
    check_parts(preset, world)
    place = world.device(options.device)
    last = preset.train.steps if options.until is None else min(options.until, preset.train.steps)
    with lock_folder(out) if world.main else nullcontext():
        run = _begin(preset, data, out, place, options.resume)
        check_step(run.net, preset, data, preset.train.batch // world.size, options.check_memory)
        cfg = settings_in_force(preset.train)
        log = RunLog(out / "log.jsonl", run.step, options.report, world)
        opened, stopped = None, False
        if clips and run.unscored:
            _score(run, preset, out, place, options, log)
            stopped = run.unscored
            if world.main and not stopped:
                save_checkpoint(out, run.step, run.pack(preset))
        while run.step < last and not stopped:
            if opened != backbone_trains(cfg, run.step):
                opened = backbone_trains(cfg, run.step)
                unfreeze_backbone(run.net, cfg, run.step)
                forward = world.wrap(_Objective(run.net, preset.model))
            set_rates(run.optimiser, cfg, run.step)
            batch, rngs = draw_batch(data, preset, run.step, world)
            random = torch.stack([rng.get_state() for rng in rngs])

            with torch.autocast(place.type, torch.bfloat16, enabled=cfg.precision == "bfloat16"):
                terms: dict[str, Tensor] = forward(batch, rngs)
            run.optimiser.zero_grad(set_to_none=True)
            terms["total"].backward()  # type: ignore[no-untyped-call]
            norm = clip_gradients(run.net, cfg.clip)
            values = {name: float(value.detach()) for name, value in terms.items()}
            if not (math.isfinite(norm) and math.isfinite(values["total"])):
                path = out / "failures" / f"step-{run.step:08d}-{world.rank}.safetensors"
                # With the settings that are in force, so that a replay has to know nothing else.
                in_force = replace(preset, train=cfg)
                raise save_failure(path, in_force, run.net, FailedStep(run.step, batch, values, norm, random))
            run.optimiser.step()
            if run.average:
                run.average.update(run.step)
            run.step, run.unscored = run.step + 1, False

            stopped = world.any(options.stop(), place)
            ending = stopped or run.step == last
            log.add_skipped(data.skipped)
            if run.step % cfg.log_every == 0 or ending:
                log.add_step(run.step, cfg.batch, learning_rate(cfg, run.step - 1), norm, terms)
            if clips and (run.step % cfg.validate_every == 0 or run.step == last):
                _score(run, preset, out, place, options, log)
                stopped = stopped or run.unscored
            if world.main and cfg.keep_every and run.step % cfg.keep_every == 0:
                path = out / f"{preset.name}-{run.step:08d}.safetensors"
                save_weights(path, _kept_weights(run), _notes(preset, run.step))
            if world.main and (run.step % cfg.checkpoint_every == 0 or ending or stopped):
                save_checkpoint(out, run.step, run.pack(preset))
        return _finish(preset, run, out, world)


def check_start(preset: Preset, out: Path | None, resume: bool) -> None:
    """Check what a run needs besides its crops, which may take long to decode: a free folder and first weights.

    Raises:
        ConfigError, WeightsError: as `train`.
    """
    begun = out is not None and latest_checkpoint(out) is not None
    if out is not None and begun and not resume:
        with lock_folder(out):  # a process that still writes it is told first
            _check_unused(out)
    if preset.train.start_from:
        find_model(preset.train.start_from)
    elif not begun:
        _load_imagenet(preset.model.build(), preset)


def _check_unused(out: Path) -> None:
    """Raise `ConfigError` for a folder with checkpoints."""
    if newest := latest_checkpoint(out):
        raise ConfigError(f"{out} already holds a run ({newest.name}); go on with --resume, or use another --out")


def check_parts(preset: Preset, world: ProcessGroup) -> None:
    """Raise `ConfigError` unless the processes can share each batch evenly."""
    parts = preset.train.batch_shards or world.size
    world.parts(parts)
    if preset.train.batch % parts:
        raise ConfigError(f"train.batch = {preset.train.batch} cannot be drawn in {parts} parts; use a multiple")


def draw_batch(pairs: PairSource, preset: Preset, step: int, world: ProcessGroup) -> tuple[Batch, Generators]:
    """Draw this process's pairs of a step from (seed, part, step), and the generators for what the loss draws itself.

    Raises:
        DataError: more crops are unreadable than `data.max_skipped` allows.
    """
    cfg = preset.train
    parts = cfg.batch_shards or world.size
    drawn = [pairs.draw(cfg.batch // parts, cfg.seed, part, step) for part in world.parts(parts)]
    batch: Batch = join_parts([batch for batch, _ in drawn])
    return batch, [rng for _, rng in drawn]


class _Objective(nn.Module):
    """Network and loss as one module: DistributedDataParallel wants a single `forward`."""

    def __init__(self, net: SiameseNet, model: Family) -> None:
        super().__init__()
        self.net = net
        self.model = model

    def forward(self, batch: TrainingBatch, rngs: Generators) -> Terms:
        return self.model.loss(self.net, batch, rngs)


def build_network(
    preset: Preset, device: torch.device, pretrain: bool = True, data: PairSource | None = None
) -> SiameseNet:
    """Build a preset's network for training, seeded, its first stages frozen.

    It begins with the weights of `train.start_from`, else with ImageNet weights for its backbone; with both, where the
    file differs in its backbone alone (`carry_head`): the head is then fitted on search crops of `data`, the same ones
    in every process. Where a checkpoint follows, there is no need to `pretrain`.

    Raises:
        ConfigError: there are no ImageNet weights for the backbone, and `train.from_scratch` is not set.
        WeightsError: the file of `train.start_from` or `train.backbone_weights` cannot be used.
    """
    torch.manual_seed(preset.train.seed)
    net = preset.model.build()
    if pretrain and preset.train.start_from:
        first, path = find_model(preset.train.start_from)
        if data is not None and differs_in_backbone(first.model, preset.model):
            _load_imagenet(net, preset)
            old = first.model.build()
            load_weights(path, old)
            seed, batch = preset.train.seed, 32
            crops = (data.draw(batch, seed, 0, step)[0].search.cpu() for step in range(_FITTED // batch))
            shares = ", ".join(f"{share:.0%}" for share in carry_head(old, net, crops))
            warnings.warn(
                f"the head comes from {preset.train.start_from}; level by level, a linear map of the new backbone's "
                f"features gives {shares} of those that it knows",
                stacklevel=2,
            )
        else:
            load_weights(path, net)
    elif pretrain:
        _load_imagenet(net, preset)
    cfg = settings_in_force(preset.train)
    prepare(net, cfg)
    compile_frozen(net, cfg, device)
    built: SiameseNet = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return built


def _load_imagenet(net: SiameseNet, preset: Preset) -> None:
    """Load ImageNet weights into the backbone; with `train.from_scratch` into the parts that are never trained."""
    cfg = preset.train
    file = Path(cfg.backbone_weights) if cfg.backbone_weights else None
    parts = net.backbone.pretrained_parts(preset.model.backbone)
    if cfg.from_scratch:
        frozen = [(part, name) for part, name in parts if not any(p.requires_grad for p in part.parameters())]
        parts = [] if cfg.from_scratch == "all" else frozen
        if file is not None and not parts:
            raise ConfigError("train.from_scratch does without train.backbone_weights; give one of the two")
    for part, name in parts:
        if load_imagenet(part, name, file):
            continue
        given = "give a file with --set train.backbone_weights=FILE (for ResNet, MobileNetV2 and AlexNet)"
        if cfg.from_scratch:
            raise ConfigError(
                f"{preset.name} never trains one of its networks, {name}, which needs ImageNet weights, and none are "
                f"at hand: {given}"
            )
        raise ConfigError(
            f"{preset.name} begins with ImageNet weights of {name}, and none are at hand: {given}, or train the whole "
            "backbone from random weights with --set train.from_scratch=true"
        )


def _begin(preset: Preset, data: PairSource, out: Path, device: torch.device, resume: bool) -> TrainState:
    """Build what is trained, or with `resume` restore it from the newest checkpoint."""
    sweep_drafts(out)
    if not resume:
        _check_unused(out)
    state = latest_state(out) if resume else None
    net = build_network(preset, device, pretrain=state is None, data=data)
    cfg = settings_in_force(preset.train)
    run = TrainState(net, make_optimiser(net, cfg), Average(net, cfg.ema) if cfg.ema else None)
    if state is not None:
        run.restore(state, preset)
    return run


def _kept_weights(run: TrainState) -> SiameseNet:
    """A copy of the network with the weights that are kept: the moving average, if there is one."""
    net = copy.deepcopy(run.net)
    if run.average:
        net.load_state_dict(run.average.values)
    return net


def _score(run: TrainState, preset: Preset, out: Path, place: torch.device, options: RunOptions, log: RunLog) -> None:
    """Validate, and keep the weights if they are the best; `run.unscored` says whether that was stopped."""
    score = validate(_kept_weights(run), preset, options.clips, place, options.world, options.stop)
    run.unscored = score is None
    if score is None:
        return
    log.add({"step": run.step, "success": score})
    # the end of a piece is scored, but what is kept must not depend on where a run is cut into pieces
    candidate = run.step % settings_in_force(preset.train).validate_every == 0 or run.step == preset.train.steps
    if candidate and score > run.best:
        run.best = score
        if options.world.main:
            write_checkpoint(out / "best.pt", run.pack(preset))


def _finish(preset: Preset, run: TrainState, out: Path, world: ProcessGroup) -> Path:
    """Write the weights: the best ones of those that were validated, else the last."""
    path = out / f"{preset.name}.safetensors"
    if not world.main:
        return path
    net, notes = _kept_weights(run), _notes(preset, run.step)
    if (out / "best.pt").exists() and run.best >= 0:
        best = load_checkpoint(out / "best.pt")
        net.load_state_dict(best["average"] or best["model"])
        notes = _notes(preset, int(best["step"])) | {"success": f"{best['best']:.4f}"}
    save_weights(path, net, notes)
    return path


def _notes(preset: Preset, step: int) -> dict[str, str]:
    """What a file of weights says about them."""
    return {"preset": preset_to_json(preset), "steps": str(step), "pairs": str(step * preset.train.batch)}
