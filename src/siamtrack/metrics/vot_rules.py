"""The rules of VOT's protocols: reset, multi-start and long-term, by PySOT and the toolkits."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from siamtrack.errors import ConfigError
from siamtrack.evaluation.benchmarks import Benchmark
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.polygon import polygon_iou
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray
from siamtrack.metrics.longterm import f_score, longterm_scores
from siamtrack.metrics.multistart import anchored_overlaps, eao_partial
from siamtrack.metrics.ope import LengthError
from siamtrack.metrics.ope_rules import Results, Truths, each_sequence
from siamtrack.metrics.scores import Metrics, Scores
from siamtrack.metrics.vot import (
    Fragment,
    ar_robustness,
    burnt_in,
    eao_score,
    pysot_accuracy_overlaps,
    pysot_eao_curve,
    pysot_eao_overlaps,
    pysot_fragments,
    toolkit_accuracy,
    toolkit_eao_curve,
    toolkit_fragments,
    toolkit_run_overlaps,
)

__all__ = ["got10k_reset_rule", "longterm_rule", "multistart_rule", "pysot_reset_rule", "toolkit_reset_rule"]

_FAILURE = 2
_PYSOT_REPETITIONS = 15


def _interval(benchmark: Benchmark) -> tuple[int, int]:
    if benchmark.interval is None:
        raise ConfigError(f"suite {benchmark.name} has no EAO interval; use one of vot2015 .. vot2022")
    return benchmark.interval


def _failures(run: Predictions) -> IntArray:
    return np.flatnonzero(run.is_code(_FAILURE))


def _mean_known(values: FloatArray, axis: int | None = None) -> FloatArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a frame that every run left out has no mean
        return np.asarray(np.nanmean(values, axis=axis))


class _PysotSequence:
    """One sequence's overlaps and failures in the repetitions that PySOT looks at: all of 15, else one."""

    def __init__(self, truth: Truth, runs: list[Predictions]) -> None:
        self.truth = truth
        runs = runs if len(runs) == _PYSOT_REPETITIONS else runs[:1]
        accuracy = [pysot_accuracy_overlaps(truth, run) for run in runs]
        if len({len(o) for o in accuracy}) > 1:
            raise LengthError(f"{truth.name}: its repetitions have different numbers of rows")
        self.overlaps = _mean_known(np.array(accuracy), axis=0)
        self.failures = [_failures(run) for run in runs]
        self._eao = [pysot_eao_overlaps(truth, run, known) for run, known in zip(runs, accuracy, strict=True)]

    def lost(self) -> float:
        """Return the failures of a repetition, on average."""
        return float(np.mean([len(f) for f in self.failures]))

    def fragments(self, tag: str | None = None) -> list[Fragment]:
        """Return what all repetitions give to the expected overlap: of all frames, or of those with an attribute."""
        mask = None if tag is None else _tag_mask(self.truth, tag)
        return [
            fragment
            for overlaps, failures in zip(self._eao, self.failures, strict=True)
            for fragment in pysot_fragments(
                overlaps, failures, len(self.truth), repetitions=len(self.failures), tag=mask
            )
        ]

    def metrics(self) -> dict[str, float]:
        """Return accuracy (mean overlap in [0, 1]), failures, and robustness: failures in 100 frames.

        `n_valid` counts the frames that have an overlap, `length` all frames of truth.
        """
        n = len(self.overlaps)
        return {
            "accuracy": float(_mean_known(self.overlaps)),
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


def pysot_reset_rule(truths: Truths, results: Results, benchmark: Benchmark, name: str) -> Scores:
    """Score a reset benchmark as PySOT does: the accuracy, robustness, lost number and EAO of papers."""
    low, high = _interval(benchmark)
    scored = each_sequence(truths, lambda seq: _PysotSequence(truths[seq], list(results[seq])))
    every = list(scored.values())
    overlaps = np.concatenate([s.overlaps for s in every])
    longest = max(len(s.overlaps) for s in every)
    curve = pysot_eao_curve([f for s in every for f in s.fragments()], longest)
    lost = sum(s.lost() for s in every)
    metrics = {
        "accuracy": float(_mean_known(overlaps)),
        "robustness": 100 * lost / len(overlaps),
        "lost_number": lost,
        "EAO": eao_score(curve, low - 1, high - 1),
    }
    attributes: dict[str, Metrics] = {}
    for tag in _tag_names(truths):
        masks = np.concatenate([_tag_mask(s.truth, tag)[: len(s.overlaps)] for s in every])
        tagged = pysot_eao_curve([f for s in every for f in s.fragments(tag)], longest)
        attributes[tag] = {
            "accuracy": float(_mean_known(overlaps[masks])) if masks.any() else float("nan"),
            "lost_number": float(sum(_lost_in(s, tag) for s in every)),
            "EAO": eao_score(tagged, low - 1, high - 1),
        }
    return Scores(
        benchmark.name, name, metrics, {n: s.metrics() for n, s in scored.items()}, attributes, {"eao": curve}
    )


def _lost_in(sequence: _PysotSequence, tag: str) -> float:
    mask = _tag_mask(sequence.truth, tag)
    return float(np.mean([np.count_nonzero(mask[f[f < len(mask)]]) for f in sequence.failures]))


def toolkit_reset_rule(truths: Truths, results: Results, benchmark: Benchmark, name: str) -> Scores:
    """Score a reset benchmark by vot-toolkit 0.9: sequences weighted by length, the EAO interval inclusive.

    `robustness` is the toolkit's, failures a sequence weighted by length; `AR_plot_robustness` is the plot's
    axis.
    """
    low, high = _interval(benchmark)
    overlaps = each_sequence(truths, lambda seq: [toolkit_run_overlaps(truths[seq], run) for run in results[seq]])
    sequences: dict[str, Metrics] = {}
    fragments: list[Fragment] = []
    total = 0
    for seq, truth in truths.items():
        runs = list(results[seq])
        failures = [len(_failures(run)) for run in runs]
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
    return Scores(benchmark.name, name, metrics, sequences, {}, {"eao": curve})


def got10k_reset_rule(truths: Truths, results: Results, benchmark: Benchmark, name: str) -> Scores:
    """Score a reset benchmark by the GOT-10k toolkit: exact overlaps, attributes weighted by their frames."""

    def overlaps(seq: str) -> FloatArray:
        """Mean over the runs of each frame's overlap; NaN where no run counts."""
        found = []
        for run in results[seq]:
            if len(run) != len(truths[seq]):
                raise LengthError(
                    f"{seq}: {len(run)} rows for {len(truths[seq])} frames; there must be one row a frame"
                )
            values = polygon_iou(run.regions, truths[seq].regions, truths[seq].size)
            values[burnt_in(run) | ~run.is_code(-1)] = np.nan
            found.append(values)
        return _mean_known(np.array(found), axis=0)

    known = each_sequence(truths, overlaps)
    failed = {seq: np.mean([run.is_code(_FAILURE) for run in results[seq]], axis=0) for seq in truths}
    every, lost = np.concatenate(list(known.values())), np.concatenate(list(failed.values()))
    tags = _tag_names(truths)
    attributes: dict[str, Metrics] = {}
    for tag in tags or ["all"]:
        mask = np.concatenate([_tag_mask(t, tag) if tags else np.ones(len(t), dtype=bool) for t in truths.values()])
        mean = float(_mean_known(every[mask])) if mask.any() else 0.0
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
        seq: {"accuracy": float(_mean_known(known[seq])), "lost_number": float(failed[seq].sum())} for seq in truths
    }
    return Scores(benchmark.name, name, metrics, sequences, attributes)


def multistart_rule(truths: Truths, results: Results, benchmark: Benchmark, name: str) -> Scores:
    """Score a multi-start benchmark by vot-toolkit: accuracy weighted by progress, robustness by length."""
    low, high = _interval(benchmark)
    sequences: dict[str, dict[str, float]] = {}
    total, active = np.zeros(high), np.zeros(high)
    for seq, truth in truths.items():
        runs = anchored_overlaps(truth, results[seq])
        tracked = sum(r.progress for r in runs)
        possible = sum(len(r.overlaps) for r in runs)
        part, counts = eao_partial(runs, high)
        total, active = total + part, active + counts
        sequences[seq] = {
            "accuracy": float(sum(r.overlaps.sum() for r in runs)) / tracked if tracked else 0.0,
            "robustness": tracked / possible,
            "progress": float(tracked),
            "length": float(len(truth)),
        }
    curve = np.where(active > 0, total / np.maximum(active, 1), 0.0)

    def weighted(key: str, weight: str) -> float:
        by = sum(m[weight] for m in sequences.values())
        return sum(m[key] * m[weight] for m in sequences.values()) / by if by else 0.0

    metrics = {
        "accuracy": weighted("accuracy", "progress"),
        "robustness": weighted("robustness", "length"),
        "EAO": eao_score(curve, low, high),
    }
    return Scores(benchmark.name, name, metrics, sequences, {}, {"eao": curve})


def longterm_rule(truths: Truths, results: Results, benchmark: Benchmark, name: str, *, toolkit: bool) -> Scores:
    """Score a long-term benchmark: precision, recall and F at the threshold where F is largest."""
    runs: Mapping[str, Predictions] = {seq: results[seq][0] for seq in truths}
    scored = longterm_scores(truths, runs, toolkit=toolkit)
    precision, recall, f = scored.curves()
    best = int(np.argmax(f))
    sequences = {}
    for seq in truths:
        own = f_score(scored.precision[seq], scored.recall[seq])
        at = int(np.argmax(own))
        sequences[seq] = {
            "precision": float(scored.precision[seq][at]),
            "recall": float(scored.recall[seq][at]),
            "F": float(own[at]),
        }
    metrics = {
        "precision": float(precision[best]),
        "recall": float(recall[best]),
        "F": float(f[best]),
        "threshold": float(scored.thresholds[best]),
    }
    plots = {"precision": precision, "recall": recall, "F": f, "thresholds": scored.thresholds}
    return Scores(benchmark.name, name, metrics, sequences, {}, plots)
