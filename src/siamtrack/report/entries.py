"""What a report is made of: each tracker's scores on a suite, read from stores, grouped by suite and rules."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from siamtrack.errors import DataError
from siamtrack.evaluation.scoring import score
from siamtrack.evaluation.store import Failure, Store
from siamtrack.io import read_json
from siamtrack.metrics.scores import Scores

__all__ = ["Entry", "Group", "RawSource", "group_entries", "read_entries"]


@dataclass(frozen=True)
class RawSource:
    """How to score result files that are in no store: the suite, its annotation and the rules."""

    suite: str
    truth: Path
    rules: str | None = None


@dataclass(frozen=True)
class Entry:
    """One tracker on one suite, as its store has it.

    Attributes:
        tracker: its name, told apart from others of the same name.
        scores: what `scores.json` holds; numbers that are null there are nan.
        kind: the protocol's kind (see `suites.Suite`), "" where the results are in no store.
        manifest: what the results depend on; empty where they are in no store.
        speed: what `speed.json` holds; empty where there is none.
        failures: the sequences that could not be finished.
        folder: of the store, or of the raw results.
    """

    tracker: str
    scores: Scores
    folder: Path
    kind: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    speed: Mapping[str, Any] = field(default_factory=dict)
    failures: Many[Failure] = ()

    @property
    def store(self) -> Store | None:
        """The store, None where the results are in none."""
        return Store(self.folder, self.kind) if self.manifest else None

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


@dataclass(frozen=True)
class Group:
    """The trackers that may be compared: one suite, one set of rules. `entries` in order of `Entry.tracker`."""

    suite: str
    rules: str
    entries: Many[Entry]

    @property
    def sequences(self) -> list[str]:
        """The names of the sequences that any tracker was scored on, in the order of the stores."""
        return list(dict.fromkeys(name for e in self.entries for name in e.scores.sequences))

    @property
    def attributes(self) -> list[str]:
        """The names of all attributes."""
        return list(dict.fromkeys(name for e in self.entries for name in e.scores.attributes))


def read_entries(results: Iterable[Path], raw: RawSource | None = None) -> list[Entry]:
    """Read stores: each path is an evaluation's OUT, a tracker's folder in it, or a suite's in that.

    A path without a store below it is taken for raw results where `raw` says how to score them.

    Raises:
        DataError: no results, results without scores, or a store that cannot be read.
        ConfigError: `raw` names an unknown suite or rules.
    """
    found: dict[Path, Entry] = {}
    unscored: list[Path] = []
    for path in results:
        folders = _store_folders(path)
        if not folders and raw is None:
            raise DataError(
                f"{path}: expected results of `siamtrack eval`; there is no manifest.json "
                "(raw results of other programs need --suite and --truth)"
            )
        if not folders and raw is not None:
            found[path.resolve()] = _score_raw(path, raw)
        for folder in folders:
            if (folder / "scores.json").is_file():
                found[folder.resolve()] = _read_store(folder)
            else:
                unscored.append(folder)
    if not found:
        shown = ", ".join(map(str, unscored[:3])) or "no results were named"
        raise DataError(
            f"nothing to report: no scores.json ({shown}); finish `siamtrack eval` on a suite whose truth is public"
        )
    return _told_apart(list(found.values()))


def _store_folders(path: Path) -> list[Path]:
    if (path / "manifest.json").is_file():
        return [path]
    return sorted(p.parent for pattern in ("*", "*/*") for p in path.glob(f"{pattern}/manifest.json"))


def _read_store(folder: Path) -> Entry:
    manifest, tree = read_json(folder / "manifest.json"), read_json(folder / "scores.json")
    speed = folder / "speed.json"
    try:
        kind = str(manifest["protocol"]["kind"])
        return Entry(
            str(manifest["tracker"]),
            Scores.from_dict(tree),
            folder,
            kind,
            manifest,
            read_json(speed) if speed.is_file() else {},
            Store(folder, kind).failures(),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder}: not as `siamtrack eval` writes it ({error!r}); score it again by the same command"
        ) from None


def _score_raw(path: Path, raw: RawSource) -> Entry:
    return Entry(path.resolve().with_suffix("").name, score(raw.suite, raw.truth, path, raw.rules), path)


def _told_apart(entries: list[Entry]) -> list[Entry]:
    """Return the entries with a name each within their suite: the folder they came from, then a number."""

    def clashing(among: list[Entry]) -> set[tuple[str, str, str]]:
        keys = [(e.scores.suite, e.scores.rules, e.tracker) for e in among]
        return {key for key in keys if keys.count(key) > 1}

    def key(entry: Entry) -> tuple[str, str, str]:
        return entry.scores.suite, entry.scores.rules, entry.tracker

    twice = clashing(entries)
    named = [replace(e, tracker=f"{e.tracker} ({_origin(e)})") if key(e) in twice else e for e in entries]
    still = clashing(named)
    return [replace(e, tracker=f"{e.tracker} #{n + 1}") if key(e) in still else e for n, e in enumerate(named)]


def _origin(entry: Entry) -> str:
    folder = entry.folder.resolve()
    # a store lies in OUT/<tracker>/<suite>
    return (folder.parents[1] if entry.manifest and len(folder.parents) > 1 else folder.parent).name


def group_entries(entries: Iterable[Entry]) -> list[Group]:
    """Return the entries by suite and rules: scores by different rules are never set side by side."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.scores.suite, entry.scores.rules), []).append(entry)
    return [
        Group(suite, rules, sorted(members, key=lambda e: e.tracker))
        for (suite, rules), members in sorted(groups.items())
    ]
