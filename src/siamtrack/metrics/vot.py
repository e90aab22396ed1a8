"""The VOT reset protocol: accuracy, failures and the expected average overlap (EAO), by three scorers.

A run is reset five frames after each failure; its rows carry VOT's special codes (see `records.Predictions`). The first
functions work on one run, the scorers at the end on a data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from siamtrack.errors import ConfigError
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.overlap import polygon_iou, pysot_overlaps, toolkit_overlaps
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray, is_rectangle
from siamtrack.metrics.scores import (
    LengthError,
    Metrics,
    Results,
    Scores,
    Truths,
    check_length,
    each_sequence,
    mean_known,
)

_BURN_IN = 10
_SKIP = 5
_UNKNOWN, _START, _FAILURE = 0, 1, 2
_PYSOT_REPETITIONS = 15


@dataclass(frozen=True)
class VotStack:
    """The scorers' settings of one year's challenge (vot-toolkit's `stacks`).

    Attributes:
        interval: the two sequence lengths between which the EAO averages; None for data sets without one.
        burn_in: frames after a start that the unsupervised accuracy leaves out.
    """

    interval: tuple[int, int] | None = None
    burn_in: int = 10

    def eao_interval(self) -> tuple[int, int]:
        """Return the interval; raises `ConfigError` if there is none."""
        if self.interval is None:
            raise ConfigError("there is no EAO interval; score by one of the suites vot2015 .. vot2022")
        return self.interval


def _burnt_in(run: Predictions) -> BoolArray:
    """Return the (N,) mask of the frames that accuracy leaves out: each start and the nine after it."""
    starts = np.flatnonzero(run.is_code(_START))
    out = np.zeros(len(run) + _BURN_IN, dtype=np.bool_)
    out[starts[:, None] + np.arange(_BURN_IN)] = True
    return out[: len(run)]


def _pysot(truth: Truth, run: Predictions, size: tuple[int, int] | None) -> FloatArray:
    n = min(len(truth), len(run))
    overlaps = pysot_overlaps(run.regions[:n], truth.regions[:n], size)
    overlaps[~run.is_code(-1)[:n]] = np.nan
    return overlaps


def pysot_accuracy_overlaps(truth: Truth, run: Predictions) -> FloatArray:
    """Return the overlaps of PySOT's accuracy: nan at special codes and for ten frames from a start.

    Bounded by (width, height), cut to the shorter of truth and run.
    """
    overlaps = _pysot(truth, run, truth.size)
    overlaps[_burnt_in(run)[: len(overlaps)]] = np.nan
    return overlaps


def pysot_eao_overlaps(truth: Truth, run: Predictions, accuracy: FloatArray | None = None) -> FloatArray:
    """Return the overlaps of PySOT's EAO: nan at special codes, bounded by (width - 1, height - 1).

    Given the overlaps of `pysot_accuracy_overlaps`, only frames on which the two can differ are computed.
    """
    size = None if truth.size is None else (truth.size[0] - 1, truth.size[1] - 1)
    if size is None or accuracy is None:
        return _pysot(truth, run, size)
    n = len(accuracy)
    far = _beyond(truth.regions[:n], size) | _beyond(run.regions[:n], size)
    again = (far | _burnt_in(run)[:n]) & run.is_code(-1)[:n]
    overlaps = accuracy.copy()
    overlaps[again] = pysot_overlaps(run.regions[:n][again], truth.regions[:n][again], size)
    return overlaps


def _beyond(regions: FloatArray, edge: tuple[int, int]) -> BoolArray:
    """Return the rows that may reach beyond the last pixel, where the two bounds differ."""
    xs, ys = regions[:, 0::2].copy(), regions[:, 1::2].copy()
    boxes = is_rectangle(regions)
    # a box's second pair is its size
    xs[boxes, 1] = np.maximum(xs[boxes, 0], xs[boxes, 0] + xs[boxes, 1])
    ys[boxes, 1] = np.maximum(ys[boxes, 0], ys[boxes, 0] + ys[boxes, 1])
    with np.errstate(invalid="ignore"):
        near = (np.fmax.reduce(xs, axis=1) < edge[0] - 1) & (np.fmax.reduce(ys, axis=1) < edge[1] - 1)
    return np.asarray(~near)


@dataclass(frozen=True)
class Fragment:
    """A stretch of a run from a start on: its overlaps, its weight, and whether it ended in a failure."""

    overlaps: FloatArray
    weight: float
    failed: bool


def pysot_fragments(
    overlaps: FloatArray, failures: IntArray, frames: int, *, repetitions: int = 1, tag: BoolArray | None = None
) -> list[Fragment]:
    """Cut one run's overlaps (N,) into the fragments of PySOT's EAO.

    A fragment starts at 0 and five frames after each of the `failures` (frame numbers); `frames` is the
    length of the truth. `tag` (frames,) weighs a fragment by its share of frames with an attribute.
    """
    n = len(overlaps)
    share = 1 / (repetitions + 1e-10)
    on = np.ones(frames) if tag is None else tag.astype(np.float64)
    if not len(failures):
        return [Fragment(overlaps, share * on[:n].sum() / max(n, 1), failed=False)]
    points = [0, *(int(f) + _SKIP for f in failures if f + _SKIP <= n)]
    filled = np.nan_to_num(overlaps, nan=0.0)
    found = [
        Fragment(filled[p : q + 1], share * on[p : q + 1].sum() / (q - p + 1), failed=True) for p, q in pairwise(points)
    ]
    p = points[-1]
    return [*found, Fragment(filled[p:], share * on[p:n].sum() / (frames - p + 1e-16), failed=False)]


def _averaged(fragments: Sequence[Fragment], length: int) -> FloatArray:
    """Return c[i] (length,): the weighted mean over the fragments that reach i of their mean of frames 1 .. i.

    A failed fragment goes on with overlaps of 0.
    """
    curve = np.zeros(length)
    if length < 2:
        return curve
    rows = np.full((len(fragments), length), np.nan)
    for row, fragment in zip(rows, fragments, strict=True):
        if fragment.failed:
            row[:] = 0.0
        row[: len(fragment.overlaps)] = fragment.overlaps
    weights = np.array([f.weight for f in fragments])
    means = np.cumsum(rows[:, 1:], axis=1) / np.arange(1, length)
    reached = ~np.isnan(rows[:, 1:])
    total = np.where(reached, means * weights[:, None], 0.0).sum(axis=0)
    weight = (reached * weights[:, None]).sum(axis=0)
    with np.errstate(all="ignore"):
        curve[1:] = total / weight
    curve[1:][~reached.any(axis=0)] = 0.0
    return curve


def pysot_eao_curve(fragments: Sequence[Fragment], length: int) -> FloatArray:
    """Return PySOT's expected overlap (length,) for 1 .. `length` frames; c[0] is 1 by definition."""
    curve = _averaged(fragments, length)
    curve[:1] = 1.0
    return curve.astype(np.float32).astype(np.float64)  # PySOT stores the curve in single precision


def eao_score(curve: FloatArray, low: int, high: int) -> float:
    """Return the mean of curve[low .. high] (inclusive, as far as it reaches) without nan values."""
    part = curve[low : high + 1]
    part = part[~np.isnan(part)]
    return float(part.mean()) if len(part) else float("nan")


def toolkit_run_overlaps(truth: Truth, run: Predictions) -> FloatArray:
    """Return the (N,) overlaps of vot-toolkit; raises `LengthError` for the wrong number of rows."""
    check_length(truth, run)
    return toolkit_overlaps(run.regions, truth.regions, truth.size)


def toolkit_accuracy(overlaps: FloatArray, run: Predictions) -> float:
    """Return vot-toolkit's accuracy of one run: the mean overlap without burn-in, failures and unknown frames.

    A row of nan is an unknown frame. Without a frame to average the accuracy is 0.
    """
    unknown = run.is_code(_UNKNOWN) | np.isnan(run.regions[:, :4]).any(axis=1)
    kept = ~(_burnt_in(run) | unknown | run.is_code(_FAILURE))
    return float(overlaps[kept].mean()) if kept.any() else 0.0


def toolkit_fragments(overlaps: FloatArray, run: Predictions) -> list[Fragment]:
    """Cut one run's overlaps into vot-toolkit's fragments, from each start to before its failure."""
    failures, starts = np.flatnonzero(run.is_code(_FAILURE)), np.flatnonzero(run.is_code(_START))
    if not len(failures):
        return [Fragment(overlaps, 1.0, failed=False)]
    found = [Fragment(overlaps[p:q], 1.0, failed=True) for p, q in zip(starts, failures, strict=False)]
    if len(starts) > len(failures):
        found.append(Fragment(overlaps[starts[-1] :], 1.0, failed=False))
    return found


def toolkit_eao_curve(fragments: Sequence[Fragment]) -> FloatArray:
    """Return vot-toolkit's expected overlap for 0 .. L frames, where L is the longest fragment."""
    return _averaged(fragments, max((len(f.overlaps) for f in fragments), default=0))


def ar_robustness(failures: float, frames: float) -> float:
    """Return the AR plot's robustness, the chance to track 30 frames without a failure."""
    return float(np.exp(-30.0 * failures / frames)) if frames else float("nan")


class _PysotSequence:
    """One sequence's overlaps and failures; PySOT takes all repetitions if there are 15, else the first."""

    def __init__(self, truth: Truth, runs: list[Predictions]) -> None:
        self.truth = truth
        runs = runs if len(runs) == _PYSOT_REPETITIONS else runs[:1]
        accuracy = [pysot_accuracy_overlaps(truth, run) for run in runs]
        if len({len(o) for o in accuracy}) > 1:
            raise LengthError(f"{truth.name}: its repetitions have different numbers of rows")
        self.overlaps = mean_known(np.array(accuracy), axis=0)
        self.failures = [np.flatnonzero(run.is_code(_FAILURE)) for run in runs]
        self._eao = [pysot_eao_overlaps(truth, run, known) for run, known in zip(runs, accuracy, strict=True)]

    def lost(self, tag: str | None = None) -> float:
        if tag is None:
            return float(np.mean([len(f) for f in self.failures]))
        mask = _tag_mask(self.truth, tag)
        return float(np.mean([np.count_nonzero(mask[f[f < len(mask)]]) for f in self.failures]))

    def fragments(self, tag: str | None = None) -> list[Fragment]:
        """Return the fragments of all repetitions, weighted by the frames with an attribute if one is given."""
        mask = None if tag is None else _tag_mask(self.truth, tag)
        frames, found = len(self.truth), list[Fragment]()
        for overlaps, failures in zip(self._eao, self.failures, strict=True):
            found += pysot_fragments(overlaps, failures, frames, repetitions=len(self.failures), tag=mask)
        return found

    def metrics(self) -> dict[str, float]:
        """Return accuracy (mean overlap in [0, 1]), failures, and robustness: failures in 100 frames.

        `n_valid` is the number of frames with an overlap, `length` of all frames.
        """
        n = len(self.overlaps)
        return {
            "accuracy": float(mean_known(self.overlaps)),
            "robustness": 100 * self.lost() / max(n, 1),
            "lost_number": self.lost(),
            "failures": self.lost(),
            "n_valid": float(np.count_nonzero(~np.isnan(self.overlaps))),
            "length": float(len(self.truth)),
        }


def _tag_mask(truth: Truth, tag: str) -> BoolArray:
    if tag == "empty":
        return np.asarray(~np.any([m for t, m in truth.tags.items() if t != "practical"], axis=0))
    return truth.tags.get(tag, np.zeros(len(truth), dtype=np.bool_))


def _tag_names(truths: Truths) -> list[str]:
    found = sorted({tag for truth in truths.values() for tag in truth.tags})
    return [*found, "empty"] if found and all(truth.tags for truth in truths.values()) else found


def pysot_reset_scorer(truths: Truths, results: Results, stack: VotStack) -> Scores:
    """Score a reset benchmark as PySOT does: the accuracy, robustness, lost number and EAO of papers."""
    low, high = stack.eao_interval()
    scored = each_sequence(truths, lambda seq: _PysotSequence(truths[seq], list(results[seq])))
    every = list(scored.values())
    overlaps = np.concatenate([s.overlaps for s in every])
    longest = max(len(s.overlaps) for s in every)
    curve = pysot_eao_curve([f for s in every for f in s.fragments()], longest)
    lost = sum(s.lost() for s in every)
    metrics = {
        "accuracy": float(mean_known(overlaps)),
        "robustness": 100 * lost / len(overlaps),
        "lost_number": lost,
        "EAO": eao_score(curve, low - 1, high - 1),
    }
    attributes: dict[str, Metrics] = {}
    for tag in _tag_names(truths):
        masks = np.concatenate([_tag_mask(s.truth, tag)[: len(s.overlaps)] for s in every])
        tagged = pysot_eao_curve([f for s in every for f in s.fragments(tag)], longest)
        attributes[tag] = {
            "accuracy": float(mean_known(overlaps[masks])) if masks.any() else float("nan"),
            "lost_number": float(sum(s.lost(tag) for s in every)),
            "EAO": eao_score(tagged, low - 1, high - 1),
        }
    return Scores(metrics, {n: s.metrics() for n, s in scored.items()}, attributes, {"eao": curve})


def toolkit_reset_scorer(truths: Truths, results: Results, stack: VotStack) -> Scores:
    """Score a reset benchmark by vot-toolkit 0.9: sequences weighted by length, the EAO interval inclusive.

    `robustness` is the toolkit's, failures a sequence weighted by length; `AR_plot_robustness` the plot's axis.
    """
    low, high = stack.eao_interval()
    overlaps = each_sequence(truths, lambda seq: [toolkit_run_overlaps(truths[seq], run) for run in results[seq]])
    sequences: dict[str, Metrics] = {}
    fragments: list[Fragment] = []
    total = 0
    for seq, truth in truths.items():
        runs = list(results[seq])
        failures = [int(run.is_code(_FAILURE).sum()) for run in runs]
        total += sum(failures)
        lost = float(np.mean(failures))
        sequences[seq] = {
            "accuracy": float(np.mean([toolkit_accuracy(o, r) for o, r in zip(overlaps[seq], runs, strict=True)])),
            "failures": lost,
            "lost_number": lost,
            "AR_plot_robustness": ar_robustness(lost, len(truth)),
            "length": float(len(truth)),
        }
        fragments += [f for o, r in zip(overlaps[seq], runs, strict=True) for f in toolkit_fragments(o, r)]
    weights = np.array([m["length"] for m in sequences.values()])

    def weighted(key: str) -> float:
        return float((np.array([m[key] for m in sequences.values()]) * weights).sum() / weights.sum())

    robustness = weighted("failures")
    curve = toolkit_eao_curve(fragments)
    metrics = {
        "accuracy": weighted("accuracy"),
        "robustness": robustness,
        "robustness_failures_len_weighted": robustness,
        "AR_plot_robustness": ar_robustness(robustness, float(weights.mean())),
        "lost_number": float(sum(m["failures"] for m in sequences.values())),
        "total_failures": float(total),
        "EAO": eao_score(curve, low, high),
    }
    return Scores(metrics, sequences, {}, {"eao": curve})


def got10k_reset_scorer(truths: Truths, results: Results, stack: VotStack) -> Scores:
    """Score a reset benchmark by the GOT-10k toolkit: exact overlaps, attributes weighted by their frames."""

    def overlaps(seq: str) -> FloatArray:
        """Mean over the runs of each frame's overlap; NaN where no run counts."""
        found = []
        for run in results[seq]:
            check_length(truths[seq], run)
            values = polygon_iou(run.regions, truths[seq].regions, truths[seq].size)
            values[_burnt_in(run) | ~run.is_code(-1)] = np.nan
            found.append(values)
        return mean_known(np.array(found), axis=0)

    known = each_sequence(truths, overlaps)
    failed = {seq: np.mean([run.is_code(_FAILURE) for run in results[seq]], axis=0) for seq in truths}
    every, lost = np.concatenate(list(known.values())), np.concatenate(list(failed.values()))
    tags = _tag_names(truths)
    attributes: dict[str, Metrics] = {}
    for tag in tags or ["all"]:
        mask = np.concatenate([_tag_mask(t, tag) if tags else np.ones(len(t), dtype=bool) for t in truths.values()])
        mean = float(mean_known(every[mask])) if mask.any() else 0.0
        attributes[tag] = {
            "accuracy": 0.0 if np.isnan(mean) else mean,
            "lost_number": float(lost[mask].sum()),
            "frames": float(mask.sum()),
        }
    frames = sum(m["frames"] for m in attributes.values())

    def weighted(key: str) -> float:
        return sum(m[key] * m["frames"] for m in attributes.values()) / frames

    metrics = {
        "tag_weighted_accuracy": weighted("accuracy"),
        "tag_weighted_robustness": weighted("lost_number"),
        "lost_number": float(lost.sum()),
    }
    sequences = {
        seq: {"accuracy": float(mean_known(known[seq])), "lost_number": float(failed[seq].sum())} for seq in truths
    }
    return Scores(metrics, sequences, attributes)
