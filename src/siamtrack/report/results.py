"""What is reported: each tracker's scores on a suite, read from stores, and how their metrics are called and ranked."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from siamtrack.errors import ConfigError, DataError, did_you_mean
from siamtrack.evaluation.scoring import score
from siamtrack.evaluation.store import Failure, Store
from siamtrack.io import first_names
from siamtrack.metrics.scores import Scores
from siamtrack.storage import Place, exists, join, list_files, read_json_from

__all__ = ["Comparison", "RawSource", "Scored", "compare", "is_loss", "label", "number", "read_scored", "short", "slug"]


@dataclass(frozen=True)
class RawSource:
    """How to score result files that are in no store: the suite, its annotation and the rules."""

    suite: str
    truth: Path
    rules: str | None = None


@dataclass(frozen=True)
class Scored:
    """One tracker on one suite, as its store has it.

    Attributes:
        tracker: its name, told apart from others of the same name.
        scores: what `scores.json` holds; numbers that are null there are nan.
        folder: of the store, or of the raw results.
        kind: the protocol's kind (see `suites.Suite`), "" where the results are in no store.
        manifest: what the results depend on; empty where they are in no store.
        speed: what `speed.json` holds; empty where there is none.
        failures: the sequences that could not be finished.
    """

    tracker: str
    scores: Scores
    folder: Place
    kind: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    speed: Mapping[str, Any] = field(default_factory=dict)
    failures: Sequence[Failure] = ()

    @property
    def store(self) -> Store | None:
        """The store, None where the results are in none."""
        return Store(self.folder, self.kind) if self.manifest else None

    def metric(self, name: str) -> float:
        """A metric of the data set; nan where not known."""
        return self.scores.metrics.get(name, math.nan)

    def fps(self, which: str = "tracker") -> float:
        """Frames a second as measured: `tracker`, `network` or `end_to_end`; nan where not known."""
        value = self.speed.get("fps", {}).get(which)
        return math.nan if value is None else float(value)

    @property
    def preset_hash(self) -> str:
        """The first 12 digits of the SHA-256 of the preset as sorted, compact JSON; "" without a preset."""
        preset = self.manifest.get("preset")
        if preset is None:
            return ""
        text = json.dumps(preset, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_LABELS = {
    "success_auc": "Success (AUC)",
    "precision@20": "Precision at 20 px",
    "success@0.5": "Success at 0.5",
    "norm_precision@0.20": "Norm. precision at 0.20",
    "norm_precision_auc": "Norm. precision (AUC)",
    "SR0.5": "SR 0.5",
    "SR0.75": "SR 0.75",
    "succ_curve_mean": "Success curve, mean",
    "success": "Success (AUC, %)",
    "precision": "Precision",
    "recall": "Recall",
    "norm_precision": "Norm. precision",
    "AO(mean over sequences)": "AO, mean over sequences",
    "SR0.5(mean over sequences)": "SR 0.5, mean over sequences",
    "coverage": "Coverage (%)",
    "accuracy": "Accuracy",
    "robustness": "Robustness",
    "lost_number": "Lost number",
    "failures": "Failures",
    "total_failures": "Failures in all",
    "F": "F-score",
    "threshold": "Confidence threshold",
    "AR_plot_robustness": "Robustness (AR plot)",
    "robustness_failures_len_weighted": "Failures by length",
    "tag_weighted_accuracy": "Accuracy by attribute",
    "tag_weighted_robustness": "Failures by attribute",
    "n_valid": "Frames that count",
    "length": "Frames",
    "progress": "Frames tracked",
}
# The metric that a benchmark ranks by; the first that is there.
_HEADLINES = ("EAO", "F", "success_auc", "AO", "success", "accuracy", "tag_weighted_accuracy")
# What tells of a single sequence: the first row whose first metric is there, as far as it is there.
_BY_SEQUENCE = (
    ("F", "precision", "recall"),
    ("success_auc", "precision@20", "norm_precision@0.20"),
    ("AO", "SR0.5", "SR0.75"),
    ("success", "precision", "norm_precision"),
    ("accuracy", "lost_number"),
)
_LOSSES = {
    "lost_number",
    "failures",
    "total_failures",
    "robustness_failures_len_weighted",
    "tag_weighted_robustness",
}


@dataclass(frozen=True)
class Comparison:
    """The trackers that may be compared: one suite, one set of rules. `trackers` in order of their names."""

    suite: str
    rules: str
    trackers: Sequence[Scored]

    @property
    def key(self) -> str:
        """What names its files and its part of the page."""
        return f"{slug(self.suite)}-{slug(self.rules)}"

    @property
    def sequences(self) -> list[str]:
        """The names of the sequences that any tracker was scored on, in the order of the stores."""
        return list(dict.fromkeys(name for t in self.trackers for name in t.scores.sequences))

    @property
    def attributes(self) -> list[str]:
        """The names of all attributes."""
        return list(dict.fromkeys(name for t in self.trackers for name in t.scores.attributes))

    @property
    def headline(self) -> str:
        """The metric that trackers are ranked by: one that has a value at all."""
        every = [m for t in self.trackers for m in t.scores.metrics]
        # a set of sequences shorter than the year's interval has no EAO
        known = [m for t in self.trackers for m, value in t.scores.metrics.items() if not math.isnan(value)]
        names = known or every
        return next((m for m in _HEADLINES if m in names), names[0] if names else "")

    @property
    def metrics(self) -> list[str]:
        """The data set's metrics that any tracker has, the headline first."""
        return list(dict.fromkeys([self.headline, *(m for t in self.trackers for m in t.scores.metrics)]))

    @property
    def sequence_metrics(self) -> list[str]:
        """The metrics that tell of single sequences, the one that leads first."""
        names = {m for t in self.trackers for values in t.scores.sequences.values() for m in values}
        row = next((wanted for wanted in _BY_SEQUENCE if wanted[0] in names), tuple(sorted(names)[:2]))
        found = [m for m in row if m in names]
        # without failures to count, as with multi-starts, robustness is the second half of accuracy
        return [*found, "robustness"] if found == ["accuracy"] and "robustness" in names else found

    @property
    def attribute_metrics(self) -> list[str]:
        """The metrics that any attribute has, the headline first."""
        names = dict.fromkeys(m for t in self.trackers for values in t.scores.attributes.values() for m in values)
        return sorted(names, key=lambda m: m != self.headline)

    def ranked(self, metric: str) -> list[tuple[Scored, float]]:
        """Return the trackers with their value of a metric of the data set, the best first, nan last."""
        sign = 1 if is_loss(metric, self.rules, self.metrics) else -1
        values = [(tracker, tracker.metric(metric)) for tracker in self.trackers]
        return sorted(values, key=lambda v: (math.isnan(v[1]), sign * v[1]))

    def find_sequences(self, wanted: str) -> list[str]:
        """Return the sequences to be shown: "all", names between commas, or a number of the most telling ones.

        Those are where the trackers differ most in the metric that leads; of a single tracker its worst.

        Raises:
            ConfigError: a name that the results do not have, or a number below 0.
        """
        if wanted == "all":
            return self.sequences
        if wanted.lstrip("-").isdigit():
            if int(wanted) < 0:
                raise ConfigError(f"--clips expects 'all', names or a number from 0; got {wanted}")
            return sorted(self.sequences, key=lambda name: -self._spread(name))[: int(wanted)]
        chosen = [name.strip() for name in wanted.split(",") if name.strip()]
        for name in chosen:
            if name not in self.sequences:
                hint = did_you_mean(name, self.sequences)
                raise ConfigError(f"--clips: {self.suite} has no sequence '{name}'{hint}")
        return chosen

    def _spread(self, sequence: str) -> float:
        metric = self.sequence_metrics[0]
        values = [t.scores.sequences.get(sequence, {}).get(metric, math.nan) for t in self.trackers]
        known = [v for v in values if not math.isnan(v)]
        if not known:
            return -math.inf
        return max(known) - min(known) if len(known) > 1 else -known[0]


def read_scored(results: Iterable[Place], raw: RawSource | None = None) -> list[Scored]:
    """Read stores: each path is an evaluation's OUT, a tracker's folder in it, or a suite's in that.

    A path without a store below it is taken for raw results where `raw` says how to score them.

    Raises:
        DataError: no results, results without scores, or a store that cannot be read.
        ConfigError: `raw` names an unknown suite or rules.
    """
    found: dict[Place, Scored] = {}
    unscored: list[Place] = []
    for path in results:
        inside = [name.split("/")[:-1] for name in list_files(path) if PurePosixPath(name).name == "manifest.json"]
        folders = [join(path, *names) for names in inside if len(names) <= 2]
        if not folders and raw is None:
            raise DataError(
                f"{path}: expected results of `siamtrack eval`; there is no manifest.json "
                "(raw results of other programs need --suite and --truth)"
            )
        if not folders and raw is not None:
            found[_resolved(path)] = _score_raw(Path(path), raw)
        for folder in folders:
            if exists(join(folder, "scores.json")):
                found[_resolved(folder)] = _read_store(folder)
            else:
                unscored.append(folder)
    if not found:
        shown = first_names(map(str, unscored), 3) or "no results were named"
        raise DataError(
            f"nothing to report: no scores.json ({shown}); finish `siamtrack eval` on a suite whose truth is public"
        )
    return _with_names_of_their_own(list(found.values()))


def _resolved(place: Place) -> Place:
    return place.resolve() if isinstance(place, Path) else place


def _read_store(folder: Place) -> Scored:
    manifest, tree = read_json_from(join(folder, "manifest.json")), read_json_from(join(folder, "scores.json"))
    speed = join(folder, "speed.json")
    try:
        kind = str(manifest["protocol"]["kind"])
        return Scored(
            str(manifest["tracker"]),
            Scores.from_dict(tree),
            folder,
            kind,
            manifest,
            read_json_from(speed) if exists(speed) else {},
            Store(folder, kind).failures(),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder}: not as `siamtrack eval` writes it ({error!r}); score it again by the same command"
        ) from None


def _score_raw(path: Path, raw: RawSource) -> Scored:
    return Scored(path.resolve().with_suffix("").name, score(raw.suite, raw.truth, path, raw.rules), path)


def _with_names_of_their_own(found: list[Scored]) -> list[Scored]:
    """Tell trackers of one name on one suite apart: by the folder they came from, then by a number."""

    def key(tracker: Scored) -> tuple[str, str, str]:
        return tracker.scores.suite, tracker.scores.rules, tracker.tracker

    def origin(tracker: Scored) -> str:
        folder = Path(_resolved(tracker.folder))
        # a store lies in OUT/<tracker>/<suite>
        return (folder.parents[1] if tracker.manifest and len(folder.parents) > 1 else folder.parent).name

    count = Counter(map(key, found))
    found = [replace(t, tracker=f"{t.tracker} ({origin(t)})") if count[key(t)] > 1 else t for t in found]
    count = Counter(map(key, found))
    return [replace(t, tracker=f"{t.tracker} #{n}") if count[key(t)] > 1 else t for n, t in enumerate(found, 1)]


def compare(found: Iterable[Scored]) -> list[Comparison]:
    """Return the trackers by suite and rules: scores by different rules are never set side by side."""
    groups: dict[tuple[str, str], list[Scored]] = {}
    for tracker in found:
        groups.setdefault((tracker.scores.suite, tracker.scores.rules), []).append(tracker)
    return [Comparison(*key, sorted(members, key=lambda t: t.tracker)) for key, members in sorted(groups.items())]


def label(metric: str) -> str:
    """Return a metric's name for people; one that is not known stays as it is."""
    return _LABELS.get(metric, metric)


def is_loss(metric: str, rules: str, beside: Iterable[str] = ()) -> bool:
    """Whether less is better. Robustness counts failures by PySOT's and vot-toolkit's reset rules.

    Args:
        metric: its name in the store.
        rules: the scorer.
        beside: the metrics that stand beside it.
    """
    if metric == "robustness":
        return rules == "vot-pysot" or "lost_number" in beside
    return metric in _LOSSES


def short(name: str, most: int = 19) -> str:
    """Shorten a name in its middle: names that people compare often differ at their ends."""
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def number(value: float) -> str:
    """Write a number for people: three decimals below 10, one below 1000, a dash where there is none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 10 and value == int(value):
        return f"{int(value)}"
    text = f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:.0f}"
    return text.replace("-", "−")


def slug(text: str) -> str:
    """Return a text as part of a file name and an id: letters, digits, dots, minus and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "x"
