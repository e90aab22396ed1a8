"""Runs the rows of a study: trains each, evaluates it on suites, and writes the table beside the paper's numbers.

A row and seed is a job of the pool, which goes on where it stopped: training from its last checkpoint, evaluation with
the sequences that its store lacks. Rows that differ in tracking alone use one network.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from siamtrack.config import Preset, load_preset, preset_from_json, preset_to_json
from siamtrack.data.pair_source import PairSource, ResidentPairs, load_resident
from siamtrack.data.resident import ResidentSet
from siamtrack.data.streaming import StreamedPairs
from siamtrack.errors import ConfigError, DataError
from siamtrack.evaluation.evaluate import evaluate, open_store, read_suite
from siamtrack.evaluation.jobs import Beat, Workers
from siamtrack.evaluation.store import check_same_settings
from siamtrack.evaluation.suites import find_suite
from siamtrack.evaluation.trackers import find_tracker
from siamtrack.formats.sequence import VideoSequence
from siamtrack.io import first_names, read_as, write_whole
from siamtrack.storage import parse_place
from siamtrack.studies.rows import Row, Scale, Study
from siamtrack.tracking.torch_engine import check_device
from siamtrack.training.log import ReportRow
from siamtrack.training.loop import RunOptions, train

Result = dict[str, dict[str, float]]
"""Metrics by suite."""


@dataclass(frozen=True)
class StudyRun:
    """How a study is run; a value that can be sent to another process.

    Attributes:
        data: shards; see `list_shards`.
        suites: data set by suite.
        out: a folder for networks, results and the table.
        scale: "full" for the paper's networks, "small" for the light backbone.
        steps: length of each training, in place of the presets' own.
        frames: the most frames of each sequence; 0 for all.
        seeds: of the trainings of each row.
        settings: further values for all rows, by dotted key; what a row sets itself stays.
        only: rows to run; empty for all.
    """

    study: Study
    data: str
    suites: Mapping[str, Path]
    out: Path
    scale: Scale = "full"
    steps: int | None = None
    frames: int = 0
    seeds: tuple[int, ...] = (0,)
    settings: Mapping[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    device: str = "cpu"

    def rows(self) -> list[Row]:
        """The rows of this scale that are to be run; raises `ConfigError` if `only` names one that there is not."""
        names = [row.name for row in self.study.rows if row.full is not None]
        if unknown := [name for name in self.only if name not in names]:
            raise ConfigError(f"{self.study.name} has no row '{unknown[0]}' to run; its rows: {', '.join(names)}")
        found = [row for row in self.study.rows if row.settings(self.scale) is not None]
        return [row for row in found if not self.only or row.name in self.only]

    def lines(self) -> list[Row]:
        """The rows of the table: those that are run, and of a whole study those that are the paper's numbers alone."""
        run = self.rows()
        return [row for row in self.study.rows if row in run or (row.full is None and not self.only)]


@dataclass(frozen=True)
class RowJob:
    """One training, by the row that names it, its seed, and the rows that track with it."""

    trained: str
    seed: int
    rows: tuple[str, ...]


def jobs_of(plan: StudyRun) -> list[RowJob]:
    """One job for each network that the plan's rows need, and each seed.

    Raises:
        ConfigError: a setting of the plan would change no row, or make two rows the same.
    """
    _check_settings(plan)
    networks: dict[str, list[str]] = {}
    for row in plan.rows():
        networks.setdefault(row.of or row.name, []).append(row.name)
    return [RowJob(name, seed, tuple(rows)) for seed in plan.seeds for name, rows in networks.items()]


def _check_settings(plan: StudyRun) -> None:
    rows = plan.rows()
    for key in plan.settings:
        if all(key in (row.settings(plan.scale) or {}) for row in rows):
            raise ConfigError(f"each row of {plan.study.name} sets {key} itself; leave it out of --set")
    seen: dict[str, str] = {}
    for row in rows if plan.settings else ():
        preset = replace(row_preset(plan, row.name, 0), name="row")
        if (other := seen.setdefault(preset_to_json(preset), row.name)) != row.name:
            raise ConfigError(f"--set makes the rows '{other}' and '{row.name}' of {plan.study.name} the same")


def row_preset(plan: StudyRun, name: str, seed: int) -> Preset:
    """The preset of a row: what all rows change, then the plan's settings, then the row's own.

    Raises:
        ConfigError: a setting that the preset does not have.
    """
    row = next(row for row in plan.study.rows if row.name == name)
    base, shared = plan.study.base(row, plan.scale)
    changes: dict[str, Any] = {**shared, **plan.settings, **(row.settings(plan.scale) or {})}
    changes |= {"train.seed": seed, "name": folder_name(name)}
    if plan.steps is not None:
        changes["train.steps"] = plan.steps
    return load_preset(base, changes)


def folder_name(name: str) -> str:
    """A row's name as a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _place(plan: StudyRun, name: str, seed: int) -> Path:
    return plan.out / folder_name(name) / f"seed-{seed}"


def open_rows(
    plan: StudyRun, report: ReportRow = lambda row: None, stop: Callable[[], bool] = lambda: False
) -> Callable[[RowJob, Beat], bool]:
    """Read the suites in a worker; return the work of `pool.run_jobs`: a job is trained and its rows are evaluated.

    The work returns False once `stop` returns True; the same call goes on later.
    """
    check_device(plan.device)
    clips = {name: _sequences(name, place, plan.frames) for name, place in plan.suites.items()}
    kept: dict[tuple[int, float], ResidentSet | None] = {}

    def open_pairs(preset: Preset) -> PairSource:
        """As `pair_source.open_pairs`, but crops that lie decoded from an earlier row are not read again."""
        rule = preset.data.resident_memory, preset.data.max_skipped
        if rule not in kept:
            kept[rule] = load_resident(plan.data, preset.data, plan.device)
        if (crops := kept[rule]) is not None:
            return ResidentPairs(crops, preset.crops, preset.data)
        return StreamedPairs(plan.data, preset.crops, preset.data, plan.device)

    def work(job: RowJob, beat: Beat) -> bool:
        def tell(row: dict[str, float]) -> None:
            beat()
            report(row)

        def alive() -> None:
            beat()
            if stop():
                raise _Stopped

        waiting = [name for name in job.rows if _known(plan, name, job.seed) is None]
        if not waiting:
            return True
        preset, place = row_preset(plan, job.trained, job.seed), _place(plan, job.trained, job.seed)
        with closing(open_pairs(preset)) as pairs:
            options = RunOptions(plan.device, resume=True, report=tell, stop=stop)
            weights = train(preset, pairs, place / "training", options)
        for name in waiting:
            if stop():
                return False
            own, before = row_preset(plan, name, job.seed), _stored(plan, name, job.seed)
            made, found = _made_with(plan, own), {}
            if before:
                made["suites"], found = before.suites | made["suites"], dict(before.metrics)
            try:
                for suite in [suite for suite in clips if suite not in found]:  # in the plan's order
                    found[suite] = _evaluated(plan, own, weights, suite, clips[suite], job.seed, alive)
            except _Stopped:
                return False
            write_whole(_place(plan, name, job.seed) / "result.json", json.dumps({**made, "metrics": found}))
        return True

    return work


def _sequences(suite: str, place: Path, frames: int) -> list[VideoSequence]:
    found = read_suite(find_suite(suite), place)
    return [sequence.first(frames) for sequence in found] if frames else found


def _evaluated(
    plan: StudyRun, preset: Preset, weights: Path, suite: str, clips: Sequence[VideoSequence], seed: int, beat: Beat
) -> dict[str, float]:
    """The metrics of a network with a row's settings of tracking; `beat` may end it by raising.

    Two are added: `failures`, of a suite with resets, is their number a sequence (SA-Siam, tables 4 and 5); `fps` is
    the tracker's speed here.

    Raises:
        DataError: a sequence has no results; a mean over the others would not compare with the paper's.
    """
    out = _place(plan, preset.name, seed) / f"results-{plan.frames or 'all'}"
    track = {f"track.{key}": value for key, value in json.loads(preset_to_json(preset))["track"].items()}
    model = json.loads(preset_to_json(preset))["model"]
    stored = find_tracker(str(weights)).identity["preset"]["model"]
    changed = {f"model.{key}": value for key, value in model.items() if stored.get(key) != value}
    tracker = find_tracker(str(weights), plan.device, settings=track | changed)
    chosen = find_suite(suite)
    store = open_store(tracker, chosen, out, seed)
    done = evaluate(tracker, chosen, clips, store, Workers(0), lambda event, failure: beat())
    if not done.complete:
        names = first_names(failure.sequence for failure in done.failures)
        raise DataError(
            f"the row '{preset.name}' has no results for {names} of {suite} ({done.failures[0].message}); "
            "put this right and give the same command again"
        )
    if done.scores is None:
        return {}
    metrics = dict(done.scores.metrics)
    if "lost_number" in metrics:
        metrics["failures"] = metrics["lost_number"] / len(clips)
    return metrics | ({"fps": done.speed.tracker} if done.speed else {})


class _Stopped(BaseException):
    """An evaluation is to stop; no `Exception`, since what a tracker raises counts as a sequence's failure."""


@dataclass(frozen=True)
class _Stored:
    """A row's `result.json`: what it was made with, as `_made_with` has it, and its result.

    Those of before data and suites were kept name neither.
    """

    preset: dict[str, Any]
    frames: int
    metrics: Result
    data: str = ""
    suites: dict[str, str] = field(default_factory=dict)


def _made_with(plan: StudyRun, preset: Preset) -> dict[str, Any]:
    place = parse_place(plan.data)
    data = str(place.absolute() if isinstance(place, Path) else place)
    suites = {suite: str(place.absolute()) for suite, place in plan.suites.items()}
    return {"preset": json.loads(preset_to_json(preset)), "frames": plan.frames, "data": data, "suites": suites}


def _stored(plan: StudyRun, name: str, seed: int) -> _Stored | None:
    """A row's result so far, perhaps of other suites than the plan's.

    Raises:
        ConfigError: it was made with other settings, shards or sequences.
        DataError: it is no result.
    """
    path = _place(plan, name, seed) / "result.json"
    if not path.exists():
        return None
    stored, wanted = read_as(path, _Stored), _made_with(plan, row_preset(plan, name, seed))
    made = asdict(stored) | {"preset": _settings(stored.preset), "data": stored.data or wanted["data"]}
    wanted["preset"] = _settings(wanted["preset"])
    wanted["suites"] = stored.suites | {key: wanted["suites"][key] for key in stored.suites.keys() & plan.suites.keys()}
    check_same_settings({key: made[key] for key in wanted}, wanted, f"{path} was", "give another --out")
    return stored


def _known(plan: StudyRun, name: str, seed: int) -> Result | None:
    """A row's result, if all of the plan's suites are in it; errors as of `_stored`."""
    stored = _stored(plan, name, seed)
    return stored.metrics if stored and plan.suites.keys() <= stored.metrics.keys() else None


def _settings(preset: Mapping[str, Any]) -> dict[str, Any]:
    """What a row's result depends on: the preset without what it says of itself; a later field has its default."""
    table = {key: value for key, value in preset.items() if key not in ("description", "published")}
    resolved: dict[str, Any] = json.loads(preset_to_json(preset_from_json(json.dumps(table), "a row's stored preset")))
    return resolved


def read_results(plan: StudyRun) -> dict[str, list[Result]]:
    """The results so far, by row, one for each seed that is done."""
    found = {row.name: [_known(plan, row.name, seed) for seed in plan.seeds] for row in plan.rows()}
    return {name: [result for result in results if result is not None] for name, results in found.items()}


def table(plan: StudyRun, results: Mapping[str, Sequence[Result]]) -> list[list[str]]:
    """The table: a head, then a line for each row: for each metric the paper's number and ours, with their spread.

    Columns are the metrics that the paper gives, of suites that it does not name the first metric of ours, and the
    machine of the paper's speeds. Lines of trackers that this project does not have show the paper's numbers alone.
    """
    rows = plan.lines()
    columns = list(dict.fromkeys(key for row in rows for key in row.paper if key[0] in plan.suites))
    # A suite whose truth a server keeps has no metrics here.
    first = {suite: next(iter(m)) for found in results.values() for r in found for suite, m in r.items() if m}
    columns += [(suite, metric) for suite, metric in first.items() if all(suite != key[0] for key in columns)]
    elsewhere = list(dict.fromkeys(key for row in rows for key in row.paper if key not in columns))
    head = ["row", *(f"{suite} {metric}, {who}" for suite, metric in columns for who in ("paper", "ours"))]
    head += [f"{suite} {metric}, paper" for suite, metric in elsewhere]
    machines = any(row.machine for row in rows)
    lines = [[*head, "paper's machine"] if machines else head]
    for row in rows:
        line = [row.name]
        for suite, metric in columns:
            ours = [r[suite][metric] for r in results.get(row.name, ()) if metric in r.get(suite, {})]
            line += [_number(row.paper.get((suite, metric))), _with_spread(ours)]
        line += [_number(row.paper.get(key)) for key in elsewhere]
        lines.append([*line, row.machine] if machines else line)
    return lines


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _with_spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return _number(values[0]) if values else ""
    return f"{_number(statistics.mean(values))} ± {_number(statistics.stdev(values))} ({len(values)})"


def write_table(plan: StudyRun) -> list[list[str]]:
    """Write `table.csv` and `table.md` of the results so far into the plan's folder; return the table."""
    lines = table(plan, read_results(plan))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_whole(plan.out / "table.csv", text.getvalue())
    rows = [f"| {' | '.join(line)} |" for line in lines]
    rows.insert(1, "|" + "---|" * len(lines[0]))
    study = plan.study
    small = list(dict.fromkeys(study.base(row, "small")[0] for row in plan.rows()))
    made = "networks of its size" if plan.scale == "full" else f"small networks ({', '.join(small)})"
    title = f"{study.item}: {study.shows}\n\nPaper: its own numbers. Ours: {made}"
    if lines[0][-1] == "paper's machine":
        title += ", at the speed of the machine that ran them; paper's machines are those that it names"
    write_whole(plan.out / "table.md", "\n".join([f"{title}.", "", *rows, ""]))
    return lines
