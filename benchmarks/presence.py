"""How well trackers know when they have lost their target.

    python benchmarks/absences.py SEQUENCES absent --seed 0
    python benchmarks/presence.py siamcar_lite0 spm_lite0 --data SEQUENCES --absent absent --fit

Trackers start in the first frame and after 20, 40 and 60 % of each sequence, and of clips whose target was cut out in
the first frame alone. Rows are of the sequences (auroc, mean auroc, ece, false lost) and of the clips (the others).
A frame counts as "on" where the box overlaps the truth by 0.1 or more, and as "off" where it does not, or where the
target is gone. The table has, for each model:

auroc       area under the ROC curve of `Result.presence` for on against off, over all frames
mean auroc  the same for each sequence that has both, averaged
ece         expected calibration error of `presence`, ten bins; also with absences, of which ordinary videos have fewer
false lost  share of the frames with the box on the target whose status is "lost"
told        share of the absences, begun with the box on the target, in which "lost" comes within 15 frames
found       share of those in which, within 30 frames of its return, the box is on the target and not "lost"

With --fit, a second table has, for some values of `track.status_lost_below`, the value of `track.sure_over` that makes
presence most likely on the sequences (log loss, each run with the same weight), and the errors with them: once as
fitted, and once where the value for each sequence is fitted to the others.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import siamtrack
from siamtrack.formats.datasets import read_dataset
from siamtrack.geometry.overlap import rectangle_iou
from siamtrack.zoo.networks import find_model

TOLD, FOUND, ON = 15, 30, 0.1
STARTS = (0.0, 0.2, 0.4, 0.6)
LOWS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One sequence from its second frame on: presence, score (T,); whether the box is on the target, and that is seen.

    The score is what presence stands for: while a box is held, less than the network's own, of a box elsewhere.
    Clips made from one video share its name.
    """

    name: str
    presence: Floats
    score: Floats
    lost: npt.NDArray[np.bool_]
    on: npt.NDArray[np.bool_]
    seen: npt.NDArray[np.bool_]


def auroc(on: npt.NDArray[np.bool_], presence: Floats) -> float:
    """Probability that a frame that is on has more presence than one that is off; nan where one kind is missing."""
    _, place, count = np.unique(presence, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    n, m = int(on.sum()), int((~on).sum())
    return float((rank[on].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def calibration_error(on: npt.NDArray[np.bool_], presence: Floats, bins: int = 10) -> float:
    """Mean distance between presence and the share of frames that are on, over bins of presence."""
    at = np.clip((presence * bins).astype(int), 0, bins - 1)
    return float(sum(abs(on[at == k].mean() - presence[at == k].mean()) * (at == k).mean() for k in set(at.tolist())))


def track(model: str, engine: str, folder: Path, starts: tuple[float, ...]) -> list[Run]:
    """Run a model over all sequences of a folder, from each start that shows the target."""
    tracker, runs, settings = siamtrack.load(model, engine=engine), [], find_model(model)[0].track
    scale = [0, settings.status_lost_below, settings.sure_over, 1]
    for sequence in read_dataset("folder", folder):
        truth = np.array([sequence.box(n) for n in range(len(sequence))], float)
        for start in (int(share * len(sequence)) for share in starts):
            if not np.isfinite(truth[start]).all() or not (truth[start, 2:] > 0).all():
                continue
            tracker.init(np.asarray(sequence.frames[start]), truth[start])
            found = [tracker.update(np.asarray(sequence.frames[n])) for n in range(start + 1, len(sequence))]
            seen = np.isfinite(truth[start + 1 :]).all(1)
            shared = rectangle_iou(np.array([r.box for r in found], float), truth[start + 1 :])
            presence = np.array([r.presence for r in found])
            runs.append(
                Run(
                    sequence.name,
                    presence,
                    np.interp(presence, [0, 1 / 3, 2 / 3, 1], scale),
                    np.array([r.status == "lost" for r in found]),
                    seen & (np.nan_to_num(shared) >= ON),
                    seen,
                )
            )
    return runs


def absences(run: Run) -> list[tuple[int, int]]:
    """First frame of each absence and the one behind its last, of those that begin with the box on the target."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], run.seen.astype(int), [1]])))
    pairs = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [(a, b) for a, b in pairs if a and run.on[max(0, a - 3) : a].any()]


def pooled(runs: list[Run], name: str) -> npt.NDArray[Any]:
    """One field of all runs, in a row."""
    return np.concatenate([getattr(run, name) for run in runs])


def found_out(runs: list[Run]) -> list[str]:
    """Of all absences: how many are told, and after how many the target is found."""
    gone = [(r, a, b) for r in runs for a, b in absences(r)]
    told = [r.lost[a : min(b, a + TOLD)].any() for r, a, b in gone]
    back = [(r.on[b : b + FOUND] & ~r.lost[b : b + FOUND]).any() for r, _, b in gone if b < len(r.on)]
    return [f"{sum(told)} of {len(told)}", f"{sum(back)} of {len(back)}"]


def row(runs: list[Run], clips: list[Run]) -> list[str]:
    """The numbers of one model."""
    on, single = pooled(runs, "on"), [auroc(r.on, r.presence) for r in runs]
    return [
        f"{auroc(on, pooled(runs, 'presence')):.3f}",
        f"{np.nanmean(single):.3f} ({int(np.isfinite(single).sum())})",
        f"{calibration_error(on, pooled(runs, 'presence')):.3f}",
        f"{calibration_error(pooled(clips, 'on'), pooled(clips, 'presence')):.3f}" if clips else "",
        f"{pooled(runs, 'lost')[on].mean():.1%}",
        *found_out(clips),
    ]


def scaled(score: Floats, low: npt.ArrayLike, high: npt.ArrayLike) -> Floats:
    """Presence by `siamtrack.tracking.state.presence_of` for other thresholds."""
    low, high = np.asarray(low), np.asarray(high)
    middle, sure = 1 + (score - low) / (high - low), 2 + (score - high) / (1 - high)
    return np.where(score < low, score / low, np.where(score < high, middle, sure)) / 3


def fit(runs: list[Run], low: float) -> float:
    """The `sure_over` of the least log loss, to a fiftieth."""
    steps = np.arange(low + 0.02, 0.99, 0.02)
    loss = np.zeros(len(steps))
    for run in runs:
        given = scaled(run.score, low, steps[:, None]).clip(0.01, 0.99)
        loss -= np.where(run.on, np.log(given), np.log(1 - given)).mean(1)
    return float(steps[loss.argmin()].round(2))


def fitted(runs: list[Run], clips: list[Run], low: float) -> list[str]:
    """A row of the second table."""
    high = fit(runs, low)
    names = sorted({run.name for run in runs})
    apart = {name: fit([run for run in runs if run.name != name], low) for name in names}
    on, presence = pooled(runs, "on"), scaled(pooled(runs, "score"), low, high)
    held_out = np.concatenate([scaled(run.score, low, apart[run.name]) for run in runs])
    told = [replace(run, lost=run.score < low) for run in clips]
    return [
        f"{low:.2f}",
        f"{high:.2f}",
        f"{calibration_error(on, presence):.3f}",
        f"{calibration_error(on, held_out):.3f}",
        f"{calibration_error(pooled(clips, 'on'), scaled(pooled(clips, 'score'), low, high)):.3f}" if clips else "",
        f"{(pooled(runs, 'score')[on] < low).mean():.1%}",
        *found_out(told),
    ]


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("models", nargs="+")
parser.add_argument("--data", type=Path, required=True, help="folder of sequences")
parser.add_argument("--absent", type=Path, nargs="*", default=[], help="folders of clips whose target was cut out")
parser.add_argument("--engine", default="auto")
parser.add_argument("--fit", action="store_true", help="thresholds for which presence is a probability")
args = parser.parse_args()
told = ("told", "found")
table = Table("model", "auroc", "mean auroc", "ece", "ece, absent", "false lost", *told)
fits = Table("model", "lost below", "sure over", "ece", "held out", "ece, absent", "false lost", *told)
for model in args.models:
    runs = track(model, args.engine, args.data, STARTS)
    clips = [run for folder in args.absent for run in track(model, args.engine, folder, STARTS[:1])]
    table.add_row(model, *row(runs, clips))
    for low in LOWS if args.fit else ():
        fits.add_row(model, *fitted(runs, clips, low))
Console(width=110).print(table, *([fits] if args.fit else []))
