"""The centre-bias experiment of SiamRPN++ (section 3.1, figures 1 and 2), at the size of a laptop.

A small network with padding is trained with targets shifted by at most 0, 16, 32 or 64 pixels from the middle
of the search region, then tested on crops whose targets are placed uniformly: a network that has learnt where
targets were, not what they look like, still responds in the middle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from siamtrack.config import Jitter, Preset, load_preset
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import DataError, InputError, require
from siamtrack.evaluation.jobs import Beat
from siamtrack.io import read_as, whole_file, write_whole
from siamtrack.models.siamese import Candidates, Matcher
from siamtrack.models.weights import load_weights
from siamtrack.tracking.torch_engine import check_device
from siamtrack.training.log import ReportRow
from siamtrack.training.loop import RunOptions, train
from siamtrack.training.validate import find_clips, validate

REACH = 64
"""How far the test crops' targets lie from the middle at most, in pixels, along each axis."""
_RINGS = (16, 32, 64)
_HIT = 16.0

# Nothing but the place of the target changes in the test crops.
_PLAIN: dict[str, Any] = {
    "template": Jitter(0.0, 0.0, 0.0),
    "search": Jitter(REACH, 0.0, 0.0),
} | dict.fromkeys(
    ("negative", "flip", "colour", "grey", "lighting", "blur", "noise", "distract", "occlude", "object_part_prob"), 0.0
)


@dataclass(frozen=True)
class Bias:
    """Results of a network trained with one shift.

    Attributes:
        shift: of the training targets, in pixels, at most, along each axis.
        crops: number of test crops.
        heat: (R, R) mean response, each crop's scaled to a sum of 1.
        middle: mean response within 16 px of the middle over that of the map's cells within 64 px. The study's own
            map reaches 44 px: with targets up to 64 px away, a network without bias that answers in the cell nearest
            to each has less than 1 here (0.47), as cells at the edge answer for the targets beyond them.
        hits: share of targets whose centre is found to 16 px, by how far they lie from the middle: up to 16,
            to 32 and to 64 px (the larger of x and y).
        success: area under the success curve of tracking without a cosine window, or None.
    """

    shift: int
    steps: int
    crops: int
    heat: list[list[float]]
    middle: float
    hits: list[float]
    success: float | None


def bias_preset(out: Path, shift: int, overrides: dict[str, Any]) -> Preset:
    """The study's preset with one shift, from `center_bias.toml` in `out`, which is written if missing."""
    path = out / "center_bias.toml"
    if not path.exists():
        write_whole(path, resources.files("siamtrack.studies").joinpath(path.name).read_bytes())
    return load_preset(path, overrides | {"data.search.shift": shift, "name": f"shift-{shift}"})


def hold_out(crops: ResidentSet, share: float = 0.1) -> tuple[ResidentSet, ResidentSet]:
    """Split off the last `share` of the crops, without objects seen before; raises `DataError` if a side is empty."""
    first = round(len(crops) * (1 - share))
    known = torch.isin(crops.tracks[first:], crops.tracks[:first])
    rows = first + (~known).nonzero()[:, 0]
    if not first or not len(rows):
        raise DataError(f"{len(crops)} crops are too few objects to hold some out for the test")
    return crops.rows(torch.arange(first)), crops.rows(rows)


def heat_map(found: Candidates) -> Tensor:
    """Candidates of a square map -> (B, R, R) scores; the best where several lie at one cell."""
    cells = len(set(found.grid_positions[:, 0].tolist()))
    place = ((found.grid_positions + 1) / 2 * (cells - 1)).round().long()
    flat = (place[:, 1] * cells + place[:, 0]).expand_as(found.scores)
    maps = torch.zeros(len(found.scores), cells * cells, device=flat.device)
    return maps.scatter_reduce(1, flat, found.scores.float(), "amax", include_self=False).view(-1, cells, cells)


@torch.inference_mode()
def measure(
    net: Matcher, preset: Preset, crops: ResidentSet, count: int = 512, device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
) -> Bias | None:  # fmt: skip
    """Test on `count` crops with uniformly placed targets; `success` is left None.

    `stop` is called before every batch: once it returns True, there is no result.
    """
    if isinstance(net, nn.Module):
        net.eval().to(device)
    maps, found, wanted, stride, size = [], [], [], 0.0, preset.train.batch
    with closing(ResidentPairs(crops.to(device), preset.crops, replace(preset.data, **_PLAIN))) as pairs:
        for number, first in enumerate(range(0, count, size)):
            if stop():
                return None
            batch, _ = pairs.draw(min(size, count - first), preset.train.seed, 0, number)
            sizes = batch.boxes[:, 2:] - batch.boxes[:, :2]
            candidates = net.match(net.embed(batch.template, batch.template_sizes), batch.search, sizes)
            stride = candidates.stride
            maps.append(heat_map(candidates).cpu())
            best = candidates.scores.argmax(1)
            found.append(candidates.centres[torch.arange(len(best)), best].cpu())
            wanted.append(((batch.boxes[:, :2] + batch.boxes[:, 2:]) / 2).cpu())
    heat = torch.cat(maps)
    mean = (heat / heat.sum((1, 2), keepdim=True).clamp(min=1e-12)).mean(0)
    centres, targets = torch.cat(found), torch.cat(wanted)
    away = (targets - preset.crops.search / 2).abs().amax(1)
    hit = ((centres - targets).abs().amax(1) <= _HIT).float()
    rings = [(away > low) & (away <= high) for low, high in zip((-1, *_RINGS[:-1]), _RINGS, strict=True)]
    offset = (torch.arange(len(mean)) - (len(mean) - 1) / 2).abs() * stride
    near, far = (mean[offset <= reach][:, offset <= reach].mean() for reach in (_RINGS[0], REACH))
    return Bias(
        shift=round(preset.data.search.shift),
        steps=preset.train.steps,
        crops=len(away),
        heat=mean.tolist(),
        middle=float(near / far.clamp(min=1e-12)),
        hits=[float(hit[ring].mean()) if bool(ring.any()) else float("nan") for ring in rings],
        success=None,
    )


@dataclass(frozen=True)
class ShiftStudy:
    """What all shifts of a study have in common; a value that can be sent to another process.

    Attributes:
        data: a folder of shards, of whose crops the last tenth is tested on.
        overrides: settings of the preset by dotted key.
        val: a folder of sequences to track, or None.
        crops: how many test crops are looked at.
    """

    data: Path
    out: Path
    overrides: dict[str, Any]
    val: Path | None = None
    crops: int = 512
    device: str = "cpu"

    @property
    def preset(self) -> Preset:
        """The preset, whose shift is each job's own."""
        return bias_preset(self.out, 0, self.overrides)


def open_study(
    study: ShiftStudy, report: ReportRow = lambda row: None, stop: Callable[[], bool] = lambda: False
) -> Callable[[int, Beat], Bias | None]:
    """Load crops and sequences in a worker; return the work of `pool.run_jobs`.

    The work trains with a shift in pixels, resuming a stopped call, then measures and writes `result.json`. It gives
    each row of the training's log to `report`, and returns None once `stop` returns True.
    """
    check_device(study.device)
    clips = find_clips(study.val, study.preset.train.validate_frames) if study.val else ()
    kept, tested = hold_out(ResidentSet.load(study.data))

    def work(shift: int, beat: Beat) -> Bias | None:
        def tell(row: dict[str, float]) -> None:
            beat()
            report(row)

        preset = bias_preset(study.out, shift, study.overrides)
        folder = study.out / preset.name
        with closing(ResidentPairs(kept.to(study.device), preset.crops, preset.data)) as pairs:
            weights = train(preset, pairs, folder, RunOptions(study.device, resume=True, report=tell, stop=stop))
        net = preset.model.build()
        load_weights(weights, net)
        found = measure(net, preset, tested, study.crops, study.device, stop)
        if found is not None and clips:
            success = validate(net, preset, clips, torch.device(study.device), stop=stop)
            found = None if success is None else replace(found, success=success)
        if found is None:
            return None
        write_whole(folder / "result.json", json.dumps(asdict(found)))
        return found

    return work


def read_results(out: Path) -> list[Bias]:
    """The results so far, by shift; raises `DataError` for a file that is none."""
    found = [read_as(path, Bias) for path in out.glob("shift-*/result.json")]
    return sorted(found, key=lambda bias: bias.shift)


def plot_bias(results: Sequence[Bias], path: Path) -> None:
    """Plot results like figures 1 and 2 of SiamRPN++, as a PNG file.

    Raises:
        ConfigError: matplotlib is not installed.
        InputError: there are no results.
    """
    drawn = require("matplotlib.figure", "the picture", "matplotlib", "report")
    if not results:
        raise InputError("there is nothing to draw: no shift has been measured yet")
    count = len(results)
    figure = drawn.Figure(figsize=(2.6 * max(count, 2), 6), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    for axes, bias in zip(upper.subplots(1, count, squeeze=False)[0], results, strict=True):
        half = len(bias.heat) * 4
        axes.imshow(bias.heat, cmap="magma", extent=(-half, half, half, -half), vmin=0)
        axes.set_title(f"shift {bias.shift}\nmiddle {bias.middle:.2f}", fontsize=9)
        axes.tick_params(labelsize=7)
    upper.suptitle("Mean response to uniformly placed targets (px from the middle)", fontsize=10)
    left, right = lower.subplots(1, 2)
    for bias in results:
        left.plot(("up to 16", "16 to 32", "32 to 64"), bias.hits, marker="o", label=f"shift {bias.shift}")
    left.set_ylim(0, 1)
    left.set_xlabel("target's distance from the middle (px)")
    left.set_ylabel("found within 16 px")
    left.legend(fontsize=7)
    known = [(f"{bias.shift}", bias.success) for bias in results if bias.success is not None]
    right.bar([name for name, _ in known], [score for _, score in known], width=0.6)
    for place, (_, score) in enumerate(known):
        right.annotate(f"{score:.3f}", (place, score), ha="center", va="bottom", fontsize=8)
    right.set_xlabel("shift in training (px)")
    right.set_ylabel("success (AUC) of tracking")
    with whole_file(path) as draft:
        figure.savefig(draft, format="png", dpi=130)
