"""The training loop, one page from top to bottom.

Every batch is a function of (seed, part, step), so a run that was killed goes on from its last checkpoint as
if nothing had happened, and processes that share a batch train as one would.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from siamtrack.config import Preset, preset_to_json
from siamtrack.data.augment import Batch
from siamtrack.data.pairs import PairSampler
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError
from siamtrack.models.pretrained import load_imagenet
from siamtrack.models.weights import save_weights
from siamtrack.training.batches import check_parts, draw_batch
from siamtrack.training.checkpoint import (
    Run,
    latest_checkpoint,
    latest_state,
    load_checkpoint,
    save_checkpoint,
    write_checkpoint,
)
from siamtrack.training.distributed import World
from siamtrack.training.failure import FailedStep, TrainingError, save_failure
from siamtrack.training.log import Report, RunLog
from siamtrack.training.objective import objective
from siamtrack.training.parameters import Average, make_optimiser, open_backbone, prepare, set_rates
from siamtrack.training.schedule import backbone_trains, learning_rate
from siamtrack.training.validate import Clip, validate

__all__ = ["TrainingError", "train"]


def train(
    preset: Preset,
    crops: ResidentSet,
    out: Path,
    device: str = "cpu",
    resume: bool = False,
    until: int | None = None,
    report: Report = lambda row: None,
    *,
    clips: Sequence[Clip] = (),
    stop: Callable[[], bool] = lambda: False,
    world: World | None = None,
) -> Path:
    """Train a preset's network and write its weights.

    Args:
        preset: the experiment.
        crops: the training set.
        out: folder for checkpoints, `log.jsonl` and the weights.
        device: "cpu" or "cuda".
        resume: go on from the newest checkpoint in `out`, if there is one.
        until: stop (with a checkpoint) before this step; the schedule stays that of the preset.
        report: called with each row of the log, in the first process.
        clips: sequences to track every `validate_every` steps and at the end.
        stop: asked after every step whether to end here, with a checkpoint.
        world: this process among several; see `joined`.

    Returns:
        The safetensors file of the weights (their moving average, if the preset keeps one): those that
        tracked `clips` best, or the last.

    Raises:
        TrainingError: a loss that is not finite, with the step and the pairs.
        ConfigError: `out` holds a run of another preset, or one that is not to be resumed.
        WeightsError: no checkpoint in `out` can be read.
    """
    cfg, world = preset.train, world or World()
    check_parts(preset, world)
    place = world.device(device)
    run = _begin(preset, out, place, resume)
    log = RunLog(out / "log.jsonl", run.step, report, world)
    crops = crops.to(place)
    sampler = PairSampler(crops, preset.data)
    last = cfg.steps if until is None else min(until, cfg.steps)
    opened, stopped = None, False
    while run.step < last and not stopped:
        if opened != backbone_trains(cfg, run.step):
            opened = backbone_trains(cfg, run.step)
            open_backbone(run.net, cfg, run.step)
            forward = world.wrap(_Objective(run.net, cfg.loss_weights))
        set_rates(run.optimiser, cfg, run.step)
        batch, rng = draw_batch(crops, sampler, preset, run.step, world)
        random = rng.get_state()
        with torch.autocast(place.type, torch.bfloat16, enabled=cfg.precision == "bfloat16"):
            terms: dict[str, Tensor] = forward(batch, rng)
        run.optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(run.net.parameters(), cfg.clip))
        if not math.isfinite(norm) or not math.isfinite(float(terms["total"].detach())):
            values = {name: float(value.detach()) for name, value in terms.items()}
            failed = FailedStep(run.step, batch, values, norm, random)
            path = out / "failures" / f"step-{run.step:08d}-{world.rank}.safetensors"
            raise save_failure(path, preset, run.net, failed)
        run.optimiser.step()
        if run.average:
            run.average.update(run.step)
        run.step += 1
        stopped = world.any(stop(), place)
        ending = stopped or run.step == last
        if run.step % cfg.log_every == 0 or ending:
            log.add_step(run.step, cfg.batch, learning_rate(cfg, run.step - 1), norm, terms)
        if clips and (run.step % cfg.validate_every == 0 or run.step == last):
            _validate(preset, run, clips, out, world, log)
        if world.main and (run.step % cfg.checkpoint_every == 0 or ending):
            save_checkpoint(out, run.step, run.pack(preset))
    return _finish(preset, run, out, world)


class _Objective(nn.Module):
    """Network and loss as one module: DistributedDataParallel wants a single `forward`."""

    def __init__(self, net: nn.Module, weights: tuple[float, ...]) -> None:
        super().__init__()
        self.net = net
        self.weights = weights

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        return objective(self.net, batch, self.weights, rng)


def _begin(preset: Preset, out: Path, device: torch.device, resume: bool) -> Run:
    """Build what is trained, and go on from the newest checkpoint where that is wanted."""
    out.mkdir(parents=True, exist_ok=True)
    if not resume and (found := latest_checkpoint(out)) is not None:
        raise ConfigError(f"{out} already holds a run ({found.name}); go on with --resume, or use another --out")
    cfg, state = preset.train, latest_state(out) if resume else None
    torch.manual_seed(cfg.seed)
    net = preset.model.build()
    if state is None:
        load_imagenet(net.backbone, preset.model.backbone)
    prepare(net, cfg)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = Run(net, make_optimiser(net, cfg), Average(net, cfg.ema) if cfg.ema else None)
    if state is not None:
        run.restore(state, preset)
    return run


def _weights(run: Run) -> nn.Module:
    """A copy of the network with the weights that are kept: the moving average, if there is one."""
    net = copy.deepcopy(run.net)
    if run.average:
        net.load_state_dict(run.average.values)
    return net


def _validate(preset: Preset, run: Run, clips: Sequence[Clip], out: Path, world: World, log: RunLog) -> None:
    """Track the clips; keep the checkpoint if none tracked them better."""
    score = validate(_weights(run), preset, clips, next(run.net.parameters()).device, world)
    log.add({"step": run.step, "success": score})
    if score > run.best:
        run.best = score
        if world.main:
            write_checkpoint(out / "best.pt", run.pack(preset))


def _finish(preset: Preset, run: Run, out: Path, world: World) -> Path:
    """Write the weights: the best ones of those that were validated, else the last."""
    path = out / f"{preset.name}.safetensors"
    if not world.main:
        return path
    net, step = _weights(run), run.step
    notes = {"preset": preset_to_json(preset)}
    if (out / "best.pt").exists() and run.best >= 0:
        best = load_checkpoint(out / "best.pt")
        net.load_state_dict(best["average"] or best["model"])
        step, notes["success"] = int(best["step"]), f"{best['best']:.4f}"
    save_weights(path, net, notes | {"steps": str(step), "pairs": str(step * preset.train.batch)})
    return path
