"""How well trackers know when they have lost their target.

    python benchmarks/absences.py SEQUENCES absent --seed 0
    python benchmarks/presence.py siamcar_lite0 spm_lite0 --data SEQUENCES absent

A frame counts as "on" where the box overlaps the truth by 0.1 or more, and as "off" where it does not, or where the
target is gone. The table has, for each model:

auroc       area under the ROC curve of `Result.presence` for on against off, over all frames
mean auroc  the same for each sequence that has both, averaged
ece         expected calibration error of `presence`, ten bins
false lost  share of the frames with the box on the target whose status is "lost"
told        share of the absences, begun with the box on the target, in which "lost" comes within 15 frames
found       share of those in which, within 30 frames of its return, the box is on the target and not "lost"

With --fit, a second table has the values of `track.status_lost_below` and `track.sure_over` that make presence most
likely (log loss, each sequence with the same weight), the error with them, and the error where the values for each
sequence are those fitted to the others.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import siamtrack
from siamtrack.formats.datasets import read_dataset

TOLD, FOUND, ON = 15, 30, 0.1
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One sequence from its second frame on: presence, score (T,); whether the box is on the target, and that is seen.

    Clips made from one video share its name.
    """

    name: str
    presence: Floats
    score: Floats
    lost: npt.NDArray[np.bool_]
    on: npt.NDArray[np.bool_]
    seen: npt.NDArray[np.bool_]


def overlap(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Intersection over union of two boxes x, y, w, h; 0 for a box that is nan."""
    one, two = np.asarray(a, float), np.asarray(b, float)
    if not np.isfinite(two).all():
        return 0.0
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[:2] + one[2:], two[:2] + two[2:])
    shared = np.clip(high - low, 0, None).prod()
    return float(shared / (one[2:].prod() + two[2:].prod() - shared))


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


def track(model: str, engine: str, folders: list[Path]) -> list[Run]:
    """Run a model over all sequences of some folders."""
    tracker, runs = siamtrack.load(model, engine=engine), []
    for sequence in (sequence for folder in folders for sequence in read_dataset("folder", folder)):
        tracker.init(np.asarray(sequence.frames[0]), sequence.box(0))
        found = [tracker.update(np.asarray(sequence.frames[n])) for n in range(1, len(sequence))]
        truth = [np.asarray(sequence.box(n), float) for n in range(1, len(sequence))]
        runs.append(
            Run(
                sequence.name,
                np.array([r.presence for r in found]),
                np.array([r.score for r in found]),
                np.array([r.status == "lost" for r in found]),
                np.array([overlap(r.box, b) >= ON for r, b in zip(found, truth, strict=True)]),
                np.array([bool(np.isfinite(b).all()) for b in truth]),
            )
        )
    return runs


def absences(run: Run) -> list[tuple[int, int]]:
    """First frame of each absence and the one behind its last, of those that begin with the box on the target."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], run.seen.astype(int), [1]])))
    pairs = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [(a, b) for a, b in pairs if a and run.on[max(0, a - 3) : a].any()]


def row(runs: list[Run]) -> list[str]:
    """The numbers of one model."""
    presence, on = (np.concatenate([getattr(r, name) for r in runs]) for name in ("presence", "on"))
    lost = np.concatenate([r.lost for r in runs])
    single = [auroc(r.on, r.presence) for r in runs]
    gone = [(r, a, b) for r in runs for a, b in absences(r)]
    told = [r.lost[a : min(b, a + TOLD)].any() for r, a, b in gone]
    back = [(r.on[b : b + FOUND] & ~r.lost[b : b + FOUND]).any() for r, _, b in gone if b < len(r.on)]
    return [
        f"{auroc(on, presence):.3f}",
        f"{np.nanmean(single):.3f} ({int(np.isfinite(single).sum())})",
        f"{calibration_error(on, presence):.3f}",
        f"{lost[on].mean():.1%}",
        f"{sum(told)} of {len(told)}",
        f"{sum(back)} of {len(back)}",
    ]


def scaled(score: Floats, low: npt.ArrayLike, high: npt.ArrayLike) -> Floats:
    """Presence by `siamtrack.tracking.state.presence_of` for other thresholds."""
    low, high = np.asarray(low), np.asarray(high)
    middle, sure = 1 + (score - low) / (high - low), 2 + (score - high) / (1 - high)
    return np.where(score < low, score / low, np.where(score < high, middle, sure)) / 3


def fit(runs: list[Run]) -> tuple[float, float]:
    """The two thresholds of the least log loss, to a fiftieth."""
    steps = np.arange(0.02, 0.99, 0.02)
    pairs = np.array([(low, high) for low in steps for high in steps if low < high])
    loss = np.zeros(len(pairs))
    for run in runs:
        given = scaled(run.score, *pairs.T[..., None]).clip(0.01, 0.99)
        loss -= np.where(run.on, np.log(given), np.log(1 - given)).mean(1)
    low, high = pairs[loss.argmin()].round(2).tolist()
    return low, high


def fitted(runs: list[Run]) -> list[str]:
    """The second table's row of one model."""
    names = sorted({run.name for run in runs})
    apart = {name: fit([run for run in runs if run.name != name]) for name in names}
    on = np.concatenate([run.on for run in runs])
    low, high = fit(runs)
    errors = (
        calibration_error(on, np.concatenate([scaled(run.score, low, high) for run in runs])),
        calibration_error(on, np.concatenate([scaled(run.score, *apart[run.name]) for run in runs])),
    )
    return [f"{low:.2f}", f"{high:.2f}", *(f"{error:.3f}" for error in errors)]


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("models", nargs="+")
parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of sequences")
parser.add_argument("--engine", default="auto")
parser.add_argument("--fit", action="store_true", help="thresholds for which presence is a probability")
args = parser.parse_args()
table = Table("model", "auroc", "mean auroc", "ece", "false lost", "told", "found")
fits = Table("model", "status_lost_below", "sure_over", "ece", "ece, held out")
for model in args.models:
    tracked = track(model, args.engine, args.data)
    table.add_row(model, *row(tracked))
    if args.fit:
        fits.add_row(model, *fitted(tracked))
Console(width=110).print(table, *([fits] if args.fit else []))
