"""The training loop, one page from top to bottom.

Every batch is a function of (seed, rank, step), so a run that was killed goes on from its last checkpoint as if
nothing had happened.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from siamtrack.config import Preset, Train, preset_to_json
from siamtrack.data.augment import make_batch
from siamtrack.data.pairs import PairSampler, generator
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError, SiamtrackError
from siamtrack.models.siamese import SiameseNet
from siamtrack.models.pretrained import load_imagenet
from siamtrack.models.weights import save_weights
from siamtrack.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from siamtrack.training.objective import objective
from siamtrack.training.schedule import backbone_trains, learning_rate

__all__ = ["TrainingError", "train"]

Report = Callable[[dict[str, float]], None]


class TrainingError(SiamtrackError):
    """The run cannot go on: a loss that is not finite."""


def train(
    preset: Preset,
    crops: ResidentSet,
    out: Path,
    device: str = "cpu",
    resume: bool = False,
    until: int | None = None,
    report: Report = lambda row: None,
) -> Path:
    """Train a preset's network and write its weights.

    Args:
        preset: the experiment.
        crops: the training set.
        out: folder for checkpoints, `log.jsonl` and the weights.
        device: "cpu" or "cuda".
        resume: go on from the newest checkpoint in `out`, if there is one.
        until: stop (with a checkpoint) before this step; the schedule stays that of the preset.
        report: called with each row of the log.

    Returns:
        The safetensors file of the weights (their moving average, if the preset keeps one).

    Raises:
        TrainingError: a loss that is not finite, with the step and the pairs.
        ConfigError: `out` holds a run of another preset.
    """
    cfg = preset.train
    torch.manual_seed(cfg.seed)
    net = preset.model.build()
    load_imagenet(net.backbone, preset.model.backbone)
    _freeze(net, cfg)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = _optimiser(net, cfg)
    average = {k: v.detach().clone() for k, v in net.state_dict().items()} if cfg.ema else None
    step = 0
    if resume and (path := latest_checkpoint(out)) is not None:
        step = _restore(load_checkpoint(path), preset, net, optimiser, average)
    crops = crops.to(device)
    sampler = PairSampler(crops, preset.data)
    last = cfg.steps if until is None else min(until, cfg.steps)
    out.mkdir(parents=True, exist_ok=True)
    started, first = time.perf_counter(), step
    while step < last:
        rng = generator(cfg.seed, 0, step)
        batch = make_batch(crops, sampler.draw(cfg.batch, rng), preset.crops, preset.data, rng)
        _set_rates(optimiser, net, cfg, step)
        with torch.autocast(device, torch.bfloat16, enabled=cfg.precision == "bfloat16"):
            terms = objective(net, batch, cfg.loss_weights, rng)
        optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(net.parameters(), cfg.clip)
        if not math.isfinite(float(norm)) or not math.isfinite(float(terms["total"])):
            raise TrainingError(_name_failure(step, terms, crops, batch.pairs.template, batch.pairs.search))
        optimiser.step()
        if average is not None:
            _average(average, net, min(cfg.ema, (step + 1) / (step + 10)))
        step += 1
        if step % cfg.log_every == 0 or step == last:
            rate = (step - first) * cfg.batch / (time.perf_counter() - started)
            row = {"step": step, "lr": learning_rate(cfg, step - 1), "norm": float(norm), "pairs_per_second": rate}
            row |= {name: float(value) for name, value in terms.items()}
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(row) + "\n")
            report(row)
        if step % cfg.checkpoint_every == 0 or step == last:
            save_checkpoint(out, step, _state(preset, net, optimiser, average, step))
    return _finish(preset, net, average, out, step)


def _freeze(net: SiameseNet, cfg: Train) -> None:
    """Shut the backbone's first stages for good; its BatchNorm statistics stay those of its pretraining."""
    stages: list[nn.Module] = net.backbone.stages()  # type: ignore[operator]
    for stage in stages[: cfg.frozen_stages]:
        stage.requires_grad_(False)
        if cfg.compile and not isinstance(stage, nn.ModuleList):
            stage.compile()
    net.train()
    net.backbone.eval()


def _optimiser(net: SiameseNet, cfg: Train) -> torch.optim.Optimizer:
    """Three groups: the backbone, and the rest with and without weight decay (norms and biases have none)."""
    backbone = [p for p in net.backbone.parameters() if p.requires_grad]
    rest = [p for module in (net.neck, net.head) for p in module.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": backbone, "weight_decay": cfg.weight_decay},
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": cfg.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if cfg.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=cfg.lr, momentum=cfg.momentum)
    return torch.optim.AdamW(groups, lr=cfg.lr)


def _set_rates(optimiser: torch.optim.Optimizer, net: SiameseNet, cfg: Train, step: int) -> None:
    rate = learning_rate(cfg, step)
    opened = backbone_trains(cfg, step) and cfg.backbone_rate > 0
    for stage in net.backbone.stages()[cfg.frozen_stages :]:  # type: ignore[operator]
        stage.requires_grad_(opened)
    for group, share in zip(optimiser.param_groups, (cfg.backbone_rate, 1.0, 1.0), strict=True):
        group["lr"] = rate * share


@torch.no_grad()
def _average(average: dict[str, Tensor], net: SiameseNet, decay: float) -> None:
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)


def _state(
    preset: Preset, net: SiameseNet, optimiser: torch.optim.Optimizer, average: dict[str, Tensor] | None, step: int
) -> dict[str, Any]:
    from siamtrack import __version__

    return {
        "step": step,
        "version": __version__,
        "preset": preset_to_json(preset),
        "model": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average or {},
    }


def _restore(
    state: dict[str, Any], preset: Preset, net: SiameseNet, optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor] | None,
) -> int:  # fmt: skip
    stored, wanted = json.loads(state["preset"]), json.loads(preset_to_json(preset))
    changed = [f"{s}.{k}" for s in ("model", "crops", "train") for k in wanted[s] if stored[s].get(k) != wanted[s][k]]
    if changed:
        raise ConfigError(f"the run to resume has another {', '.join(changed)}; use the same settings or a new --out")
    net.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    for name, value in (average or {}).items():
        value.copy_(state["average"][name])
    return int(state["step"])


def _finish(preset: Preset, net: SiameseNet, average: dict[str, Tensor] | None, out: Path, step: int) -> Path:
    if average is not None:
        net.load_state_dict(average)
    path = out / f"{preset.name}.safetensors"
    pairs = str(step * preset.train.batch)
    save_weights(path, net, {"preset": preset_to_json(preset), "steps": str(step), "pairs": pairs})
    return path


def _name_failure(step: int, terms: dict[str, Tensor], crops: ResidentSet, template: Tensor, search: Tensor) -> str:
    values = ", ".join(f"{name} {float(value):g}" for name, value in terms.items())
    pairs = ", ".join(f"{crops.keys[t]}/{crops.keys[s]}" for t, s in zip(template.tolist(), search.tolist(), strict=True))
    return f"the loss is not finite at step {step} ({values}); template/search crops of the batch: {pairs}"
